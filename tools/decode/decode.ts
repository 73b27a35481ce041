/** A log with reports of raw addresses becomes one with TypeScript lines. */
import type { LineTable } from "./line-table.ts";

/** The build that the log is of: the last one that says so. */
export function buildInLog(log: string): string | undefined {
  return [...log.matchAll(/Typevisor \S+ ([0-9a-f]{8})\b/g)].at(-1)?.[1];
}

/** Where a trap was and who called, when the hypervisor had no table: an address and nothing behind it. */
const place = /^((?:\(tv\) )?\s*(?:at|from|from \?) (0x[0-9a-f]+))(\r?)$/;

/** The line of boot/raw.asm: vector, error code, RIP, CR2. */
const raw = /^(.*a fault within the report: .*:(?: [0-9a-f]{16}){2} ([0-9a-f]{16}) [0-9a-f]{16})(\r?)$/;

/** The log with the places of `table` behind the addresses. Everything else stays as it is. */
export function decodeLog(log: string, table: LineTable): string {
  return log
    .split("\n")
    .map((line) => {
      const match = place.exec(line);
      if (match) return append(match[1]!, table.place(Number(match[2])), match[3]!);
      const fault = raw.exec(line);
      return fault ? append(fault[1]!, table.place(Number(`0x${fault[2]}`)), fault[3]!) : line;
    })
    .join("\n");
}

function append(line: string, text: string | undefined, end: string): string {
  return (text === undefined ? line : `${line} ${text}`) + end;
}
