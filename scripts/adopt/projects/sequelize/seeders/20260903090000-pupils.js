const now = new Date(Date.UTC(2026, 8, 3));

module.exports = {
  up: async (queryInterface) => {
    await queryInterface.bulkDelete("Pupils", null);
    await queryInterface.bulkDelete("Classes", null);
    const classes = await queryInterface.bulkInsert(
      "Classes",
      ["1a", "2b"].map((name) => ({ name, createdAt: now, updatedAt: now })),
      { returning: true },
    );
    await queryInterface.bulkInsert(
      "Pupils",
      Array.from({ length: 30 }, (_, number) => ({
        name: `Pupil ${number}`,
        level: number % 3 ? "first" : "third",
        classId: classes[number % 2].id,
        createdAt: now,
        updatedAt: now,
      })),
    );
  },
  down: (queryInterface) => queryInterface.bulkDelete("Pupils", null),
};
