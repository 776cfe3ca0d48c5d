require("dotenv").config({ quiet: true });
const { Client } = require("pg");

async function seed() {
  const client = new Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(`insert into "User" ("email", "role") values ('ada@example.com', 'AUTHOR'), ('bob@example.com', 'BANNED')`);
  await client.query(`insert into "Post" ("id", "title", "tags", "authorId")
    select gen_random_uuid(), 'Post ' || n, array['a', 'b'], 1 from generate_series(1, 5) n`);
  await client.query(`insert into "_likes" select "id", 2 from "Post"`);
  await client.end();
}

seed();
