import { defineConfig } from "vitest/config";

/** Unit and tool tests are quick; boots take minutes on a slow machine, and say so themselves. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    fileParallelism: true,
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
