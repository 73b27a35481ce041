/** The HPET's page in guest-physical memory, and its wires. */
import { Refusal } from "../abi/exit";
import {
  HPET_TIMERS,
  hpetLevel,
  hpetReplaces,
  hpetRoute,
  isHpetAccess,
  readHpet,
  takeHpetEdge,
  writeHpet,
} from "../device/hpet";
import { tsc } from "../machine/time";
import { Vcpu } from "../vcpu/vcpu";
import { hpetCount } from "./clock";
import { ISA_IRQS, RTC_IRQ, TIMER_IRQ, arm, drive, wireClock } from "./wiring";

const NO_INPUT: u32 = 0xff;


@unmanaged
class Wires {
  /** Whether the timers had legacy replacement when their wires were last looked at. */
  replacing: u32;
}

const wires = changetype<Wires>(memory.data(4));
/** A byte a timer: 1 + the input that it holds up as a level, or 0. */
const held = memory.data(4);

/** The interrupt input that timer n drives (IA-PC HPET Specification 1.0a, 2.3.5, LEG_RT_CNF). */
function inputOf(n: u32): u32 {
  if (hpetReplaces() && n < 2) return n == 0 ? TIMER_IRQ : RTC_IRQ;
  const route = hpetRoute(n);
  return route == 0 ? NO_INPUT : route;
}

/** Interrupts 0 and 8 have another owner. */
function changeOwner(v: Vcpu): void {
  wires.replacing = hpetReplaces() ? 1 : 0;
  drive(v, TIMER_IRQ, false);
  drive(v, RTC_IRQ, false);
  store<u16>(held, 0);
  wireClock(v);
}

function wireTimer(v: Vcpu, n: u32): void {
  const input = inputOf(n);
  const holds: u32 = hpetLevel(n) ? input + 1 : 0;
  const holder = held + <usize>n;
  const before = <u32>load<u8>(holder);
  if (before != holds) {
    if (before != 0) drive(v, before - 1, false);
    if (holds != 0) {
      drive(v, input, false); // an edge may have left it up
      drive(v, input, true);
    }
    store<u8>(holder, <u8>holds);
  }
  if (!takeHpetEdge(n) || input == NO_INPUT) return;
  // As the 8254's, an edge stays up until the next one comes: it waits for a guest that does not run. PCI's inputs are
  // asserted low: there the voltage rises at the end.
  const isPci = input >= ISA_IRQS;
  drive(v, input, isPci);
  drive(v, input, !isPci);
}

/** What the timers say to the interrupt inputs. Needs updateHpet(). */
export function hpetWires(v: Vcpu): void {
  if ((wires.replacing != 0) != hpetReplaces()) changeOwner(v);
  for (let n: u32 = 0; n < HPET_TIMERS; n++) wireTimer(v, n);
}

/** @noinline */
export function readHpetMemory(v: Vcpu, offset: u32, size: u32): u64 {
  if (!isHpetAccess(offset, size)) {
    v.refuse(Refusal.UnclaimedMemory);
    return ~(<u64>0) >> (64 - size * 8);
  }
  const value = readHpet(offset, size, hpetCount(tsc()));
  hpetWires(v);
  return value;
}

/** @noinline */
export function writeHpetMemory(v: Vcpu, offset: u32, size: u32, value: u64): void {
  if (!isHpetAccess(offset, size)) {
    v.refuse(Refusal.UnclaimedMemory);
    return;
  }
  writeHpet(offset, size, value, hpetCount(tsc()));
  hpetWires(v);
  arm(v);
}
