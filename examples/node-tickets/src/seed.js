// Fill an empty database with the tickets of a demonstration: npm run seed
import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { url } from "./settings.js";

const tickets = JSON.parse(await readFile(new URL("tickets.json", import.meta.url)));
const sql = postgres(url, { max: 1 });
await sql.begin(async (sql) => {
  const [ada] = await sql`insert into clerks ${sql([{ name: "Ada" }, { name: "Grace" }])} returning id`;
  await sql`insert into tickets ${sql(tickets.map((ticket) => ({ ...ticket, clerk_id: ada.id })))}`;
});
await sql.end();
