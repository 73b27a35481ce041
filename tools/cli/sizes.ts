/** Amounts as people type them. */
import { Refusal } from "../machine/errors.ts";

const units = { K: 1 / 1024, M: 1, G: 1024, T: 1024 * 1024 } as const;

/** "512M", "1G", "64MiB": a size in whole MiB. */
export function parseMemory(text: string): number {
  const match = /^(\d+)([KMGT])(?:i?B)?$/i.exec(text.trim());
  if (match === null) throw new Refusal(`--memory: "${text}" is no size; write for example 512M or 2G`);
  const mib = Number(match[1]) * units[match[2]!.toUpperCase() as keyof typeof units];
  if (!Number.isInteger(mib) || mib < 1)
    throw new Refusal(`--memory: "${text}" is not a whole number of MiB`);
  if (mib > units.T) throw new Refusal(`--memory: "${text}" is more than 1T`);
  return mib;
}

/** A time limit in seconds, fractions allowed. */
export function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : NaN;
  if (!(seconds > 0)) throw new Refusal(`--timeout: "${text}" is no number of seconds greater than 0`);
  if (seconds > 2_000_000) throw new Refusal(`--timeout: "${text}" is more than 2000000 seconds`);
  return seconds;
}
