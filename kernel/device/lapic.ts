/**
 * A local APIC's interrupts: what is requested, what is in service, and which is next (SDM Vol. 3A 11.8, Handling Interrupts). Its
 * registers are read and written in lapicaccess.ts.
 */
import {
  Base,
  Delivery,
  Esr,
  Lapic,
  MASKED,
  Reg,
  SVR_ENABLED,
  SVR_SUPPRESS_EOI,
  Signal,
  VERSION,
} from "./lapicregister";

/** Vectors that no interrupt may have (11.5.2, Valid Interrupt Vectors). */
export const FIRST_VECTOR: u32 = 16;
/** What every entry of the LVT is after a reset (11.4.7.1), and how firmware leaves a PC's first APIC: virtual wire. */
const LINT0_EXTINT: u32 = Delivery.ExtInt << 8;
const LINT1_NMI: u32 = Delivery.Nmi << 8;
const NEVER: u64 = ~(<u64>0);

/** The highest vector whose bit is set in the eight words at an offset, of which `words` are not 0; 0 for none. */
function highest(l: Lapic, offset: u32, words: u32): u32 {
  if (!words) return 0;
  const n = 31 - clz(words);
  return n * 32 + 31 - clz(l.read(offset + n * 16));
}

function setBit(l: Lapic, offset: u32, vector: u32): void {
  const at = offset + ((vector >> 5) << 4);
  l.write(at, l.read(at) | (1 << (vector & 31)));
}

/** Returns what is left of the word. */
function clearBit(l: Lapic, offset: u32, vector: u32): u32 {
  const at = offset + ((vector >> 5) << 4);
  const left = l.read(at) & ~(1 << (vector & 31));
  l.write(at, left);
  return left;
}

function hasBit(l: Lapic, offset: u32, vector: u32): bool {
  return ((l.read(offset + ((vector >> 5) << 4)) >> (vector & 31)) & 1) != 0;
}

/** 11.8.3.1, Task and Processor Priorities. */
function processorPriority(l: Lapic): u32 {
  const serving = l.state.isrTop & 0xf0;
  return (l.tpr & 0xf0) >= serving ? l.tpr : serving;
}

/** As another vCPU sees it. PPR may be older: it does not follow a TPR that changes without an exit. */
export function priorityOf(l: Lapic): u32 {
  return l.state.virtual ? l.ppr : processorPriority(l);
}

/** PPR is what its priority is now; where the CPU delivers interrupts it sees to that by itself. */
export function updatePpr(l: Lapic): void {
  if (!l.state.virtual) l.ppr = processorPriority(l);
}

/**
 * The priority class of the highest request, if it is TPR that holds it back: 0 if nothing does, or if what is in service does. Only with a
 * TPR that changes without its APIC's knowledge is this of interest: the PPR is brought up to date where it is looked at.
 */
export function heldByTpr(l: Lapic): u32 {
  if (l.state.virtual) return 0;
  const requested = l.state.irrTop >> 4;
  return requested > l.state.isrTop >> 4 && requested <= l.tpr >> 4 ? requested : 0;
}

/** The vector of the interrupt that may be delivered now; 0 for none. */
export function lapicOutput(l: Lapic): u32 {
  updatePpr(l);
  const vector = l.state.irrTop;
  return vector >> 4 > l.ppr >> 4 && l.isEnabled ? vector : 0;
}

/** An interrupt is requested: `level` is its trigger mode, for the TMR. */
function request(l: Lapic, vector: u32, level: bool): void {
  setBit(l, Reg.IRR, vector);
  const s = l.state;
  if (hasBit(l, Reg.TMR, vector) != level) {
    if (level) setBit(l, Reg.TMR, vector);
    else clearBit(l, Reg.TMR, vector);
    s.levels = 1;
  }
  s.irrWords |= 1 << (vector >> 5);
  s.irrTop = max(s.irrTop, vector);
  s.signals |= Signal.Output;
}

/** Takes an interrupt. Vectors below 16 are errors (11.5.3). */
export function accept(l: Lapic, vector: u32, level: bool): void {
  if (vector < FIRST_VECTOR) raiseError(l, Esr.ReceivedIllegal);
  else request(l, vector, level);
}

/** Takes a message from the bus. Without its software's leave, which SVR gives, an APIC takes no interrupts (11.4.7.2). */
export function receive(l: Lapic, vector: u32, level: bool): void {
  if (l.isEnabled && l.read(Reg.SVR) & SVR_ENABLED) accept(l, vector, level);
}

/** The processor takes the interrupt that lapicOutput() says: it is in service now. */
export function acknowledge(l: Lapic, vector: u32): void {
  const s = l.state;
  if (!clearBit(l, Reg.IRR, vector)) s.irrWords &= ~(1 << (vector >> 5));
  setBit(l, Reg.ISR, vector);
  s.isrWords |= 1 << (vector >> 5);
  s.irrTop = highest(l, Reg.IRR, s.irrWords);
  s.isrTop = vector;
  updatePpr(l);
}

/**
 * An interrupt that the processor can take now goes straight into service, if nothing is before it; else it is left as it was. Its trigger is
 * an edge.
 */
