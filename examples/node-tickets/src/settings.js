// The settings of .env; a variable that is set already beats the one in the file.
process.loadEnvFile(new URL("../.env", import.meta.url));

export const url = process.env.DATABASE_URL;
