/**
 * A local APIC's registers as its processor reads and writes them: as memory in xAPIC mode, as MSRs in x2APIC mode (SDM Vol. 3A
 * 11.4.1, The Local APIC Block Diagram; 11.12.1, Detecting and Enabling x2APIC Mode). What an access has caused besides is in the
 * state's signals.
 */
import { sendIpi, sendSelfIpi } from "./apicbus";
import { arbitrationPriority, endInterrupt, raiseError, updatePpr } from "./lapic";
import { Esr, Lapic, MASKED, Reg, SVR_ENABLED, Signal } from "./lapicregister";
import { Times, currentCount, writeDivide, writeInitial, writeLvtTimer } from "./lapictimer";

/** Bits of each register that can be written. */
const TPR: u32 = 0xff;
const SVR: u32 = 0x13ff;
const ICR: u32 = 0xccfff;
const DIVIDE: u32 = 11;
const LVT_TIMER: u32 = 0x700ff;
const LVT_LINT: u32 = 0x1a7ff;
const LVT_ERROR: u32 = 0x100ff;
const LVT_OTHER: u32 = 0x107ff;
/** Of entries of the LVT: the delivery status and, of LINT0 and LINT1, the remote IRR, which are there to be read. */
const LVT_STATUS: u32 = 1 << 12;
const LINT_STATUS: u32 = LVT_STATUS | (1 << 14);

/** The bits of an entry of the LVT that can be written; 0 for what is none. */
function lvtMask(offset: u32): u32 {
  switch (offset) {
    case Reg.LVT_TIMER:
      return LVT_TIMER;
    case Reg.LVT_LINT0:
    case Reg.LVT_LINT1:
      return LVT_LINT;
    case Reg.LVT_ERROR:
      return LVT_ERROR;
    case Reg.LVT_THERMAL:
    case Reg.LVT_PERFORMANCE:
      return LVT_OTHER;
    default:
      return 0;
  }
}

/** While its software has the APIC disabled, an entry of the LVT stays masked (11.4.7.2). */
function writeLvt(l: Lapic, t: Times, offset: u32, value: u32): void {
  value &= lvtMask(offset);
  if (!(l.read(Reg.SVR) & SVR_ENABLED)) value |= MASKED;
  if (offset == Reg.LVT_TIMER) {
    writeLvtTimer(l, t, value);
    return;
  }
  l.write(offset, value);
  if (offset == Reg.LVT_LINT0) l.signal(Signal.Lint0);
}

function writeSvr(l: Lapic, t: Times, value: u32): void {
  l.write(Reg.SVR, value & SVR);
  l.signal(Signal.Mode);
  if (value & SVR_ENABLED) return;
  for (let offset = Reg.LVT_TIMER; offset <= Reg.LVT_ERROR; offset += 16) {
    writeLvt(l, t, offset, l.read(offset));
  }
}

export function writeTpr(l: Lapic, value: u32): void {
  l.tpr = value & TPR;
  updatePpr(l);
  l.signal(Signal.Output);
}

/** What both modes have alike, but for what x2APIC mode refuses. Whether there is such a register to write to. */
function writeCommon(l: Lapic, t: Times, offset: u32, value: u32): bool {
  switch (offset) {
    case Reg.TPR:
      writeTpr(l, value);
      return true;
    case Reg.EOI:
      endInterrupt(l);
      return true;
    case Reg.SVR:
      writeSvr(l, t, value);
      return true;
    case Reg.ESR:
      l.write(Reg.ESR, l.state.errors);
      l.state.errors = 0;
      return true;
    case Reg.TIMER_INITIAL:
      writeInitial(l, t, value);
      return true;
    case Reg.TIMER_DIVIDE:
      writeDivide(l, t, value);
      return true;
    default:
      if (!lvtMask(offset)) return false;
      writeLvt(l, t, offset, value);
      return true;
  }
}

