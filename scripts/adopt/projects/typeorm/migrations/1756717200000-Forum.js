module.exports = class Forum1756717200000 {
  async up(runner) {
    await runner.query(`create type "topic_state_enum" as enum ('open', 'closed')`);
    await runner.query(`
      create table "topic" (
        "id" uuid not null default gen_random_uuid(), "title" character varying not null,
        "state" "topic_state_enum" not null default 'open', "created" timestamp not null default now(),
        constraint "PK_topic" primary key ("id"))`);
    await runner.query(`
      create table "post" (
        "id" serial not null, "topicId" uuid not null, "text" text not null, "path" integer[] not null default '{}',
        constraint "PK_post" primary key ("id"),
        constraint "FK_post_topic" foreign key ("topicId") references "topic"("id") on delete cascade)`);
  }

  async down(runner) {
    await runner.query(`drop table "post", "topic"`);
    await runner.query(`drop type "topic_state_enum"`);
  }
};
