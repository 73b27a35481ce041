/**
 * The four debug registers (SDM Vol. 3B 18.2, Debug Registers), which the hypervisor and all guests share: a register is on
 * only while its owner runs, for each owner has a DR7 of its own.
 */
import { DebugControl } from "../abi/debug";
import { PerCpu } from "../abi/percpu";
import { writeDr } from "../machine/state";
import { DR7_RESET } from "../x86/dr";
import { Placed } from "./breakpoint";
import { put64 } from "./physical";
import { FIRST_VM, HYPERVISOR, session } from "./session";
import { control, exists, isSvm, wantAttention } from "./vm";

export const REGISTERS: u32 = 4;
const BOTH: u64 = 3;
/** DR7's LEN for lengths of 1, 2, 4 and 8 bytes: a digit for each number of bits that a length is shifted. */
const LENGTHS: u32 = 0x2310;

/** DR7's R/W. */
export namespace Kind {
  export const Execute: u32 = 0;
  export const Write: u32 = 1;
  export const Access: u32 = 3;
}


@unmanaged
export class DebugRegister {
  address: u64;
  /** What was asked for: it may take several registers. */
  first: u64;
  total: u32;
  /** The process; 0 while it is free. */
  process: u32;
  kind: u32;
  /** 1 << shift bytes. */
  shift: u32;
}

const table = memory.data(128, 8);

export function debugRegister(n: u32): DebugRegister {
  return changetype<DebugRegister>(table + <usize>n * offsetof<DebugRegister>());
}

/** DR7 with the registers of one process, or of all; 0 when there are none. */
function dr7Of(process: u32, all: bool): u64 {
  let dr7: u64 = 0;
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (r.process == 0 || (r.process != process && !all)) continue;
    const condition = <u64>(r.kind | (((LENGTHS >> (r.shift * 4)) & 3) << 2));
    dr7 |= DR7_RESET | (BOTH << (i * 2)) | (condition << (16 + i * 4));
  }
  return dr7;
}

/**
 * Tells the owner's DR7, after its registers have changed. On AMD-V the host's has the guests' too: emulators of AMD-V arm
 * only what MOV to DR7 has armed, and not what VMRUN loads. What the host hits of these is passed over (stop.ts).
 */
function publish(process: u32): void {
  if (process != HYPERVISOR && exists(process)) {
    put64(control(process - FIRST_VM) + offsetof<DebugControl>("dr7"), dr7Of(process, false));
    wantAttention();
  }
  put64(session.perCpu + offsetof<PerCpu>("hostDr7"), dr7Of(HYPERVISOR, isSvm()) | DR7_RESET);
}

/** The bits of the largest aligned piece at the start of a range, as a shift. */
function pieceOf(address: u64, length: u32): u32 {
  let shift: u32 = 3;
  while (shift > 0 && (address & ((1 << shift) - 1) || length < 1 << shift)) shift--;
  return shift;
}

function isOf(r: DebugRegister, process: u32, kind: u32, first: u64, total: u32): bool {
  return r.process == process && r.kind == kind && r.first == first && r.total == total;
}

/** Watches [address, address + length), with as many registers as that takes. What is watched already stays. */
export function placeRegister(process: u32, kind: u32, address: u64, length: u32): u32 {
  let free: u32 = 0;
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (isOf(r, process, kind, address, length)) return Placed.Done;
    if (r.process == 0) free++;
  }
  let needed: u32 = 0;
  for (let done: u32 = 0; done < length && needed <= REGISTERS; needed++)
    done += 1 << pieceOf(address + done, length - done);
  if (needed > free) return Placed.Full;
  let done: u32 = 0;
  for (let i: u32 = 0; i < REGISTERS && done < length; i++) {
    const r = debugRegister(i);
    if (r.process != 0) continue;
    r.process = process;
    r.kind = kind;
    r.first = address;
    r.total = length;
    r.address = address + done;
    r.shift = pieceOf(r.address, length - done);
    done += 1 << r.shift;
    writeDr(i, r.address);
  }
  publish(process);
  return Placed.Done;
}

export function removeRegister(process: u32, kind: u32, address: u64, length: u32): void {
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (isOf(r, process, kind, address, length)) r.process = 0;
  }
  publish(process);
}

export function removeRegisters(process: u32): void {
  let had = false;
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (r.process != process) continue;
    r.process = 0;
    had = true;
  }
  if (had) publish(process);
}

/** The owner's register that DR6 names; null when it names none. */
export function hitRegister(process: u32, dr6: u64): DebugRegister | null {
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if ((dr6 >> i) & 1 && r.process == process) return r;
  }
  return null;
}

/** Whether an execute breakpoint of the owner is at the address. */
export function executesAt(process: u32, address: u64): bool {
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (r.process == process && r.kind == Kind.Execute && r.address == address) return true;
  }
  return false;
}
