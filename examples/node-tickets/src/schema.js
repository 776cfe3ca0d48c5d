import { index, integer, pgEnum, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";

export const status = pgEnum("status", ["open", "closed"]);

export const clerks = pgTable("clerks", {
  id: serial().primaryKey(),
  name: text().notNull().unique(),
});

export const tickets = pgTable(
  "tickets",
  {
    id: serial().primaryKey(),
    title: text().notNull(),
    status: status().notNull().default("open"),
    clerkId: integer("clerk_id").references(() => clerks.id),
    openedAt: timestamp("opened_at", { withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [index("tickets_clerk_id").on(table.clerkId)],
);
