module.exports = class Welcome1793610000000 {
  async up(runner) {
    await runner.query(`insert into "topic" ("title") values ('Welcome')`);
  }

  async down(runner) {
    await runner.query(`delete from "topic" where "title" = 'Welcome'`);
  }
};
