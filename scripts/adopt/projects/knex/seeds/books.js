exports.seed = async (knex) => {
  await knex("authors").del();
  const [author] = await knex("authors").insert([{ name: "Ada" }, { name: "Grace" }], "id");
  const books = await knex("books").insert(
    ["One", "Two", "Three"].map((title) => ({ author_id: author.id, title, binding: "soft" })),
    "id",
  );
  await knex("loans").insert(books.map((book, number) => ({ book_id: book.id, due: `202${5 + number}-06-01` })));
};
