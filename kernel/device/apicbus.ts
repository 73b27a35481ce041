/**
 * Messages between local APICs, and to them from I/O APICs and MSIs (SDM Vol. 3A 11.6, Issuing Interprocessor Interrupts; 11.11,
 * Message Signalled Interrupts): which vCPUs they are for, and the mailbox by which a vCPU is told.
 *
 * A mailbox is the one place where vCPUs write to each other without a lock: any vCPU, at any time, by the atomic instructions of
 * machine/atomic.ts. The sender first says what there is, then sets `any`, then kicks; the owner first clears `any`, then takes what
 * there is. So nothing is lost, and what comes in between is found at the next look, which the kick sees to.
 */
import { LAPIC_AREA } from "../abi/address";
import { or32, swap32 } from "../machine/atomic";
import { kick } from "./kick";
import { FIRST_VECTOR, priorityOf, raiseError, receive } from "./lapic";
import { Delivery, Esr, Lapic, MAILBOX, Reg, SVR_ENABLED, Signal } from "./lapicregister";

const PAGE: u32 = 4096;
/** An ICR's shorthand for the sender. */
const TO_SELF: u32 = 1 << 18;


@unmanaged
class Mailbox {
  /** Nonzero: there is something. */
  any: u32;
  /** Bits of Signal. */
  signals: u32;
  /** SIPI: its vector, and STARTS. */
  sipi: u32;
  padding: u32;
  // VECTORS: eight words of vectors; LEVELS: which of them are level-triggered.
}
const VECTORS: usize = 16;
const LEVELS: usize = 48;
const STARTS: u32 = 0x100;


@unmanaged
class Bus {
  vcpus: u32;
}
/** Written before any vCPU runs. */
const bus = changetype<Bus>(memory.data(4));

export function lapic(n: u32): Lapic {
  return changetype<Lapic>(LAPIC_AREA + n * PAGE);
}

/** How many vCPUs there are, 1 to 16. */
export function setVcpus(n: u32): void {
  bus.vcpus = n;
}

export function vcpus(): u32 {
  return bus.vcpus;
}

function mailbox(l: Lapic): Mailbox {
  return changetype<Mailbox>(changetype<usize>(l) + MAILBOX);
}

/** A message: to whom, how, and what. The sender has it on its side until it is sent. */
@unmanaged
export class Message {
  /** The vCPU whose doing this is. */
  from: u32;
  destination: u32;
  /** Nonzero: `destination` is logical. */
  logical: u32;
  /** Nonzero: `destination` has 32 bits, as from an x2APIC, and not 8. */
  wide: u32;
  /** One of Delivery. */
  mode: u32;
  vector: u32;
  level: u32;
}

/** Physical mode (11.6.2.1; 11.12.9): the ID, or all ones for everybody. */
function isPhysical(l: Lapic, destination: u32, wide: bool): bool {
  if (destination == (wide ? 0xffffffff : 0xff)) return true;
  return destination == (l.isX2 ? l.id : l.id >> 24);
}

/** Logical mode: flat and cluster (11.6.2.2), and that of x2APIC mode (11.12.10.1). */
function isLogical(l: Lapic, destination: u32, wide: bool): bool {
  if (l.isX2) {
    if (wide && destination == 0xffffffff) return true;
    return l.ldr >> 16 == destination >> 16 && (l.ldr & destination & 0xffff) != 0;
  }
  if (wide && destination == 0xffffffff) destination = 0xff;
  if (destination > 0xff) return false;
  const own = l.ldr >> 24;
  if (l.dfr >> 28 == 15) return (own & destination) != 0;
  if (destination == 0xff) return true;
  return l.dfr >> 28 == 0 && own >> 4 == destination >> 4 && (own & destination & 15) != 0;
}

/** Whether an APIC is among those that a message is for. One that is disabled is not on the bus. */
export function isFor(l: Lapic, m: Message): bool {
  if (!l.isEnabled) return false;
  const wide = m.wide != 0;
  return m.logical ? isLogical(l, m.destination, wide) : isPhysical(l, m.destination, wide);
}

function tell(l: Lapic, caller: u32): void {
  const n = l.state.number;
  or32(changetype<usize>(mailbox(l)), 1);
  kick(n, caller);
}

/** Something that is not an interrupt: bits of Signal. */
export function post(n: u32, signals: u32, caller: u32): void {
  const l = lapic(n);
  if (n == caller) {
    l.signal(signals);
    return;
  }
  or32(changetype<usize>(mailbox(l)) + offsetof<Mailbox>("signals"), signals);
  tell(l, caller);
}

function postVector(l: Lapic, vector: u32, level: bool, caller: u32): void {
  if (l.state.number == caller) {
    receive(l, vector, level);
    return;
  }
  if (vector < FIRST_VECTOR) return; // the receiver's ESR is its own; the sender's has it already, if it was an IPI
  const word = (vector >> 5) << 2;
  const bit: u32 = 1 << (vector & 31);
  const m = changetype<usize>(mailbox(l));
  if (level) or32(m + LEVELS + word, bit);
  or32(m + VECTORS + word, bit);
  tell(l, caller);
}

/** SIPI, which only a vCPU that waits for it takes: the last one counts. */
function postSipi(l: Lapic, vector: u32, caller: u32): void {
  if (l.state.number == caller) return;
  swap32(changetype<usize>(mailbox(l)) + offsetof<Mailbox>("sipi"), STARTS | (vector & 0xff));
  tell(l, caller);
}

