/**
 * A high-precision event timer with three comparators (IA-PC HPET Specification 1.0a, 2.3, Memory Mapped Registers). Time
 * is the caller's: a count of the timer's own clock, 100 MHz, that never goes down. Every comparator is 64 bits wide and
 * may be periodic; interrupts are wires, not messages.
 *
 *   000 r  capabilities   010 rw configuration   020 rw1c interrupt status   0F0 rw main counter
 *   100 + 20h * n: 0 rw configuration   8 rw comparator   10 front-side bus route, not offered
 */

const NEVER: u64 = ~(<u64>0);
/** Farther away than this, 22 years, is never. */
const FAR: u64 = 1 << 56;
/** A period that is shorter interrupts this often, 50 us, whatever the guest says. */
const SHORTEST: u64 = 5000;
export const HPET_TIMERS: u32 = 3;
/** Femtoseconds. */
const PERIOD: u64 = 10000000;

namespace Reg {
  export const CAPABILITIES: u32 = 0x00;
  export const CONFIGURATION: u32 = 0x10;
  export const STATUS: u32 = 0x20;
  export const COUNTER: u32 = 0xf0;
  export const TIMERS: u32 = 0x100;
  // Of a timer
  export const TIMER_CONFIGURATION: u32 = 0;
  export const COMPARATOR: u32 = 8;
}
const TIMER_SIZE: u32 = 0x20;

/** Revision 1, the last timer's number, a 64-bit counter, legacy replacement, Intel as the vendor (2.3.4). */
export const HPET_ID: u32 = 0x80860000 | (1 << 15) | (1 << 13) | ((HPET_TIMERS - 1) << 8) | 1;

/** Of the general configuration (2.3.5). */
const ENABLE: u32 = 1 << 0;
const LEGACY: u32 = 1 << 1;

/** Of a timer's configuration (2.3.8). */
const LEVEL: u32 = 1 << 1;
const INTERRUPT: u32 = 1 << 2;
const PERIODIC: u32 = 1 << 3;
const PERIODIC_CAPABLE: u32 = 1 << 4;
const SIZE_CAPABLE: u32 = 1 << 5;
const VALUE_SET: u32 = 1 << 6;
const MODE_32: u32 = 1 << 8;
const ROUTE: u32 = 0x1f << 9;
const WRITABLE: u32 = LEVEL | INTERRUPT | PERIODIC | VALUE_SET | MODE_32;
/** Inputs 20 to 23 of an I/O APIC. */
const ROUTES: u32 = 0x00f00000;


@unmanaged
export class Timer {
  /** The comparator as it is read, and what is added to it at each match of a periodic timer. */
  comparator: u64;
  period: u64;
  /** Clock at which they next match; NEVER while the counter stands. */
  due: u64;
  config: u32;
  padding: u32;

  get width(): u64 {
    return this.config & MODE_32 ? 0xffffffff : ~(<u64>0);
  }
}


@unmanaged
export class Hpet {
  /** The main counter is this plus the clock, or only this while it stands. */
  base: u64;
  /** The last moment up to which matches were looked for. */
  seen: u64;
  config: u32;
  /** Matches of level-triggered timers: a bit each. */
  status: u32;
  /** Matches of edge-triggered timers that nobody has been told yet. */
  edges: u32;
  padding: u32;
}

const hpet = changetype<Hpet>(memory.data(40, 8));
const timers = memory.data(96, 8);

function timer(n: u32): Timer {
  return changetype<Timer>(timers + <usize>n * offsetof<Timer>());
}

export function resetHpet(): void {
  for (let n: u32 = 0; n < HPET_TIMERS; n++) {
    timer(n).comparator = ~(<u64>0);
    timer(n).due = NEVER;
  }
}

function counting(): bool {
  return (hpet.config & ENABLE) != 0;
}

function counter(now: u64): u64 {
  return counting() ? hpet.base + now : hpet.base;
}

/** Finds the next match. A comparator that says what the counter says has matched already. */
function aim(t: Timer, now: u64): void {
  const distance = (t.comparator - counter(now) - 1) & t.width;
  t.due = counting() && distance < FAR ? now + distance + 1 : NEVER;
}

function aimAll(now: u64): void {
  for (let n: u32 = 0; n < HPET_TIMERS; n++) aim(timer(n), now);
}

/** Timer n has matched, some time ago: a periodic one perhaps several times, which is one interrupt. */
function match(n: u32, now: u64): void {
  const t = timer(n);
  if (t.config & LEVEL) hpet.status |= 1 << n;
  else if (t.config & INTERRUPT) hpet.edges |= 1 << n;
  if (!(t.config & PERIODIC)) {
    // What is compared of 64 bits never comes again, what is of 32 does.
    t.due = t.config & MODE_32 ? now + 0x100000000 - ((now - t.due) & 0xffffffff) : NEVER;
  } else if (t.period == 0) {
    aim(t, now);
  } else {
    const periods = (now - t.due) / t.period + 1;
    t.comparator = (t.comparator + periods * t.period) & t.width;
    t.due = t.period < FAR ? t.due + periods * t.period : NEVER;
  }
}

/** Brings matches up to date. */
export function updateHpet(now: u64): void {
  hpet.seen = now;
  for (let n: u32 = 0; n < HPET_TIMERS; n++) if (timer(n).due <= now) match(n, now);
}