/** Registers that both modes read alike. */
function isReadable(offset: u32): bool {
  if (offset >= Reg.ISR && offset <= Reg.ESR) return true;
  switch (offset) {
    case Reg.ID:
    case Reg.VERSION:
    case Reg.TPR:
    case Reg.PPR:
    case Reg.LDR:
    case Reg.SVR:
    case Reg.ICR:
    case Reg.TIMER_INITIAL:
    case Reg.TIMER_CURRENT:
    case Reg.TIMER_DIVIDE:
      return true;
    default:
      return lvtMask(offset) != 0;
  }
}

function readCommon(l: Lapic, t: Times, offset: u32): u32 {
  if (offset == Reg.PPR) updatePpr(l);
  return offset == Reg.TIMER_CURRENT ? currentCount(l, t) : l.read(offset);
}

/** xAPIC: loads the aligned word at an offset of the page. What is no register reads 0, and is an error. */
export function readXapic(l: Lapic, t: Times, offset: u32): u32 {
  if (isReadable(offset)) return readCommon(l, t, offset);
  switch (offset) {
    case Reg.APR:
      return arbitrationPriority(l);
    case Reg.DFR:
    case Reg.ICR_HIGH:
      return l.read(offset);
    case Reg.EOI:
    case Reg.RRD:
      return 0;
    default:
      raiseError(l, Esr.IllegalRegister);
      return 0;
  }
}

/** xAPIC: stores a word to an offset that is a multiple of 16. */
export function writeXapic(l: Lapic, t: Times, offset: u32, value: u32): void {
  if (writeCommon(l, t, offset, value)) return;
  switch (offset) {
    case Reg.LDR:
      l.write(offset, value & 0xff000000);
      return;
    case Reg.DFR:
      l.write(offset, value | 0x0fffffff);
      return;
    case Reg.ICR:
      l.write(offset, value & ICR);
      sendIpi(l, value, l.read(Reg.ICR_HIGH) >> 24);
      return;
    case Reg.ICR_HIGH:
      l.write(offset, value & 0xff000000);
      return;
    case Reg.APR:
    case Reg.PPR:
    case Reg.RRD:
      return;
    default:
      // Others that can only be read take nothing, and that is no error.
      if (!isReadable(offset)) raiseError(l, Esr.IllegalRegister);
  }
}

/** x2APIC: RDMSR of register `number`, 800h less; false for #GP. The value is at `out`. */
export function readX2(l: Lapic, t: Times, number: u32, out: usize): bool {
  const offset = number << 4;
  if (offset >= Reg.END || !isReadable(offset)) return false;
  let value: u64 = readCommon(l, t, offset);
  if (offset == Reg.ICR) value |= (<u64>l.read(Reg.ICR_HIGH)) << 32;
  store<u64>(out, value);
  return true;
}

/** The bits that a register takes in x2APIC mode: others are #GP (11.12.1.2). */
function x2Mask(offset: u32): u64 {
  switch (offset) {
    case Reg.TPR:
    case Reg.SELF_IPI:
      return 0xff;
    case Reg.EOI:
    case Reg.ESR:
      return 0;
    case Reg.SVR:
      return SVR;
    case Reg.TIMER_INITIAL:
      return 0xffffffff;
    case Reg.TIMER_DIVIDE:
      return DIVIDE;
    case Reg.LVT_LINT0:
    case Reg.LVT_LINT1:
      return LVT_LINT | LINT_STATUS;
    default:
      return lvtMask(offset) | LVT_STATUS;
  }
}

/** x2APIC: WRMSR of register `number`, 800h less; false for #GP, with no effect. */
export function writeX2(l: Lapic, t: Times, number: u32, value: u64): bool {
  const offset = number << 4;
  if (offset == Reg.EOI) {
    if (value) return false;
    endInterrupt(l);
    return true;
  }
  if (offset == Reg.ICR) {
    if ((<u32>value) & ~ICR) return false;
    l.write(Reg.ICR, <u32>value);
    l.write(Reg.ICR_HIGH, <u32>(value >> 32));
    sendIpi(l, <u32>value, <u32>(value >> 32));
    return true;
  }
  if (value & ~x2Mask(offset)) return false;
  if (offset == Reg.SELF_IPI) {
    sendSelfIpi(l, <u32>value);
    return true;
  }
  return writeCommon(l, t, offset, <u32>value);
}