function deliverTo(l: Lapic, m: Message): void {
  switch (m.mode) {
    case Delivery.Fixed:
    case Delivery.Lowest:
      postVector(l, m.vector, m.level != 0, m.from);
      break;
    case Delivery.Nmi:
      post(l.state.number, Signal.Nmi, m.from);
      break;
    case Delivery.Init:
      post(l.state.number, Signal.Init, m.from);
      break;
    case Delivery.Sipi:
      postSipi(l, m.vector, m.from);
      break;
    default:
    // There is no SMM, so SMIs are ignored. ExtINT is asked for (ioapic.ts).
  }
}

/**
 * Lowest priority (11.6.2.4): among those that take interrupts, the one whose processor priority is lowest as far as can be seen from
 * here; of equals, another one for each vector.
 */
function deliverLowest(m: Message): bool {
  let chosen: u32 = ~0;
  let best: u32 = ~0;
  for (let i: u32 = 0; i < bus.vcpus; i++) {
    const n = (m.vector + i) % bus.vcpus;
    const l = lapic(n);
    if (!isFor(l, m) || !(l.read(Reg.SVR) & SVR_ENABLED)) continue;
    const priority = priorityOf(l);
    if (priority >= best) continue;
    chosen = n;
    best = priority;
  }
  if (chosen == ~0) return false;
  deliverTo(lapic(chosen), m);
  return true;
}

/** Sends a message to all that it is for; whether anybody takes it. */
export function deliver(m: Message): bool {
  if (m.mode == Delivery.Lowest) return deliverLowest(m);
  let taken = false;
  for (let n: u32 = 0; n < bus.vcpus; n++) {
    const l = lapic(n);
    if (!isFor(l, m)) continue;
    if (m.mode != Delivery.Fixed || l.read(Reg.SVR) & SVR_ENABLED) taken = true;
    deliverTo(l, m);
  }
  return taken;
}

/** Sends a message to everybody, or to everybody but the sender. */
function broadcast(m: Message, self: bool): void {
  for (let n: u32 = 0; n < bus.vcpus; n++) {
    const l = lapic(n);
    if ((n != m.from || self) && l.isEnabled) deliverTo(l, m);
  }
}

const ipi = memory.data(512, 4);

/** A message for each vCPU to put together what it sends. */
export function messageOf(n: u32): Message {
  const m = changetype<Message>(ipi + <usize>n * 32);
  m.from = n;
  return m;
}

/** The command of an ICR: the low half, and the destination (11.6.1, figure 11-12; 11.12.9, figure 11-28). */
export function sendIpi(l: Lapic, command: u32, destination: u32): void {
  const m = messageOf(l.state.number);
  m.vector = command & 0xff;
  m.mode = (command >> 8) & 7;
  m.logical = (command >> 11) & 1;
  m.level = 0; // trigger modes are of INIT's de-assertion only, which no CPU since the Pentium 4 knows
  m.wide = l.isX2 ? 1 : 0;
  m.destination = destination;
  const shorthand = (command >> 18) & 3;
  if (m.mode <= Delivery.Lowest && m.vector < FIRST_VECTOR) {
    raiseError(l, Esr.SendIllegal);
    return;
  }
  if (m.mode == 3 || m.mode == Delivery.ExtInt || m.mode == Delivery.Smi) return;
  if (m.mode == Delivery.Init && !(command & (1 << 14)) && command & (1 << 15)) return;
  if (shorthand == 0) {
    deliver(m);
  } else if (shorthand == 3) {
    // Of the others all are told, even by the lowest priority: there is no destination to choose from.
    broadcast(m, false);
  } else if (m.mode == Delivery.Fixed) {
    // Other modes go with neither of these (table 11-3, Valid Combinations for the Pentium 4 Processor's ICR).
    if (shorthand == 1) receive(l, m.vector, false);
    else broadcast(m, true);
  }
}

/** The self-IPI register (11.12.11): a fixed interrupt to the sender. */
export function sendSelfIpi(l: Lapic, vector: u32): void {
  sendIpi(l, TO_SELF | vector, 0);
}

/** A device's write of `data` to an address FEExxxxxh (11.11). `from`: the vCPU that is at work for the device. */
export function deliverMsi(address: u64, data: u32, from: u32): bool {
  const m = messageOf(from);
  m.destination = ((<u32>address) >> 12) & 0xff;
  m.wide = 0;
  m.logical = ((<u32>address) >> 2) & 1;
  m.mode = (data >> 8) & 7;
  // With the redirection hint the message goes to one of its destinations (11.11.1).
  if (address & 8 && m.mode == Delivery.Fixed) m.mode = Delivery.Lowest;
  m.vector = data & 0xff;
  m.level = (data >> 15) & 1;
  // The end of a level is no message of its own.
  if (m.level && !(data & (1 << 14))) return false;
  return deliver(m);
}

export function hasMail(l: Lapic): bool {
  return mailbox(l).any != 0;
}

/** The owner takes what its mailbox has. @noinline */
export function drainMailbox(l: Lapic): void {
  const at = changetype<usize>(mailbox(l));
  swap32(at, 0);
  l.signal(swap32(at + offsetof<Mailbox>("signals"), 0));
  const sipi = swap32(at + offsetof<Mailbox>("sipi"), 0);
  if (sipi) {
    l.state.sipi = sipi & 0xff;
    l.signal(Signal.Sipi);
  }
  for (let n: u32 = 0; n < 8; n++) {
    let vectors = swap32(at + VECTORS + n * 4, 0);
    const levels = swap32(at + LEVELS + n * 4, 0);
    for (; vectors; vectors &= vectors - 1) {
      const bit = ctz(vectors);
      receive(l, n * 32 + bit, ((levels >> bit) & 1) != 0);
    }
  }
}
