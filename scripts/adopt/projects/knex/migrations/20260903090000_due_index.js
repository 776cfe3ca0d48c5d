exports.config = { transaction: false };

exports.up = (knex) => knex.raw("create index concurrently loans_due on loans (due)");

exports.down = (knex) => knex.raw("drop index loans_due");
