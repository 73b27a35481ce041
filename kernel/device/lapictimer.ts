/**
 * The local APIC's timer (SDM Vol. 3A 11.5.4, APIC Timer). It counts the crystal clock (x86/crystal.ts), every 2^shift-th tick of the
 * guest's TSC, so that none is lost and none drifts. `Times` says what time it is.
 */
import { scaleUp } from "../lib/scale";
import { fire, takeAtOnce } from "./lapic";
import { Lapic, MASKED, Reg, Signal } from "./lapicregister";

const NEVER: u64 = ~(<u64>0);

namespace Mode {
  export const OneShot: u32 = 0;
  export const Periodic: u32 = 1;
  export const TscDeadline: u32 = 2;
}

/** What the monitor knows of time. */
@unmanaged
export class Times {
  /** The host's TSC, and the guest's. */
  now: u64;
  guest: u64;
  /** What the guest's would be had the guest not moved it: it started at 0, and the crystal clock counts every 2^shift-th tick. */
  elapsed: u64;
  shift: u64;
  /** Ticks of the host's TSC for one of the guest's, a factor (lib/scale.ts). */
  inverse: u64;

  /** Counts of the crystal clock since the VM's start. */
  get crystal(): u64 {
    return this.elapsed >> this.shift;
  }
  /** Host TSC value at which the guest's TSC has counted so many ticks more, or one after that; ~0 if that is never. */
  after(ticks: u64): u64 {
    const delay = scaleUp(ticks, this.inverse);
    return delay < NEVER - this.now ? this.now + delay : NEVER;
  }
  /** The same for what the crystal clock has counted. */
  at(count: u64): u64 {
    const ticks = count << this.shift;
    return this.after(ticks > this.elapsed ? ticks - this.elapsed : 0);
  }
}

function modeOf(l: Lapic): u32 {
  return (l.lvtTimer >> 17) & 3;
}

/** 11.5.4, figure 11-10: the divide value is 2 to the power of this. */
function shiftOf(l: Lapic): u32 {
  const divide = l.read(Reg.TIMER_DIVIDE);
  return (((divide & 3) | ((divide >> 1) & 4)) + 1) & 7;
}

/** Says when the timer is due. */
export function scheduleTimer(l: Lapic, t: Times): void {
  const s = l.state;
  let due = NEVER;
  if (s.tscDeadline) {
    due = t.after(s.tscDeadline > t.guest ? s.tscDeadline - t.guest : 0);
  } else if (s.left) {
    due = t.at(s.from + (s.left << shiftOf(l)));
  }
  if (due != s.due) {
    s.due = due;
    s.signals |= Signal.Timer;
  }
}

/** The countdown has ended: in periodic mode another one has begun, and may have ended too. */
function expire(l: Lapic, shift: u32, past: u64): void {
  const s = l.state;
  const initial = <u64>l.read(Reg.TIMER_INITIAL);
  if (modeOf(l) == Mode.Periodic && initial) {
    s.from += (s.left + past - (past % initial)) << shift;
    s.left = initial;
  } else {
    s.left = 0;
  }
  fire(l, l.lvtTimer);
}

/** The TSC has come to the deadline. */
function expireDeadline(l: Lapic): void {
  l.state.tscDeadline = 0;
  l.state.due = NEVER;
  fire(l, l.lvtTimer);
}

/** `due` has come, if it is a TSC deadline's; whether it is. */
export function isDeadlineDue(l: Lapic): bool {
  if (!l.state.tscDeadline) return false;
  expireDeadline(l);
  return true;
}

/** The TSC deadline has come, and the processor can take its interrupt now: the vector, if that is all there is to do; else 0. */
export function takeDeadline(l: Lapic): u32 {
  const s = l.state;
  const lvt = l.lvtTimer;
  if (!s.tscDeadline || lvt & MASKED || !takeAtOnce(l, lvt & 0xff)) return 0;
  s.tscDeadline = 0;
  s.due = NEVER;
  return lvt & 0xff;
}

/** Brings the timer up to the present: when it is due, and before its registers are looked at or changed. */
export function updateTimer(l: Lapic, t: Times): void {
  const s = l.state;
  if (s.tscDeadline) {
    if (t.guest < s.tscDeadline) return;
    expireDeadline(l);
  } else if (s.left) {
    const shift = shiftOf(l);
    const gone = (t.crystal - s.from) >> shift;
    if (gone < s.left) return;
    expire(l, shift, gone - s.left);
    scheduleTimer(l, t);
  }
}

export function currentCount(l: Lapic, t: Times): u32 {
  const s = l.state;
  if (!s.left) return 0;
  updateTimer(l, t);
  return s.left ? <u32>(s.left - ((t.crystal - s.from) >> shiftOf(l))) : 0;
}

export function writeInitial(l: Lapic, t: Times, value: u32): void {
  if (modeOf(l) == Mode.TscDeadline) return;
  const s = l.state;
  updateTimer(l, t);
  l.write(Reg.TIMER_INITIAL, value);
  s.from = t.crystal;
  s.left = value;
  scheduleTimer(l, t);
}

/** What is left of the countdown goes on at the new pace. */
export function writeDivide(l: Lapic, t: Times, value: u32): void {
  const s = l.state;
  const left = currentCount(l, t);
  l.write(Reg.TIMER_DIVIDE, value & 11);
  if (!s.left) return;
  s.from = t.crystal;
  s.left = left;
  scheduleTimer(l, t);
}

/** A change to or from TSC-deadline mode disarms the timer (11.5.4.1, TSC-Deadline Mode). */
export function writeLvtTimer(l: Lapic, t: Times, value: u32): void {
  updateTimer(l, t);
  const was = modeOf(l);
  l.write(Reg.LVT_TIMER, value);
  const is = modeOf(l);
  if (was == is || (was != Mode.TscDeadline && is != Mode.TscDeadline)) return;
  l.write(Reg.TIMER_INITIAL, 0);
  l.state.left = 0;
  l.state.tscDeadline = 0;
  scheduleTimer(l, t);
}

/** IA32_TSC_DEADLINE reads 0, and takes nothing, in other modes. A write in the past is due at once. */
export function writeDeadline(l: Lapic, t: Times, value: u64): void {
  if (modeOf(l) != Mode.TscDeadline) return;
  updateTimer(l, t);
  l.state.tscDeadline = value;
  scheduleTimer(l, t);
  updateTimer(l, t);
}

/** The same as it mostly is: of a deadline that is still to come, while none has passed that has not been seen to. False: nothing has been done. */
export function moveDeadline(l: Lapic, t: Times, value: u64): bool {
  const s = l.state;
  // 0 is none.
  const passed = s.tscDeadline - 1 < t.guest;
  if (passed || value <= t.guest || modeOf(l) != Mode.TscDeadline) return false;
  s.tscDeadline = value;
  s.due = t.after(value - t.guest);
  return true;
}

export function readDeadline(l: Lapic, t: Times): u64 {
  updateTimer(l, t);
  return l.state.tscDeadline;
}
