/** The command behind scripts/doctor. */
import { Command } from "commander";
import { examine } from "./examine.ts";
import { look } from "./linux.ts";

const program = new Command("scripts/doctor")
  .description(
    "Says what this machine offers to Typevisor, what is missing, and what to do about it: the table that Typevisor\n" +
      "prints at boot with preflight=yes (docs/preflight.md), made by the same code. Nothing is changed.\n\n" +
      "As root, and with the msr module (modprobe msr), it knows all of it.\n\n" +
      "Status 0: it can run Typevisor; 1: it cannot; 2: that cannot be known here; 3: this command cannot run.",
  )
  .option("--json", "print the rows as JSON")
  .showHelpAfterError("Try scripts/doctor --help.")
  .parse();

try {
  const { status, lines, rows, warnings } = examine(look());
  if (program.opts<{ json?: boolean }>().json) {
    console.log(JSON.stringify({ able: status === 2 ? null : status === 0, rows, warnings }, undefined, 2));
  } else {
    for (const line of [...warnings, ...lines]) console.log(line);
  }
  process.exitCode = status;
} catch (error) {
  console.error(`scripts/doctor: ${(error as Error).message}`);
  process.exitCode = 3;
}
