exports.up = async (knex) => {
  await knex.schema.createTable("authors", (table) => {
    table.increments("id");
    table.string("name").notNullable().unique();
    table.timestamps(true, true);
  });
  await knex.schema.createTable("books", (table) => {
    table.uuid("id").primary().defaultTo(knex.fn.uuid());
    table.integer("author_id").notNullable().references("authors.id").onDelete("CASCADE").index();
    table.string("title").notNullable();
    table.enu("binding", ["hard", "soft"], { useNative: true, enumName: "binding" });
    table.jsonb("tags").defaultTo("[]");
  });
};

exports.down = (knex) => knex.schema.dropTable("books").dropTable("authors").raw("drop type binding");
