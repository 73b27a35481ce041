/**
 * The table that the kernel's symbol names are compressed with (by Linux's scripts/kallsyms): kallsyms_token_table has
 * 256 strings, each ended by a zero; kallsyms_token_index, behind it, has where each begins. A character that occurs
 * in names stands for itself, so that the digits are a run that can be searched for.
 */

export const tokenCount = 256;

export interface TokenTable {
  tokens: string[];
  /** Where kallsyms_token_table begins and kallsyms_token_index ends, in the segment. */
  start: number;
  end: number;
}

const digitRun = Buffer.from([..."0123456789"].map((digit) => `${digit}\0`).join(""), "latin1");
const firstDigit = "0".charCodeAt(0);

/** Every table of the kernel's symbols begins at a multiple of eight. */
export function align8(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}

/** The table in this segment of the kernel, if there is one. */
export function findTokenTable(bytes: Buffer): TokenTable | undefined {
  for (let at = bytes.indexOf(digitRun); at >= 0; at = bytes.indexOf(digitRun, at + 1)) {
    const table = tableAround(bytes, at);
    if (table !== undefined) return table;
  }
  return undefined;
}

/** The table that has the token "0" at `digit`; the index, which says the same in another way, proves it. */
function tableAround(bytes: Buffer, digit: number): TokenTable | undefined {
  let tableEnd = digit;
  for (let i = firstDigit; i < tokenCount; i++) {
    tableEnd = bytes.indexOf(0, tableEnd) + 1;
    if (tableEnd === 0) return undefined;
  }
  const index = align8(tableEnd);
  const end = index + tokenCount * 2;
  if (end > bytes.length) return undefined;
  const start = digit - bytes.readUInt16LE(index + firstDigit * 2);
  if (start < 0 || start % 8 !== 0) return undefined;
  const tokens: string[] = [];
  let at = start;
  for (let i = 0; i < tokenCount; i++) {
    if (bytes.readUInt16LE(index + i * 2) !== at - start) return undefined;
    const zero = bytes.indexOf(0, at);
    const token = bytes.toString("latin1", at, zero);
    if (!/^[!-~]*$/.test(token)) return undefined;
    tokens.push(token);
    at = zero + 1;
  }
  return at === tableEnd ? { tokens, start, end } : undefined;
}
