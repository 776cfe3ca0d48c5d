import { sql } from "drizzle-orm";
import { check, index, integer, jsonb, pgEnum, pgSchema, pgTable, primaryKey, text, timestamp, uuid } from "drizzle-orm/pg-core";

export const status = pgEnum("status", ["open", "paid", "sent", "back"]);

export const customers = pgTable("customers", {
  id: uuid().primaryKey().defaultRandom(),
  name: text().notNull(),
  address: jsonb(),
  email: text().unique(),
});

export const orders = pgTable(
  "orders",
  {
    id: integer().primaryKey().generatedAlwaysAsIdentity(),
    customer: uuid().notNull().references(() => customers.id, { onDelete: "cascade" }),
    status: status().notNull().default("open"),
    at: timestamp({ withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [index().on(table.customer, table.at.desc())],
);

export const stock = pgSchema("stock");

export const parts = stock.table(
  "parts",
  { kind: text(), number: integer(), held: integer().notNull() },
  (table) => [primaryKey({ columns: [table.kind, table.number] }), check("held", sql`${table.held} >= 0`)],
);
