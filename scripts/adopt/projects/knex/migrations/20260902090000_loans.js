exports.up = async (knex) => {
  await knex.schema.createTable("loans", (table) => {
    table.bigIncrements("id");
    table.uuid("book_id").notNullable().references("books.id");
    table.date("due").notNullable();
  });
  await knex.schema.createView("late", (view) => {
    view.columns(["title", "due"]);
    view.as(knex("loans").join("books", "books.id", "loans.book_id").select("title", "due").where("due", "<", "2026-01-01"));
  });
};

exports.down = (knex) => knex.schema.dropView("late").dropTable("loans");
