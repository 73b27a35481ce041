/**
 * The real-time clock and CMOS memory of a PC (Motorola MC146818A), with the century where PCs have it. Time is the
 * caller's: a count of the clock's own crystal, 32768 Hz, that never goes down. The bytes change at an update's end.
 *
 *   0  w: index (bit 7 masks NMI on the PC)      1  rw the byte at the index
 */
import { FIRST_WEEKDAY, Moment, SECONDS_TO_1970 } from "./calendar";

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
const A_DIVIDER: u32 = 0x70;
/** The divider for the crystal that is there; with any other value the clock stands. */
const A_DIVIDER_32K: u32 = 0x20;
const B_SET: u32 = 0x80;
const B_PERIODIC: u32 = 0x40;
const B_ALARM: u32 = 0x20;
const B_UPDATE: u32 = 0x10;
const B_INTERRUPTS: u32 = B_PERIODIC | B_ALARM | B_UPDATE;
const B_BINARY: u32 = 4;
const B_24H: u32 = 2;
const C_ANY: u32 = 0x80;
const D_VALID: u32 = 0x80;
const PM: u32 = 0x80;
/** Alarm bytes from here on match anything. */
const ANY: u32 = 0xc0;
/** Clocks before the end of an update during which UIP is set: 244 us, and 1984 us of the update itself (table 3). */
const UPDATE: u64 = 73;


@unmanaged
export class Rtc {
  /** The divider chain: base + now is the time in clocks since the calendar's start, as long as the clock runs. */
  base: u64;
  /** The last moment up to which interrupts were looked for. */
  seen: u64;
  /** The second of the next alarm. */
  alarm: u64;
  index: u32;
  flags: u32;
  /** Weekday of the calendar's first day, by what the guest has set. */
  weekday: u32;
  padding: u32;
}

const rtc = changetype<Rtc>(memory.data(40, 8));
/** The time registers' own bytes count while the clock stands. */
const cells = memory.data(128);
const moment = changetype<Moment>(memory.data(28, 4));

function cell(n: u32): u32 {
  return load<u8>(cells + <usize>n);
}

/** A byte of the CMOS memory, for the platform to describe itself. */
export function setCmos(n: u32, value: u32): void {
  store<u8>(cells + <usize>n, <u8>value);
}

/** `seconds` since 1970 is the time at clock 0. */
export function resetRtc(seconds: u64): void {
  rtc.base = (seconds + SECONDS_TO_1970) * HZ;
  rtc.weekday = FIRST_WEEKDAY;
  rtc.alarm = NEVER;
  setCmos(Reg.A, A_DIVIDER_32K | 6);
  setCmos(Reg.B, B_24H);
  setAlarm(0);
}

function dividing(): bool {
  return (cell(Reg.A) & A_DIVIDER) == A_DIVIDER_32K;
}

function running(): bool {
  return dividing() && !(cell(Reg.B) & B_SET);
}

function encode(value: u32): u32 {
  return cell(Reg.B) & B_BINARY ? value : ((value / 10) << 4) | (value % 10);
}

function decode(byte: u32): u32 {
  return cell(Reg.B) & B_BINARY ? byte : (byte >> 4) * 10 + (byte & 15);
}

function encodeHour(hour: u32): u32 {
  if (cell(Reg.B) & B_24H) return encode(hour);
  return encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
}

function decodeHour(byte: u32): u32 {
  if (cell(Reg.B) & B_24H) return decode(byte);
  return (decode(byte & ~PM) % 12) + (byte & PM ? 12 : 0);
}

function isTime(n: u32): bool {
  // Seconds, minutes, hours; weekday to year; the century.
  return n < Reg.A ? ((0x3d5 >> n) & 1) != 0 : n == Reg.CENTURY;
}

/** Clocks since the last update. */
function fraction(now: u64): u64 {
  return (rtc.base + now) % HZ;
}

function readTime(n: u32, now: u64): u32 {
  const m = moment.set((rtc.base + now) / HZ);
  switch (n) {
    case Reg.SECONDS:
      return encode(m.second);
    case Reg.MINUTES:
      return encode(m.minute);
    case Reg.HOURS:
      return encodeHour(m.hour);
    case Reg.WEEKDAY:
      return encode(((m.days + rtc.weekday) % 7) + 1);
    case Reg.DAY:
      return encode(m.day);
    case Reg.MONTH:
      return encode(m.month);
    case Reg.YEAR:
      return encode(m.year % 100);
    default:
      return encode((m.year / 100) % 100);
  }
}

/** The clock stops: the time goes to the registers, where a guest can set one after the other. */
function stop(now: u64): void {
  for (let n: u32 = 0; n < Reg.A; n++) if (isTime(n)) setCmos(n, readTime(n, now));
  setCmos(Reg.CENTURY, readTime(Reg.CENTURY, now));
}

/** The clock goes on from what the registers say. The fraction of the second is the divider's. */
function start(now: u64): void {
  const m = moment;
  m.second = min(decode(cell(Reg.SECONDS)), 59);
  m.minute = min(decode(cell(Reg.MINUTES)), 59);
  m.hour = min(decodeHour(cell(Reg.HOURS)), 23);
  m.day = min(max(decode(cell(Reg.DAY)), 1), 31);
  m.month = min(max(decode(cell(Reg.MONTH)), 1), 12);
  m.year = min(decode(cell(Reg.CENTURY)), 99) * 100 + min(decode(cell(Reg.YEAR)), 99);
  rtc.base = m.seconds() * HZ + fraction(now) - now;
  rtc.weekday = (decode(cell(Reg.WEEKDAY)) + 6 + 7 - (m.days % 7)) % 7;
}

