module.exports = {
  up: (queryInterface, Sequelize) =>
    queryInterface.createTable("Pupils", {
      id: { type: Sequelize.INTEGER, primaryKey: true, autoIncrement: true },
      level: { type: Sequelize.ENUM("first", "second"), allowNull: false },
    }),
  down: (queryInterface) => queryInterface.dropTable("Pupils"),
};
