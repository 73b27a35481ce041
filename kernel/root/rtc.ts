/** The host's clock of day (MC146818A): read once, for the guests' own clocks. */
import { in8, out8 } from "../machine/port";

/** An update in progress ends within 2 ms; no port is read 25 million times a second. */
const PATIENCE: u32 = 50000;

/** Bit 7 of the index stays 0: it would keep NMIs from the CPU (82371AB, NMI Enable and Real-Time Clock Index Register). */
function register(n: u32): u32 {
  out8(0x70, n);
  return in8(0x71);
}

function binary(value: u32, isBcd: bool): u32 {
  return isBcd ? (value >> 4) * 10 + (value & 15) : value;
}

/** Days from 1970-01-01 to a date of the Gregorian calendar, year 1970 or later. */
function daysTo(year: u32, month: u32, day: u32): u64 {
  // Years that start in March put the leap day last.
  const y: u64 = month <= 2 ? year - 1 : year;
  const m: u64 = month <= 2 ? month + 9 : month - 3;
  return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/** Seconds since 1970 as the host's clock has it, taken for UTC; 0 when it makes no sense. */
export function wallClock(): u64 {
  for (let i: u32 = 0; i < PATIENCE && register(10) & 0x80; i++);
  const status = register(11);
  const bcd = !(status & 4);
  const rawHour = register(4);
  const second = binary(register(0), bcd);
  const minute = binary(register(2), bcd);
  let hour = binary(rawHour & 0x7f, bcd);
  if (!(status & 2)) hour = (hour % 12) + (rawHour & 0x80 ? 12 : 0);
  const day = binary(register(7), bcd);
  const month = binary(register(8), bcd);
  const year = 2000 + binary(register(9), bcd);
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59) return 0;
  return (daysTo(year, month, day) * 24 + hour) * 3600 + <u64>(minute * 60 + second);
}
