/** The command behind scripts/test: checks, build, tests, and one line that counts them. */
import { spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";

const root = join(import.meta.dirname, "../..");
const results = join(root, "build/test-results.json");

const program = new Command("scripts/test")
  .description(
    "Installs what is missing, builds, and runs every test: unit, toolchain, tools, boots in emulators.",
  )
  .argument("[filter...]", "only test files whose path contains one of these")
  .option("--nightly", "the long forms: every kernel, long fuzzing, many seeds")
  .option("--no-lint", "leave types and style out")
  .showHelpAfterError("Try scripts/test --help.")
  .parse();
const options = program.opts<{ nightly?: boolean; lint: boolean }>();

interface Tally {
  passed: number;
  failed: number;
}

/** Runs a program with its output on the terminal; whether it succeeded. */
function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  const child = spawn(program, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  return new Promise((resolve) => {
    child.on("error", () => resolve(false));
    child.on("close", (status) => resolve(status === 0));
  });
}

/** A step that counts as one test. */
async function check(title: string, program: string, args: string[]): Promise<Tally> {
  const start = performance.now();
  console.log(`== ${title}`);
  const passed = await run(program, args);
  console.log(
    `== ${title}: ${passed ? "passed" : "FAILED"}, ${((performance.now() - start) / 1000).toFixed(1)} s`,
  );
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1 };
}

async function vitest(filters: string[]): Promise<Tally> {
  rmSync(results, { force: true });
  const args = ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${results}`, ...filters];
  const succeeded = await run(
    join(root, "node_modules/.bin/vitest"),
    args,
    options.nightly ? { NIGHTLY: "1" } : {},
  );
  const json = JSON.parse(readFileSync(results, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
  };
  // A file that does not even load has no tests that could fail.
  const failed = succeeded ? json.numFailedTests : Math.max(json.numFailedTests, 1);
  return { passed: json.numPassedTests, failed };
}

const tallies: Tally[] = [];
if (options.lint && program.args.length === 0)
  tallies.push(await check("types and style", "scripts/lint", []));
const built = await check("build", "scripts/build", ["--all", "--debug"]);
tallies.push(built);
if (built.failed === 0) tallies.push(await vitest(program.args));
const sum = (key: keyof Tally) => tallies.reduce((total, tally) => total + tally[key], 0);
console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
process.exitCode = sum("failed") === 0 ? 0 : 1;
