export const up = (pgm) => {
  pgm.noTransaction();
  pgm.addTypeValue("state", "failed");
  pgm.createIndex("transfers", "at", { concurrently: true, where: "state = 'failed'" });
};

export const down = false;
