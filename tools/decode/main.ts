/** The command behind scripts/decode. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Command } from "commander";
import { buildInLog, decodeLog } from "./decode.ts";
import { LineTable, buildOf } from "./line-table.ts";

const folder = join(import.meta.dirname, "../../build");

const program = new Command("scripts/decode")
  .description(
    "Prints a log with TypeScript lines behind the raw addresses of the hypervisor's reports.\n" +
      "It prints raw addresses when it was booted without its line table.",
  )
  .argument("[log]", "the hypervisor's log; standard input if it is left out")
  .option("--lines <file>", "the line table of the build (default: the one of that build in build/)")
  .showHelpAfterError("Try scripts/decode --help.")
  .parse();
const options = program.opts<{ lines?: string }>();

class Refusal extends Error {}

function readTable(file: string): LineTable {
  if (!existsSync(file)) throw new Refusal(`${file}: no such file`);
  try {
    return new LineTable(readFileSync(file));
  } catch (error) {
    throw new Refusal(`${file}: ${(error as Error).message}`);
  }
}

/** The table in build/ that is of this build. */
function findTable(build: string): LineTable {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".lines")) : [];
  const file = names.map((name) => join(folder, name)).find((path) => buildOf(readFileSync(path)) === build);
  if (file === undefined)
    throw new Refusal(`no line table of build ${build} in build/; name the build's .lines file with --lines`);
  return readTable(file);
}

try {
  const file = program.args[0];
  if (file !== undefined && !existsSync(file)) throw new Refusal(`${file}: no such file`);
  const log = file === undefined ? await text(process.stdin) : readFileSync(file, "latin1");
  const build = buildInLog(log);
  if (build === undefined)
    throw new Refusal(`${file ?? "the log"}: no line "Typevisor VERSION BUILD", which says the build`);
  const table = options.lines === undefined ? findTable(build) : readTable(options.lines);
  if (table.build !== build)
    throw new Refusal(`${options.lines}: of build ${table.build}, but the log is of build ${build}`);
  process.stdout.write(decodeLog(log, table), "latin1");
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`scripts/decode: ${error.message}\n`);
  process.exitCode = 1;
}
