/** The table of what this machine offers: its rows in order, on the log, and for scripts/doctor. */
import { Text } from "../../lib/text";
import { error, info, say } from "../log";
import { findWatchdog } from "../watchdog";
import { platformRows } from "./platform";
import { errataRows, featureRows, machineCheckRow, processorRows } from "./processors";
import { Readable, State, begin, beginReport, countOf, end, report, tell } from "./report";
import { virtualizationRows } from "./virtualization";

/**
 * Makes the table, after the CPU, the boot loader's information, the command line and ACPI's tables have been read. `able`: the machine can
 * run guests; `why`: what is missing, if not.
 */
export function survey(readable: u32, able: bool, why: Text): void {
  findWatchdog();
  beginReport();
  report.readable = readable;
  processorRows();
  virtualizationRows();
  featureRows();
  machineCheckRow();
  platformRows();
  errataRows();
  report.able = able && !isUnsure() ? 1 : 0;
  if (!able)
    end(begin(State.Missing, "this machine").str("cannot run Typevisor: ").bytes(why.start, why.length));
  else if (isUnsure())
    tell(State.Unknown, "this machine", "can run Typevisor, if what is unknown here is there");
  else tell(State.Required, "this machine", "can run Typevisor");
}

/** Whether what is required may be missing where this cannot look. */
function isUnsure(): bool {
  return !report.canRead(Readable.Msr) || !report.canRead(Readable.Memory);
}

/** Logs the table; at the level of errors when it tells why nothing goes on. */
export function printSurvey(refused: bool): void {
  let from = report.start;
  const stop = report.start + report.length;
  while (from < stop) {
    let length: u32 = 0;
    while (load<u8>(from + length) != 10) length++;
    say((refused ? error() : info()).bytes(from, length));
    from += length + 1;
  }
}

/** Logs how much of what there is, in one line. */
export function printSummary(): void {
  const out = info()
    .str("preflight: ")
    .dec(countOf(State.Required) + countOf(State.Used))
    .str(" used, ")
    .dec(countOf(State.Spare))
    .str(" present and not used, ")
    .dec(countOf(State.Missing))
    .str(" missing");
  if (countOf(State.Affected) > 0) out.str(", ").dec(countOf(State.Affected)).str(" errata");
  say(out);
}
