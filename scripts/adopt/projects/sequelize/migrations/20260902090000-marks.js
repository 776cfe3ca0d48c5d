module.exports = {
  up: async (queryInterface, Sequelize) => {
    await queryInterface.addColumn("Pupils", "marks", { type: Sequelize.ARRAY(Sequelize.DECIMAL(3, 1)) });
    await queryInterface.addIndex("Pupils", ["classId", "level"]);
    await queryInterface.sequelize.query(`alter type "enum_Pupils_level" add value 'third'`);
  },
  down: async (queryInterface) => {
    await queryInterface.removeColumn("Pupils", "marks");
  },
};
