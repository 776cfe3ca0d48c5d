// The application on a seeded database, the one that DATABASE_URL names: npm test
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { url } from "../src/settings.js";
import { openTickets } from "../src/tickets.js";

const sql = postgres(url, { max: 1 });
after(() => sql.end());

test("a clerk's open tickets are found", async () => {
  assert.deepEqual(await openTickets(drizzle(sql), "Ada"), ["No coffee", "The printer is on fire"]);
});

test("a clerk without tickets has none", async () => {
  assert.deepEqual(await openTickets(drizzle(sql), "Grace"), []);
});