export function takeAtOnce(l: Lapic, vector: u32): bool {
  const s = l.state;
  if (s.virtual) return false;
  updatePpr(l);
  if (vector < FIRST_VECTOR || vector <= s.irrTop || vector >> 4 <= l.ppr >> 4) return false;
  if (!(l.svr & SVR_ENABLED)) return false;
  clearBit(l, Reg.TMR, vector);
  setBit(l, Reg.ISR, vector);
  s.isrWords |= 1 << (vector >> 5);
  s.isrTop = vector;
  l.ppr = vector & 0xf0;
  return true;
}

/** EOI: the highest interrupt in service has ended (11.8.5). */
export function endInterrupt(l: Lapic): void {
  const s = l.state;
  const vector = s.isrTop;
  if (!vector) return;
  if (!clearBit(l, Reg.ISR, vector)) s.isrWords &= ~(1 << (vector >> 5));
  s.isrTop = highest(l, Reg.ISR, s.isrWords);
  updatePpr(l);
  s.signals |= Signal.Output;
  noteEnd(l, vector);
}

/** An interrupt has ended: of one that is level-triggered the I/O APIC is to know, unless software says so itself (11.8.5). */
export function noteEnd(l: Lapic, vector: u32): void {
  if (!hasBit(l, Reg.TMR, vector) || l.read(Reg.SVR) & SVR_SUPPRESS_EOI) return;
  l.state.ended = vector;
  l.state.signals |= Signal.Eoi;
}

/** Notes an error, which the ESR shows when it is next written, and interrupts for it. */
export function raiseError(l: Lapic, error: u32): void {
  const s = l.state;
  s.errors |= error;
  const lvt = l.read(Reg.LVT_ERROR);
  if (lvt & MASKED) return;
  // An illegal vector of this entry is one more error, and does not interrupt for itself.
  if ((lvt & 0xff) < FIRST_VECTOR) s.errors |= Esr.ReceivedIllegal;
  else request(l, lvt & 0xff, false);
}

/** An entry of the LVT whose source has fired. */
export function fire(l: Lapic, lvt: u32): void {
  if (!(lvt & MASKED)) accept(l, lvt & 0xff, false);
}

/**
 * LINT0 is wired to the 8259s' output, whose level is `up`. Whether the processor is to take the interrupt from there (ExtINT); what
 * else the entry may say is done at the rising edge.
 */
export function driveLint0(l: Lapic, up: bool): bool {
  const s = l.state;
  const lvt = l.lvtLint0;
  const mode = (lvt >> 8) & 7;
  if (!l.isEnabled) return up;
  if (mode == Delivery.ExtInt) return up && !(lvt & MASKED);
  if (up && !s.lint0 && !(lvt & MASKED)) {
    if (mode == Delivery.Fixed) accept(l, lvt & 0xff, (lvt & (1 << 15)) != 0);
    else if (mode == Delivery.Nmi) s.signals |= Signal.Nmi;
    else if (mode == Delivery.Init) s.signals |= Signal.Init;
  }
  s.lint0 = up ? 1 : 0;
  return false;
}

/** Whether a change of the 8259s' output is of any interest here. */
export function listensToPic(l: Lapic): bool {
  return !l.isEnabled || !(l.lvtLint0 & MASKED);
}

/** LDR in x2APIC mode (11.12.10.2, Deriving Logical x2APIC ID from the Local x2APIC ID). */
export function logicalId(id: u32): u32 {
  return ((id >> 4) << 16) | (1 << (id & 15));
}

/** The state after INIT (11.4.7.3), which leaves IA32_APIC_BASE as it is: the mode, and with it the IDs. */
export function initLapic(l: Lapic): void {
  const s = l.state;
  for (let offset: u32 = 0; offset < Reg.END; offset += 16) l.write(offset, 0);
  l.write(Reg.ID, l.isX2 ? s.number : s.number << 24);
  l.write(Reg.LDR, l.isX2 ? logicalId(s.number) : 0);
  l.write(Reg.VERSION, VERSION);
  l.write(Reg.DFR, 0xffffffff);
  l.write(Reg.SVR, 0xff);
  for (let offset = Reg.LVT_TIMER; offset <= Reg.LVT_ERROR; offset += 16) l.write(offset, MASKED);
  s.irrTop = 0;
  s.isrTop = 0;
  s.irrWords = 0;
  s.isrWords = 0;
  s.errors = 0;
  s.ended = 0;
  s.lint0 = 0;
  s.extInt = 0;
  s.from = 0;
  s.left = 0;
  s.tscDeadline = 0;
  s.due = NEVER;
  s.levels = 1;
  s.signals = Signal.Output | Signal.Timer | Signal.Lint0 | Signal.Mode;
}

/** The state after power-up, and of vCPU 0 what a PC's firmware makes of it. */
export function resetLapic(l: Lapic, number: u32): void {
  const s = l.state;
  s.number = number;
  s.base = Base.DEFAULT | Base.ENABLE | (number == 0 ? Base.BSP : 0);
  initLapic(l);
  if (number == 0) {
    l.write(Reg.SVR, SVR_ENABLED | 0xff);
    l.write(Reg.LVT_LINT0, LINT0_EXTINT);
    l.write(Reg.LVT_LINT1, LINT1_NMI);
  }
}

/** APR (11.6.2.4, Lowest Priority Delivery Mode). */
export function arbitrationPriority(l: Lapic): u32 {
  const task = l.tpr >> 4;
  const requested = l.state.irrTop >> 4;
  const serving = l.state.isrTop >> 4;
  return task >= requested && task > serving ? l.tpr : max(task & serving, requested) << 4;
}
