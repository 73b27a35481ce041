/**
 * An I/O APIC with 24 inputs (Intel 82093AA data sheet; version 20h's EOI register: ICH, 82801 13.5). Its inputs are lines of the
 * machine: what is asserted at which voltage is the redirection entry's to say (`polarity`), and the machine's to know.
 *
 *   00h rw index (8)   10h rw window (32)   40h w EOI (8)
 *   Index 00h rw ID   01h r version   02h r arbitration ID   10h on rw redirection entries, two words each
 *
 * It is the VM's: who calls has the platform's lock, when there are several vCPUs.
 */
import { Message, deliver, isFor, messageOf } from "./apicbus";
import { Delivery, Lapic } from "./lapicregister";

export const INPUTS: u32 = 24;
/** Version 20h, with EOI register; the highest entry's number. */
const VERSION: u32 = 0x20 | ((INPUTS - 1) << 16);
/** PCI's inputs idle high; those of ISA idle low. */
const IDLE_HIGH: u32 = 0xff0000;

namespace Entry {
  export const LOGICAL: u32 = 1 << 11;
  export const LOW_ACTIVE: u32 = 1 << 13;
  export const REMOTE_IRR: u32 = 1 << 14;
  export const LEVEL: u32 = 1 << 15;
  export const MASKED: u32 = 1 << 16;
  export const WRITABLE: u32 = 0x1afff;
}


@unmanaged
export class IoApic {
  index: u32;
  id: u32;
  /** Voltages at the inputs: 1 high. */
  pins: u32;
  padding: u32;
  // INPUTS entries of two words follow, at ENTRIES.
}
export const ENTRIES: u32 = 16;

const ioapic = changetype<IoApic>(memory.data(208, 8));

function low(n: u32): u32 {
  return load<u32>(changetype<usize>(ioapic) + ((<usize>n) << 3), ENTRIES);
}
function setLow(n: u32, value: u32): void {
  store<u32>(changetype<usize>(ioapic) + ((<usize>n) << 3), value, ENTRIES);
}
function high(n: u32): u32 {
  return load<u32>(changetype<usize>(ioapic) + ((<usize>n) << 3), ENTRIES + 4);
}
function setHigh(n: u32, value: u32): void {
  store<u32>(changetype<usize>(ioapic) + ((<usize>n) << 3), value, ENTRIES + 4);
}

export function resetIoApic(): void {
  ioapic.index = 0;
  ioapic.id = 0;
  ioapic.pins = IDLE_HIGH;
  for (let n: u32 = 0; n < INPUTS; n++) {
    setLow(n, Entry.MASKED);
    setHigh(n, 0);
  }
}

/** Whether the entry takes its input's voltage for an assertion. */
function isAsserted(n: u32): bool {
  return ((ioapic.pins >> n) & 1) != (low(n) & Entry.LOW_ACTIVE ? 1 : 0);
}

/** An entry's message for vCPU `from`, at whose doing its input was asserted. */
function message(n: u32, from: u32): Message {
  const entry = low(n);
  const m = messageOf(from);
  m.destination = high(n) >> 24;
  m.logical = entry & Entry.LOGICAL;
  m.wide = 0;
  m.mode = (entry >> 8) & 7;
  m.vector = entry & 0xff;
  m.level = entry & Entry.LEVEL;
  return m;
}

/** Only these are ever level-triggered: NMIs and the like are edges whatever the entry says. */
function isLevel(entry: u32): bool {
  return (entry & Entry.LEVEL) != 0 && ((entry >> 8) & 7) <= Delivery.Lowest;
}

/** A level that is there, and that nobody is at work on, is a request: one, until its end. */
function serveLevel(n: u32, from: u32): void {
  const entry = low(n);
  if (!isLevel(entry) || entry & (Entry.MASKED | Entry.REMOTE_IRR) || !isAsserted(n)) return;
  if (deliver(message(n, from))) setLow(n, low(n) | Entry.REMOTE_IRR);
}

/** The line of input n is asserted or released. An edge is a request if the entry is not masked, and is forgotten if it is. */
export function driveInput(n: u32, up: bool, from: u32): void {
  const was = isAsserted(n);
  const isHigh = ((IDLE_HIGH >> n) & 1) != (up ? 1 : 0);
  const pin: u32 = 1 << n;
  ioapic.pins = isHigh ? ioapic.pins | pin : ioapic.pins & ~pin;
  const entry = low(n);
  if (isLevel(entry)) serveLevel(n, from);
  else if (!was && isAsserted(n) && !(entry & Entry.MASKED)) deliver(message(n, from));
}

/** A level-triggered interrupt has ended, as its processor broadcasts, or says by the EOI register. */
export function endLevel(vector: u32, from: u32): void {
  for (let n: u32 = 0; n < INPUTS; n++) {
    const entry = low(n);
    if (!(entry & Entry.REMOTE_IRR) || (entry & 0xff) != vector) continue;
    setLow(n, entry & ~Entry.REMOTE_IRR);
    serveLevel(n, from);
  }
}

/** Whether the entry of input n, which the 8259s' output is wired to, hands their interrupts on to this APIC (ExtINT). */
export function handsPicTo(l: Lapic, n: u32, from: u32): bool {
  return (low(n) & (Entry.MASKED | 0x700)) == Delivery.ExtInt << 8 && isFor(l, message(n, from));
}

function writeEntry(index: u32, value: u32, from: u32): void {
  const n = (index - 0x10) >> 1;
  if (n >= INPUTS) return;
  if (index & 1) {
    setHigh(n, value & 0xff000000);
    return;
  }
  const was = low(n);
  // Nobody is at work on a level that has become an edge.
  const remote = value & Entry.LEVEL ? was & Entry.REMOTE_IRR : 0;
  setLow(n, (value & Entry.WRITABLE) | remote);
  serveLevel(n, from);
}

function readWindow(): u32 {
  const index = ioapic.index;
  if (index == 0 || index == 2) return ioapic.id;
  if (index == 1) return VERSION;
  const n = (index - 0x10) >> 1;
  if (n >= INPUTS) return 0;
  return index & 1 ? high(n) : low(n);
}

/** Loads a register by its offset in the page. */
export function readIoApic(offset: u32): u32 {
  if (offset == 0) return ioapic.index;
  return offset == 0x10 ? readWindow() : 0;
}

export function writeIoApic(offset: u32, value: u32, from: u32): void {
  if (offset == 0) ioapic.index = value & 0xff;
  else if (offset == 0x40) endLevel(value & 0xff, from);
  else if (offset == 0x10) {
    if (ioapic.index == 0) ioapic.id = value & 0x0f000000;
    else writeEntry(ioapic.index, value, from);
  }
}

/** Where its state is, for the debugger. */
export function ioapicState(): usize {
  return changetype<usize>(ioapic);
}
