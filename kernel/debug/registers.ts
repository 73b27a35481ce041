/** Registers in the order of the target description (features.ts), of the hypervisor and of a guest. */
import { CrashRecord } from "../abi/crash";
import { PerCpu } from "../abi/percpu";
import { Text } from "../lib/text";
import * as phys from "../machine/phys";
import { readCr2 } from "../machine/state";
import * as vmx from "../machine/vmx";
import { CR2 } from "../svm/field";
import * as V from "../vmx/field";
import { Efer, Rflags } from "../x86/cr";
import { Input } from "./input";
import { littleHex } from "./packet";
import { fetch64, isWritable } from "./physical";
import { HYPERVISOR, session } from "./session";
import { State, context, getState, gprAt, isSettled, isSvm, select, setState } from "./vm";

export namespace Reg {
  export const Rsp: u32 = 7;
  export const Rip: u32 = 16;
  export const Eflags: u32 = 17;
  export const Cs: u32 = 18;
  export const Ss: u32 = 19;
  export const St0: u32 = 24;
  export const Fctrl: u32 = 32;
  export const Xmm0: u32 = 40;
  export const Mxcsr: u32 = 56;
  /** Linux's ORIG_RAX, which nobody has: without a description GDB thinks that it is here. */
  export const Orig: u32 = 57;
  export const FsBase: u32 = 58;
  export const GsBase: u32 = 59;
  export const Cr0: u32 = 60;
  export const Cr2: u32 = 61;
  export const Cr3: u32 = 62;
  export const Cr4: u32 = 63;
  export const Efer: u32 = 64;
  export const Count: u32 = 65;
  /**
   * How many g has; the others are asked for one by one. GDB reads the description for one process only. To the others
   * this many are good for any x86-64, and too many for the i386 that they are taken for until it is told.
   */
  export const Together: u32 = 43;
}

/** Segments as State numbers them, in GDB's order from CS on: CS, SS, DS, ES, FS, GS. A digit each, the first one lowest. */
const SEGMENTS: u32 = 0x540321;
/** Numbers of Gprs in GDB's order: RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP. */
const GPRS: u32 = 0x45762130;
/** What of RFLAGS may be changed: the hypervisor's TF is ours, and IRET takes no NT. */
const FLAGS: u64 = 0x240cd5 | Rflags.IF | Rflags.RF;
const GUEST_FLAGS: u64 = FLAGS | Rflags.TF | 0x7000;


@unmanaged
class Value {
  u64: u64;
}
/** What readRegister() has read. */
export const value = changetype<Value>(memory.data(8, 8));

export function registerSize(n: u32): u32 {
  if (n <= Reg.Rip || n >= Reg.Orig) return 8;
  if (n >= Reg.St0 && n < Reg.Fctrl) return 10;
  return n >= Reg.Xmm0 && n < Reg.Mxcsr ? 16 : 4;
}

function gprNumber(n: u32): u32 {
  return n < 8 ? (GPRS >> (n * 4)) & 15 : n;
}

function found(v: u64): bool {
  value.u64 = v;
  return true;
}

function hostRegister(n: u32): bool {
  const crash = session.crash;
  if (n < Reg.Rip) return found(phys.load64(crash + gprNumber(n) * 8));
  switch (n) {
    case Reg.Rip:
      return found(phys.load64(crash + offsetof<CrashRecord>("rip")));
    case Reg.Eflags:
      return found(phys.load64(crash + offsetof<CrashRecord>("rflags")));
    case Reg.Cs:
      return found(phys.load64(crash + offsetof<CrashRecord>("cs")));
    case Reg.Ss:
      return found(phys.load64(crash + offsetof<CrashRecord>("ss")));
    case Reg.GsBase:
      return found(session.perCpu);
    case Reg.Cr2:
      return found(phys.load64(crash + offsetof<CrashRecord>("cr2")));
    case Reg.Cr3:
      return found(phys.load64(crash + offsetof<CrashRecord>("cr3")));
    default:
      return false;
  }
}

/** What the guest reads of CR0 or CR4: the bits that it does not own are the shadow's. */
function seen(real: u64, mask: u32, shadow: u32): u64 {
  if (isSvm()) return real;
  const hidden = vmx.read(mask);
  return (real & ~hidden) | (vmx.read(shadow) & hidden);
}

/** VT-x has no place for CR2: it is in the CPU if this vCPU has run last, and else with root. */
function guestCr2(): bool {
  if (isSvm()) return found(fetch64(context.vmcb + CR2.offset));
  if (fetch64(session.perCpu + offsetof<PerCpu>("vmcb")) != context.vmcb) return false;
  return found(readCr2());
}

