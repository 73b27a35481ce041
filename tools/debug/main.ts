/** scripts/debug: what is not bash of it. */
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { parseRequest } from "./command.ts";
import { debug, failure } from "./session.ts";

async function main(): Promise<number> {
  try {
    const request = parseRequest(process.argv.slice(2));
    return request === undefined ? 0 : await debug(request);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof MachineFailure)) throw error;
    process.stderr.write(`scripts/debug: ${error.message}\n`);
    return failure;
  }
}

process.exitCode = failure; // should anything unforeseen happen
process.exitCode = await main();
