const { Table, TableIndex } = require("typeorm");

module.exports = class Welcome1756803600000 {
  async up(runner) {
    await runner.createTable(
      new Table({
        name: "vote",
        columns: [
          { name: "postId", type: "int", isPrimary: true },
          { name: "voter", type: "varchar", isPrimary: true },
          { name: "weight", type: "numeric", precision: 4, scale: 1, default: 1 },
        ],
        foreignKeys: [{ columnNames: ["postId"], referencedTableName: "post", referencedColumnNames: ["id"] }],
      }),
    );
    await runner.createIndex("post", new TableIndex({ name: "IDX_post_topic", columnNames: ["topicId"] }));
    await runner.query(`with topic as (insert into "topic" ("title") values ('Welcome') returning "id")
      insert into "post" ("topicId", "text") select "id", 'Hello.' from topic`);
  }

  async down(runner) {
    await runner.dropTable("vote");
  }
};
