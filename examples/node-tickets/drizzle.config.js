import { defineConfig } from "drizzle-kit";
import { url } from "./src/settings.js";

export default defineConfig({
  dialect: "postgresql",
  schema: "./src/schema.js",
  out: "./drizzle",
  dbCredentials: { url },
});
