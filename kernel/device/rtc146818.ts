/**
 * The real-time clock and CMOS memory of a PC (Motorola MC146818A). Time is the caller's: a count of the clock's own
 * crystal, 32768 Hz, that never goes back, added to the time of day at its zero.
 *
 *   0  w: index (bit 7 masks NMI on the PC)      1  rw the byte at the index
 */

const HZ: u64 = 32768;
const NEVER: u64 = ~(<u64>0);

namespace Reg {
  export const SECONDS: u32 = 0;
  export const SECONDS_ALARM: u32 = 1;
  export const MINUTES: u32 = 2;
  export const MINUTES_ALARM: u32 = 3;
  export const HOURS: u32 = 4;
  export const HOURS_ALARM: u32 = 5;
  export const WEEKDAY: u32 = 6;
  export const DAY: u32 = 7;
  export const MONTH: u32 = 8;
  export const YEAR: u32 = 9;
  export const A: u32 = 10; // rw rate, divider; r: update in progress
  export const B: u32 = 11; // rw interrupt enables, formats, SET
  export const C: u32 = 12; // r  interrupt flags, cleared by reading
  export const D: u32 = 13; // r  valid
  export const CENTURY: u32 = 0x32;
}

const A_UPDATING: u32 = 0x80;
const B_SET: u32 = 0x80;
const B_PERIODIC: u32 = 0x40;
const B_ALARM: u32 = 0x20;
const B_UPDATE: u32 = 0x10;
const B_BINARY: u32 = 4;
const B_24H: u32 = 2;
const C_ANY: u32 = 0x80;
const D_VALID: u32 = 0x80;
/** An update takes 244 us before the second changes, during which UIP is set. */
const UPDATE: u64 = 8;

@unmanaged
class Rtc {
  /** Time of day at the clock's zero, in 1/32768 s since 1970; it moves when the guest sets the clock. */
  base: u64;
  /** The last moment up to which interrupts were looked for. */
  seen: u64;
  index: u32;
  flags: u32;
  /** Time that SET froze, in seconds. */
  frozen: u64;
}

/** A date and time of the Gregorian calendar. */
@unmanaged
class Moment {
  second: u32;
  minute: u32;
  hour: u32;
  weekday: u32;
  day: u32;
  month: u32;
  year: u32;
}

const rtc = changetype<Rtc>(memory.data(32, 8));
const cells = memory.data(128);
const moment = changetype<Moment>(memory.data(28, 4));

function cell(n: u32): u32 {
  return load<u8>(cells + <usize>n);
}

function setCell(n: u32, value: u32): void {
  store<u8>(cells + <usize>n, <u8>value);
}

/** `seconds` since 1970 is the time at clock 0. */
export function resetRtc(seconds: u64): void {
  rtc.base = seconds * HZ;
  setCell(Reg.A, 0x26);
  setCell(Reg.B, B_24H);
}

function isSet(): bool {
  return (cell(Reg.B) & B_SET) != 0;
}

/** Seconds since 1970. */
function seconds(now: u64): u64 {
  return isSet() ? rtc.frozen : (rtc.base + now) / HZ;
}

/** Days since 1970 to a date, by years that start in March. */
function split(time: u64): Moment {
  const days = time / 86400;
  const rest = <u32>(time % 86400);
  moment.second = rest % 60;
  moment.minute = (rest / 60) % 60;
  moment.hour = rest / 3600;
  moment.weekday = <u32>((days + 4) % 7) + 1;
  const shifted = days + 719468;
  const era = shifted / 146097;
  const dayOfEra = shifted % 146097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const month = (5 * dayOfYear + 2) / 153;
  moment.day = <u32>(dayOfYear - (153 * month + 2) / 5) + 1;
  moment.month = <u32>(month < 10 ? month + 3 : month - 9);
  moment.year = <u32>(yearOfEra + era * 400) + (moment.month <= 2 ? 1 : 0);
  return moment;
}

function join(m: Moment): u64 {
  const y: u64 = m.month <= 2 ? m.year - 1 : m.year;
  const month: u64 = m.month <= 2 ? m.month + 9 : m.month - 3;
  const days = y * 365 + y / 4 - y / 100 + y / 400 + (month * 153 + 2) / 5 + m.day - 1 - 719468;
  return days * 86400 + m.hour * 3600 + m.minute * 60 + m.second;
}

function encode(value: u32): u32 {
  return cell(Reg.B) & B_BINARY ? value : ((value / 10) << 4) | (value % 10);
}

