require("dotenv").config({ quiet: true });
const { DataSource } = require("typeorm");

module.exports = new DataSource({
  type: "postgres",
  host: process.env.DB_HOST,
  port: Number(process.env.DB_PORT),
  username: process.env.DB_USER,
  password: process.env.DB_PASSWORD,
  database: process.env.DB_NAME,
  migrations: ["migrations/*.js"],
});
