import { index, integer, pgEnum, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";

export const status = pgEnum("status", ["open", "closed"]);

export const agents = pgTable("agents", {
  id: serial().primaryKey(),
  name: text().notNull().unique(),
});

export const tickets = pgTable(
  "tickets",
  {
    id: serial().primaryKey(),
    title: text().notNull(),
    status: status().notNull().default("open"),
    agentId: integer("agent_id").references(() => agents.id),
    openedAt: timestamp("opened_at", { withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [index("tickets_agent_id").on(table.agentId)],
);