/** When a timer next interrupts; ~0 for never. Needs updateHpet(). */
export function nextHpetInterrupt(): u64 {
  let next = NEVER;
  for (let n: u32 = 0; n < HPET_TIMERS; n++) {
    const t = timer(n);
    if (!(t.config & INTERRUPT) || (t.config & LEVEL && (hpet.status >> n) & 1)) continue;
    const soonest = t.config & PERIODIC && t.period < SHORTEST ? hpet.seen + SHORTEST : 0;
    next = min(next, max(t.due, soonest));
  }
  return next;
}

/** Whether timer n has matched since the last call: an edge on its wire. */
export function takeHpetEdge(n: u32): bool {
  const edge = (hpet.edges >> n) & 1;
  hpet.edges &= ~(1 << n);
  return edge != 0;
}

/** The wire of a level-triggered timer. */
export function hpetLevel(n: u32): bool {
  return counting() && (timer(n).config & INTERRUPT) != 0 && ((hpet.status >> n) & 1) != 0;
}

/** Whether timers 0 and 1 have the places of the 8254 and of the clock, whose interrupts then go nowhere (2.3.5). */
export function hpetReplaces(): bool {
  return (hpet.config & LEGACY) != 0;
}

/** The input that timer n is routed to, without legacy replacement. */
export function hpetRoute(n: u32): u32 {
  return (timer(n).config & ROUTE) >> 9;
}

/** All 64 bits of the register at `offset`, a multiple of 8. What is reserved reads 0. */
function readRegister(offset: u32, now: u64): u64 {
  switch (offset) {
    case Reg.CAPABILITIES:
      return (PERIOD << 32) | HPET_ID;
    case Reg.CONFIGURATION:
      return hpet.config;
    case Reg.STATUS:
      return hpet.status;
    case Reg.COUNTER:
      return counter(now);
  }
  const n = (offset - Reg.TIMERS) / TIMER_SIZE;
  if (offset < Reg.TIMERS || n >= HPET_TIMERS) return 0;
  const t = timer(n);
  if (offset % TIMER_SIZE == Reg.COMPARATOR) return t.comparator;
  if (offset % TIMER_SIZE != Reg.TIMER_CONFIGURATION) return 0;
  return ((<u64>ROUTES) << 32) | t.config | PERIODIC_CAPABLE | SIZE_CAPABLE;
}

/** An aligned access of 4 or 8 bytes. Others are not the timer's: isHpetAccess(). */
export function readHpet(offset: u32, size: u32, now: u64): u64 {
  updateHpet(now);
  const value = readRegister(offset & ~7, now) >> ((offset & 4) * 8);
  return size == 8 ? value : <u32>value;
}

/** What software may access: 32 and 64 bits, aligned (2.3.2). */
export function isHpetAccess(offset: u32, size: u32): bool {
  return (size == 4 || size == 8) && (offset & (size - 1)) == 0;
}

/** The counter stops or goes on. */
function writeConfiguration(value: u32, now: u64): void {
  const at = counter(now);
  hpet.config = value & (ENABLE | LEGACY);
  hpet.base = counting() ? at - now : at;
  aimAll(now);
}

function writeTimerConfiguration(n: u32, value: u32, now: u64): void {
  const t = timer(n);
  let route = value & ROUTE;
  // A route that is not offered does not stay: software tries which ones do.
  if (!((ROUTES >> (route >> 9)) & 1)) route = t.config & ROUTE;
  t.config = (value & WRITABLE) | route;
  if (!(value & PERIODIC)) t.config &= ~VALUE_SET;
  if (!(value & LEVEL)) hpet.status &= ~(1 << n);
  t.comparator &= t.width;
  t.period &= t.width;
  aim(t, now);
}

/**
 * A periodic timer takes what is written as its period, and as its next match only after VALUE_SET, which holds for
 * one write (2.3.8, Tn_VAL_SET_CNF). `mask`: the bits that are written.
 */
function writeComparator(t: Timer, value: u64, mask: u64, now: u64): void {
  const periodic = (t.config & PERIODIC) != 0;
  if (periodic) t.period = ((t.period & ~mask) | value) & t.width;
  if (periodic && !(t.config & VALUE_SET)) return;
  t.config &= ~VALUE_SET;
  t.comparator = ((t.comparator & ~mask) | value) & t.width;
  aim(t, now);
}

/** An aligned access of 4 or 8 bytes. */
export function writeHpet(offset: u32, size: u32, value: u64, now: u64): void {
  updateHpet(now);
  const shift = (offset & 4) * 8;
  const mask = size == 8 ? ~(<u64>0) : (<u64>0xffffffff) << shift;
  value = (value << shift) & mask;
  const register = offset & ~7;
  const n = (register - Reg.TIMERS) / TIMER_SIZE;
  if (register == Reg.COUNTER) {
    const written = (counter(now) & ~mask) | value;
    hpet.base = counting() ? written - now : written;
    aimAll(now);
  } else if (register >= Reg.TIMERS && n < HPET_TIMERS && register % TIMER_SIZE == Reg.COMPARATOR) {
    writeComparator(timer(n), value, mask, now);
  } else if (shift) {
    // The upper halves of the others are reserved, or cannot be written.
  } else if (register == Reg.CONFIGURATION) {
    writeConfiguration(<u32>value, now);
  } else if (register == Reg.STATUS) {
    hpet.status &= ~(<u32>value);
  } else if (register >= Reg.TIMERS && n < HPET_TIMERS && register % TIMER_SIZE == Reg.TIMER_CONFIGURATION) {
    writeTimerConfiguration(n, <u32>value, now);
  }
}

/** Where its state is, for the debugger. */
export function hpetState(): usize {
  return changetype<usize>(hpet);
}

if (offsetof<Timer>() * HPET_TIMERS > 96) ERROR("the timers do not fit their memory");