function guestRegister(n: u32): bool {
  if (n < Reg.Rip && n != Reg.Rsp) return found(fetch64(gprAt(gprNumber(n))));
  if (n >= Reg.Cs && n < Reg.St0) {
    return found(getState(State.Selector + ((SEGMENTS >> ((n - Reg.Cs) * 4)) & 15)));
  }
  switch (n) {
    case Reg.Rsp:
      return found(getState(State.Rsp));
    case Reg.Rip:
      return found(getState(State.Rip));
    case Reg.Eflags:
      return found(getState(State.Rflags));
    case Reg.FsBase:
    case Reg.GsBase:
      return found(getState(State.Base + 4 + n - Reg.FsBase));
    case Reg.Cr0:
      return found(seen(getState(State.Cr0), V.CR0_MASK.encoding, V.CR0_SHADOW.encoding));
    case Reg.Cr2:
      return guestCr2();
    case Reg.Cr3:
      return found(getState(State.Cr3));
    case Reg.Cr4:
      return found(seen(getState(State.Cr4), V.CR4_MASK.encoding, V.CR4_SHADOW.encoding));
    case Reg.Efer:
      return found(getState(State.Efer));
    default:
      return false;
  }
}

/** Reads a register to `value`; false when nobody knows it. The thread exists. */
export function readRegister(thread: u32, n: u32): bool {
  if (thread == HYPERVISOR) return hostRegister(n);
  return select(thread) && guestRegister(n);
}

/** Adds a register to a packet; what is not known is "x". */
export function showRegister(out: Text, thread: u32, n: u32): void {
  const size = registerSize(n);
  if (readRegister(thread, n)) littleHex(out, value.u64, size);
  else for (let i: u32 = 0; i < size * 2; i++) out.byte(120);
}

/** 48-bit linear addresses: bits 63:47 are the same. */
export function isCanonical(address: u64): bool {
  return (<i64>(address << 16)) >> 16 == address;
}

function writeHost(n: u32, v: u64): bool {
  const crash = session.crash;
  session.faulted = 0;
  if (n < Reg.Rip) {
    phys.store64(crash + gprNumber(n) * 8, v);
    return true;
  }
  if (n == Reg.Rip && isCanonical(v)) {
    phys.store64(crash + offsetof<CrashRecord>("rip"), v);
    return true;
  }
  if (n != Reg.Eflags) return false;
  const at = crash + offsetof<CrashRecord>("rflags");
  phys.store64(at, (phys.load64(at) & ~FLAGS) | (v & FLAGS));
  return true;
}

function writeGuest(n: u32, v: u64): bool {
  if (!isSettled()) return false;
  if (n == Reg.Rsp) return setState(State.Rsp, v);
  if (n < Reg.Rip) {
    const at = gprAt(gprNumber(n));
    if (!isWritable(at)) return false;
    phys.store64(at, v);
    return true;
  }
  // What VM entry refuses ends the VM.
  const long = (getState(State.Efer) & Efer.LMA) != 0;
  switch (n) {
    case Reg.Rip:
      return (long ? isCanonical(v) : v >> 32 == 0) && setState(State.Rip, v);
    case Reg.Eflags:
      return setState(State.Rflags, (getState(State.Rflags) & ~GUEST_FLAGS) | (v & GUEST_FLAGS));
    case Reg.FsBase:
    case Reg.GsBase:
      return isCanonical(v) && setState(State.Base + 4 + n - Reg.FsBase, v);
    default:
      return false;
  }
}

/** False when it cannot be changed, or not to that. The thread exists. */
export function writeRegister(thread: u32, n: u32, v: u64): bool {
  if (thread == HYPERVISOR) return writeHost(n, v);
  return select(thread) && writeGuest(n, v);
}

/** Takes what g has from a packet: what cannot be changed stays as it is. False when none can. */
export function takeRegisters(thread: u32, packet: Input): bool {
  if (thread != HYPERVISOR && (!select(thread) || !isSettled())) return false;
  for (let n: u32 = 0; n < Reg.Together && packet.left > 0; n++) {
    const size = registerSize(n);
    if (packet.peek() == 120 || size > 8) {
      for (let i: u32 = 0; i < size * 2; i++) packet.take();
      continue;
    }
    const v = packet.little(size);
    if (packet.bad) return false;
    writeRegister(thread, n, v);
  }
  return true;
}
