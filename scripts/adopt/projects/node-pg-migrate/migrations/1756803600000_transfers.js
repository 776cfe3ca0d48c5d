export const up = (pgm) => {
  pgm.createType("state", ["open", "done"]);
  pgm.createTable("transfers", {
    id: "id",
    source: { type: "bigint", notNull: true, references: "accounts" },
    target: { type: "bigint", notNull: true, references: "accounts" },
    state: { type: "state", notNull: true, default: "open" },
    at: { type: "timestamptz", notNull: true, default: pgm.func("now()") },
  });
  pgm.createIndex("transfers", ["state", "at"]);
};

export const down = (pgm) => {
  pgm.dropTable("transfers");
  pgm.dropType("state");
};
