module.exports = class Topics1793523600000 {
  async up(runner) {
    await runner.query(`create table "topic" ("id" serial primary key, "title" text not null)`);
  }

  async down(runner) {
    await runner.query(`drop table "topic"`);
  }
};