function decode(value: u32): u32 {
  return cell(Reg.B) & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

function encodeHour(hour: u32): u32 {
  if (cell(Reg.B) & B_24H) return encode(hour);
  const half = hour % 12 == 0 ? 12 : hour % 12;
  return encode(half) | (hour >= 12 ? 0x80 : 0);
}

function decodeHour(value: u32): u32 {
  if (cell(Reg.B) & B_24H) return decode(value);
  return (decode(value & 0x7f) % 12) + (value & 0x80 ? 12 : 0);
}

function isTime(n: u32): bool {
  return n <= Reg.YEAR && n != Reg.SECONDS_ALARM && n != Reg.MINUTES_ALARM && n != Reg.HOURS_ALARM;
}

function readTime(n: u32, now: u64): u32 {
  const m = split(seconds(now));
  switch (n) {
    case Reg.SECONDS:
      return encode(m.second);
    case Reg.MINUTES:
      return encode(m.minute);
    case Reg.HOURS:
      return encodeHour(m.hour);
    case Reg.WEEKDAY:
      return encode(m.weekday);
    case Reg.DAY:
      return encode(m.day);
    case Reg.MONTH:
      return encode(m.month);
    case Reg.YEAR:
      return encode(m.year % 100);
    default:
      return encode(m.year / 100);
  }
}

function writeTime(n: u32, value: u32, now: u64): void {
  const m = split(seconds(now));
  const v = decode(value);
  if (n == Reg.SECONDS) m.second = min(v, 59);
  else if (n == Reg.MINUTES) m.minute = min(v, 59);
  else if (n == Reg.HOURS) m.hour = min(decodeHour(value), 23);
  else if (n == Reg.DAY) m.day = min(max(v, 1), 31);
  else if (n == Reg.MONTH) m.month = min(max(v, 1), 12);
  else if (n == Reg.YEAR) m.year = max(m.year - (m.year % 100) + min(v, 99), 1970);
  else if (n == Reg.CENTURY) m.year = max(min(v, 99) * 100 + (m.year % 100), 1970);
  const time = join(m);
  if (isSet()) rtc.frozen = time;
  else rtc.base = time * HZ - now;
}

/** Whether a second of the day matches the alarm; a byte of C0h and up matches any. */
function alarmMatches(time: u64): bool {
  const m = split(time);
  const s = cell(Reg.SECONDS_ALARM);
  const mi = cell(Reg.MINUTES_ALARM);
  const h = cell(Reg.HOURS_ALARM);
  return (
    (s >= 0xc0 || decode(s) == m.second) &&
    (mi >= 0xc0 || decode(mi) == m.minute) &&
    (h >= 0xc0 || decodeHour(h) == m.hour)
  );
}

/** Clocks of a period, 0 when there is none (table 5, "Periodic Interrupt Rate"). */
function period(): u64 {
  const rate = cell(Reg.A) & 15;
  if (rate == 0 || (cell(Reg.A) & 0x70) != 0x20) return 0;
  return <u64>1 << (rate <= 2 ? rate + 6 : rate - 1);
}

/** When the clock next has something to say, at the earliest; ~0 for never. */
export function nextClockInterrupt(now: u64): u64 {
  let next = NEVER;
  const enabled = cell(Reg.B);
  const p = period();
  if (enabled & B_PERIODIC && p != 0) next = (now / p + 1) * p;
  if (enabled & (B_UPDATE | B_ALARM) && !isSet()) {
    const time = rtc.base + now;
    next = min(next, now + HZ - (time % HZ));
  }
  return next;
}

/** Brings the flags up to date. */
export function updateClock(now: u64): void {
  const before = rtc.seen;
  if (now <= before) return;
  rtc.seen = now;
  const p = period();
  if (p != 0 && now / p != before / p) rtc.flags |= B_PERIODIC;
  if (isSet()) return;
  const first = (rtc.base + before) / HZ;
  const last = (rtc.base + now) / HZ;
  if (first == last) return;
  rtc.flags |= B_UPDATE;
  // Nobody looks at an alarm that is more than a day back.
  for (let t = max(first + 1, last > 86400 ? last - 86400 : 0); t <= last; t++) {
    if (!alarmMatches(t)) continue;
    rtc.flags |= B_ALARM;
    break;
  }
}

/** The interrupt line. */
export function clockLine(): bool {
  return (rtc.flags & cell(Reg.B) & (B_PERIODIC | B_ALARM | B_UPDATE)) != 0;
}

export function readRtc(offset: u32, now: u64): u32 {
  if (offset == 0) return 0xff;
  updateClock(now);
  const n = rtc.index;
  if (isTime(n) || n == Reg.CENTURY) return readTime(n, now);
  if (n == Reg.A) {
    const updating = !isSet() && HZ - ((rtc.base + now) % HZ) <= UPDATE;
    return (cell(Reg.A) & 0x7f) | (updating ? A_UPDATING : 0);
  }
  if (n == Reg.C) {
    const value = rtc.flags | (clockLine() ? C_ANY : 0);
    rtc.flags = 0;
    return value;
  }
  if (n == Reg.D) return D_VALID;
  return cell(n);
}

export function writeRtc(offset: u32, value: u32, now: u64): void {
  if (offset == 0) {
    rtc.index = value & 0x7f;
    return;
  }
  updateClock(now);
  const n = rtc.index;
  if (isTime(n) || n == Reg.CENTURY) {
    writeTime(n, value, now);
  } else if (n == Reg.B) {
    const wasSet = isSet();
    const time = seconds(now);
    // SET inhibits updates and clears the update interrupt's enable.
    setCell(Reg.B, value & B_SET ? value & ~B_UPDATE : value);
    if (isSet()) rtc.frozen = time;
    else if (wasSet) rtc.base = time * HZ - now;
  } else if (n != Reg.C && n != Reg.D) {
    setCell(n, n == Reg.A ? value & 0x7f : value);
  }
}

/** A byte of the CMOS memory, for the platform to describe itself. */
export function setCmos(n: u32, value: u32): void {
  setCell(n, value);
}
