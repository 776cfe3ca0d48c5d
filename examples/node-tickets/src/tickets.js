import { eq } from "drizzle-orm";
import { agents, tickets } from "./schema.js";

/** Return the titles of an agent's open tickets, in order. */
export async function openTickets(db, name) {
  const found = await db
    .select({ title: tickets.title, status: tickets.status })
    .from(tickets)
    .innerJoin(agents, eq(agents.id, tickets.agentId))
    .where(eq(agents.name, name))
    .orderBy(tickets.title);
  return found.filter((ticket) => ticket.status === "open").map((ticket) => ticket.title);
}
