import { defineConfig } from "vitest/config";

/** Unit and tool tests are quick, but for their long forms; boots take minutes on a slow machine, and say so themselves. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    fileParallelism: true,
    maxWorkers: 2,
    testTimeout: process.env["NIGHTLY"] ? 1_800_000 : 60_000,
  },
});
