/** Amounts as people type them. */
import { Refusal } from "../machine/errors.ts";

const units = { K: 1 / 1024, M: 1, G: 1024, T: 1024 * 1024 } as const;

/** "512M", "1G", "64MiB": a size in whole MiB. */
export function parseMemory(text: string, option = "--memory"): number {
  const match = /^(\d+)([KMGT])(?:i?B)?$/i.exec(text.trim());
  if (match === null) throw new Refusal(`${option}: "${text}" is no size; write for example 512M or 2G`);
  const mib = Number(match[1]) * units[match[2]!.toUpperCase() as keyof typeof units];
  if (!Number.isInteger(mib) || mib < 1)
    throw new Refusal(`${option}: "${text}" is not a whole number of MiB`);
  if (mib > units.T) throw new Refusal(`${option}: "${text}" is more than 1T`);
  return mib;
}

/** A time limit in seconds, fractions allowed. */
export function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : NaN;
  if (!(seconds > 0)) throw new Refusal(`--timeout: "${text}" is no number of seconds greater than 0`);
  if (seconds > 2_000_000) throw new Refusal(`--timeout: "${text}" is more than 2000000 seconds`);
  return seconds;
}

/** A number of processors. */
export function parseCount(option: string, text: string, most: number): number {
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > most) throw new Refusal(`${option}: expected 1 to ${most}, is "${text}"`);
  return count;
}

/** A TSC's frequency in kHz, as far as the hypervisor takes it (kernel/root/modules.ts). */
export function parseFrequency(text: string): number {
  const khz = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (khz < 1000 || khz > 8_000_000)
    throw new Refusal(`--tsc-khz: expected kHz, 1000 to 8000000, is "${text}"`);
  return khz;
}
