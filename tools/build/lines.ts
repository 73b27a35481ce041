/**
 * Makes the line table that root reads (kernel/root/lines.ts describes it) and scripts/decode uses, from the debug
 * information of the linked image.
 */
import { command } from "./step.ts";

/** The first word of a table: "TYVL". */
export const lineTableMagic = 0x4c565954;

export interface Row {
  address: number;
  file: string;
  line: number;
}

export interface Named {
  address: number;
  name: string;
}

/** Rows of `objdump --dwarf=decodedline`: file, line, address, and flags. */
export function parseRows(text: string): Row[] {
  const rows: Row[] = [];
  let file = "";
  for (const line of text.split("\n")) {
    const heading = /^(?:CU: )?(\S.*):$/.exec(line) ?? /^(\S+):\[\+\+\]$/.exec(line);
    if (heading) {
      file = heading[1]!.replace(/^\.\//, "");
      continue;
    }
    const row = /^(\S+)\s+(\d+|-)\s+(0x[0-9a-f]+)/.exec(line);
    if (row) rows.push({ address: Number(row[3]), file, line: row[2] === "-" ? 0 : Number(row[2]) });
  }
  return rows.sort((a, b) => a.address - b.address);
}

/** Drops rows that say nothing new: of one address the last counts, and equal neighbours are one. */
export function compactRows(rows: Row[]): Row[] {
  const compact: Row[] = [];
  for (const row of rows) {
    const last = compact.at(-1);
    if (last?.address === row.address) compact.pop();
    const before = compact.at(-1);
    if (before && before.file === row.file && before.line === row.line) continue;
    compact.push(row);
  }
  return compact;
}

/** Functions of the text section, from `nm`. */
export function parseFunctions(text: string): Named[] {
  const found: Named[] = [];
  for (const line of text.split("\n")) {
    const symbol = /^([0-9a-f]+) [tT] (\S+)$/.exec(line);
    if (symbol) found.push({ address: parseInt(symbol[1]!, 16), name: symbol[2]! });
  }
  return found.sort((a, b) => a.address - b.address);
}

/** The table's bytes. */
export function encodeLines(buildId: number, rows: Row[], functions: Named[]): Buffer {
  const files = [...new Set(rows.map((r) => r.file))];
  if (files.length > 0xffff) throw new Error("line table: more than 65535 files");
  const header = 20;
  const namesAt = header + rows.length * 8 + functions.length * 8 + files.length * 4;
  const names: Buffer[] = [];
  let next = namesAt;
  const addName = (name: string) => {
    const at = next;
    const bytes = Buffer.from(`${name}\0`, "latin1");
    names.push(bytes);
    next += bytes.length;
    return at;
  };
  const table = Buffer.alloc(namesAt);
  table.writeUInt32LE(lineTableMagic, 0);
  table.writeUInt32LE(buildId >>> 0, 4);
  table.writeUInt32LE(rows.length, 8);
  table.writeUInt32LE(files.length, 12);
  table.writeUInt32LE(functions.length, 16);
  let at = header;
  const index = new Map(files.map((f, i) => [f, i]));
  for (const row of rows) {
    table.writeUInt32LE(row.address, at);
    table.writeUInt16LE(index.get(row.file)!, at + 4);
    table.writeUInt16LE(Math.min(row.line, 0xffff), at + 6);
    at += 8;
  }
  for (const f of functions) {
    table.writeUInt32LE(f.address, at);
    table.writeUInt32LE(addName(f.name), at + 4);
    at += 8;
  }
  for (const f of files) {
    table.writeUInt32LE(addName(f), at);
    at += 4;
  }
  return Buffer.concat([table, ...names]);
}

/**
 * The intrinsics are inlined into TypeScript: their rows get the line of the TypeScript that called them, which the
 * debug information of inlined functions has.
 */
async function attributeIntrinsics(rows: Row[], elf: string, cwd: string): Promise<Row[]> {
  const inlined = rows.filter((r) => r.file.endsWith(".h"));
  if (inlined.length === 0) return rows;
  const addresses = inlined.map((r) => `0x${r.address.toString(16)}`);
  const answer = await command("addr2line", ["-a", "-i", "-e", elf, ...addresses], cwd);
  const callers = parseInlined(answer);
  return rows.map((r) => ({ ...r, ...(r.file.endsWith(".h") ? callers.get(r.address) : undefined) }));
}

/** The first place in TypeScript of each address, from `addr2line -a -i`. */
export function parseInlined(text: string): Map<number, { file: string; line: number }> {
  const found = new Map<number, { file: string; line: number }>();
  let address = 0;
  for (const line of text.split("\n")) {
    if (/^0x[0-9a-f]+$/.test(line)) address = Number(line);
    const place = /(?:^|\/)((?:kernel|test|~lib)\/\S+\.ts):(\d+)/.exec(line);
    if (place && !found.has(address)) found.set(address, { file: place[1]!, line: Number(place[2]) });
  }
  return found;
}

/** Makes the line table of an image for a build id: its first four bytes. */
export type LineTable = (buildId: number) => Buffer;

export async function readLines(elf: string, cwd: string): Promise<LineTable> {
  const [decoded, symbols] = await Promise.all([
    command("objdump", ["--dwarf=decodedline", elf], cwd),
    command("nm", [elf], cwd),
  ]);
  const rows = compactRows(await attributeIntrinsics(parseRows(decoded), elf, cwd));
  const functions = parseFunctions(symbols);
  return (buildId) => encodeLines(buildId, rows, functions);
}
