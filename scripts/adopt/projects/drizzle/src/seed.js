import "dotenv/config";
import postgres from "postgres";

const sql = postgres(process.env.DATABASE_URL, { max: 1 });

await sql.begin(async (sql) => {
  await sql`truncate customers, orders, stock.parts restart identity`;
  const [ada] = await sql`insert into customers ${sql([{ name: "Ada", address: sql.json({ town: "Ely" }) }])} returning id`;
  await sql`insert into orders ${sql(["open", "paid"].map((status) => ({ customer: ada.id, status })))}`;
  await sql`insert into stock.parts select 'bolt', n, n * 10 from generate_series(1, 100) n`;
});
await sql.end();
