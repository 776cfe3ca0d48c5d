import { eq } from "drizzle-orm";
import { clerks, tickets } from "./schema.js";

/** Return the titles of a clerk's open tickets, in order. */
export async function openTickets(db, name) {
  const found = await db
    .select({ title: tickets.title, status: tickets.status })
    .from(tickets)
    .innerJoin(clerks, eq(clerks.id, tickets.clerkId))
    .where(eq(clerks.name, name))
    .orderBy(tickets.title);
  return found.filter((ticket) => ticket.status === "open").map((ticket) => ticket.title);
}
