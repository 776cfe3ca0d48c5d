exports.up = (knex) =>
  knex.schema.createTable("books", (table) => {
    table.increments("id");
    table.string("title").notNullable();
  });

exports.down = (knex) => knex.schema.dropTable("books");
