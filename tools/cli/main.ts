/** scripts/boot: what is not bash of it. */
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { boot } from "./boot.ts";
import { parseOptions } from "./command.ts";
import { checkRequest } from "./request.ts";
import { Status } from "./status.ts";

async function main(): Promise<Status> {
  try {
    const options = parseOptions(process.argv.slice(2));
    return options === undefined ? Status.Success : await boot(checkRequest(options));
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof MachineFailure)) throw error;
    process.stderr.write(`scripts/boot: ${error.message}\n`);
    return Status.Failure;
  }
}

// Who reads our output may stop reading, as `head` does; then there is nobody left to serve.
process.stdout.on("error", () => process.exit(Status.Failure));
process.exitCode = Status.Failure; // should anything unforeseen happen
process.exitCode = await main();