function alarmField(n: u32, limit: u32): u32 {
  const byte = cell(n);
  if (byte >= ANY) return ANY;
  const value = n == Reg.HOURS_ALARM ? decodeHour(byte) : decode(byte);
  const canonical = n == Reg.HOURS_ALARM ? encodeHour(value) : encode(value);
  return value < limit && canonical == byte ? value : limit;
}

/** Finds the first second after `now` that matches the alarm: the clock compares at each update. */
function setAlarm(now: u64): void {
  rtc.alarm = NEVER;
  const second = alarmField(Reg.SECONDS_ALARM, 60);
  const minute = alarmField(Reg.MINUTES_ALARM, 60);
  const hour = alarmField(Reg.HOURS_ALARM, 24);
  // A byte that no time ever shows never matches.
  if (!running() || second == 60 || minute == 60 || hour == 24) return;
  let t = (rtc.base + now) / HZ + 1;
  if (second != ANY) t += (second + 60 - <u32>(t % 60)) % 60;
  const minutes = minute == ANY ? 0 : (minute + 60 - (<u32>(t / 60) % 60)) % 60;
  t += minutes * 60;
  const hours = hour == ANY ? 0 : (hour + 24 - (<u32>(t / 3600) % 24)) % 24;
  t += hours * 3600;
  // Whoever had to wait starts anew in what matches anything.
  if (hours != 0 && minute == ANY) t -= ((t / 60) % 60) * 60;
  if ((hours != 0 || minutes != 0) && second == ANY) t -= t % 60;
  rtc.alarm = t;
}

/** Clocks of a period, 0 when there is none (table 5, "Periodic Interrupt Rate and Square Wave Output Frequency"). */
function period(): u64 {
  const rate = cell(Reg.A) & 15;
  if (rate == 0 || !dividing()) return 0;
  return (<u64>1) << (rate <= 2 ? rate + 6 : rate - 1);
}

/** When the clock next interrupts; ~0 for never. What it has flagged already needs no waking. */
export function nextClockInterrupt(): u64 {
  const now = rtc.seen;
  const wanted = cell(Reg.B) & ~rtc.flags;
  const time = rtc.base + now;
  const p = period();
  let next = wanted & B_PERIODIC && p != 0 ? now + p - (time % p) : NEVER;
  if (!running()) return next;
  if (wanted & B_UPDATE) next = min(next, now + HZ - fraction(now));
  if (wanted & B_ALARM && rtc.alarm != NEVER) next = min(next, rtc.alarm * HZ - rtc.base);
  return next;
}

/** Brings the flags up to date. */
export function updateClock(now: u64): void {
  const before = rtc.base + rtc.seen;
  const time = rtc.base + now;
  if (now <= rtc.seen) return;
  rtc.seen = now;
  const p = period();
  if (p != 0 && time / p != before / p) rtc.flags |= B_PERIODIC;
  if (!running() || time / HZ == before / HZ) return;
  rtc.flags |= B_UPDATE;
  if (time / HZ < rtc.alarm) return;
  rtc.flags |= B_ALARM;
  setAlarm(now);
}

/** The interrupt line. */
export function clockLine(): bool {
  return (rtc.flags & cell(Reg.B) & B_INTERRUPTS) != 0;
}

/** Writes the index: the byte that offset 1 is about. */
export function selectRtc(value: u32): void {
  rtc.index = value & 0x7f;
}

/** Offset 1. */
export function readRtc(now: u64): u32 {
  updateClock(now);
  const n = rtc.index;
  if (n == Reg.A) {
    const updating = running() && HZ - fraction(now) <= UPDATE;
    return cell(Reg.A) | (updating ? A_UPDATING : 0);
  }
  if (n == Reg.C) {
    const value = rtc.flags | (clockLine() ? C_ANY : 0);
    rtc.flags = 0;
    return value;
  }
  if (n == Reg.D) return D_VALID;
  return isTime(n) && running() ? readTime(n, now) : cell(n);
}

/** Writes A or B, which may stop the clock or start it, or change what the bytes mean. */
function writeControl(n: u32, value: u32, now: u64): void {
  const divided = dividing();
  if (running()) stop(now);
  // SET inhibits updates; its going on takes their interrupt's enable away.
  if (n == Reg.A) setCmos(n, value & ~A_UPDATING);
  else setCmos(n, value & ~cell(n) & B_SET ? value & ~B_UPDATE : value);
  // The first update comes half a second after the divider was released.
  if (dividing() && !divided) rtc.base += HZ / 2 - fraction(now);
  if (running()) start(now);
}

/** Offset 1. */
export function writeRtc(value: u32, now: u64): void {
  updateClock(now);
  const n = rtc.index;
  if (n == Reg.C || n == Reg.D) return;
  if (n == Reg.A || n == Reg.B) {
    writeControl(n, value, now);
  } else {
    const timed = isTime(n) && running();
    if (timed) stop(now);
    // The top bit of the seconds is read-only ("Address Map").
    setCmos(n, n == Reg.SECONDS ? value & 0x7f : value);
    if (timed) start(now);
  }
  setAlarm(now);
}

/** Where its state is, for the debugger. */
export function rtcState(): usize {
  return changetype<usize>(rtc);
}
