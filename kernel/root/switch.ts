/**
 * What entries and exits leave alone, and the host does not use: it stays in the CPU until another vCPU runs there.
 * The last owner's state is then saved to its VM's home, and the next one's is loaded.
 */
import { bit } from "../lib/bits";
import * as cpu from "../machine/cpu";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import * as phys from "../machine/phys";
import * as state from "../machine/state";
import { Cr4 } from "../x86/cr";
import * as Msr from "../x86/msr";
import { switchesSyscall } from "./backend";
import { EXTENDED_STATE_MAX, Vm } from "./vm";


@unmanaged
class Saved {
  tscAux: u64;
  dr0: u64;
  dr1: u64;
  dr2: u64;
  dr3: u64;
  xcr0: u64;
  // Only where entries and exits leave these alone too: on VT-x.
  star: u64;
  lstar: u64;
  cstar: u64;
  fmask: u64;
  kernelGsBase: u64;
  cr2: u64;
  dr6: u64;
}


@unmanaged
class Switch {
  /** 1 + the VM whose state is in the CPU, 0 for none. */
  owner: u32;
  xsave: bool;
  rdtscp: bool;
  /** All that XCR0 can enable on this CPU. */
  xcr0: u64;
}

const DR6_RESET: u64 = 0xffff0ff0;
const MXCSR_RESET: u32 = 0x1f80;
const FCW_RESET: u32 = 0x37f;

const saved = memory.data(6656, 8);
const owner = changetype<Switch>(memory.data(16, 8));
const regs = memory.data(16, 4);

function savedOf(id: u32): Saved {
  return changetype<Saved>(saved + <usize>id * offsetof<Saved>());
}

/** Enables XSAVE where the CPU has it. False when its state is larger than what a VM's home has for it. */
export function enableExtendedState(): bool {
  cpuid.query(1, 0, regs);
  owner.xsave = bit(load<u32>(regs, 8), 26);
  cpuid.query(0x80000001, 0, regs);
  owner.rdtscp = bit(load<u32>(regs, 12), 27);
  cpu.writeCr4(cpu.readCr4() | Cr4.OSFXSR | Cr4.OSXMMEXCPT);
  if (!owner.xsave) return true;
  cpu.writeCr4(cpu.readCr4() | Cr4.OSXSAVE);
  cpuid.query(0xd, 0, regs);
  owner.xcr0 = (<u64>load<u32>(regs)) | ((<u64>load<u32>(regs, 12)) << 32);
  return load<u32>(regs, 8) <= EXTENDED_STATE_MAX;
}

/** What a vCPU's registers are after a reset. */
export function resetState(v: Vm): void {
  const s = savedOf(v.id);
  memory.fill(changetype<usize>(s), 0, offsetof<Saved>());
  s.dr6 = DR6_RESET;
  s.xcr0 = 1;
  phys.fill(v.extendedState, 0, EXTENDED_STATE_MAX);
  phys.store16(v.extendedState, FCW_RESET);
  phys.store32(v.extendedState + 24, MXCSR_RESET);
  if (owner.owner == v.id + 1) owner.owner = 0;
}

function saveSyscall(s: Saved): void {
  s.star = msr.read(Msr.IA32_STAR);
  s.lstar = msr.read(Msr.IA32_LSTAR);
  s.cstar = msr.read(Msr.IA32_CSTAR);
  s.fmask = msr.read(Msr.IA32_FMASK);
  s.kernelGsBase = msr.read(Msr.IA32_KERNEL_GS_BASE);
  s.cr2 = state.readCr2();
  s.dr6 = state.readDr(6);
}

function restoreSyscall(s: Saved): void {
  msr.write(Msr.IA32_STAR, s.star);
  msr.write(Msr.IA32_LSTAR, s.lstar);
  msr.write(Msr.IA32_CSTAR, s.cstar);
  msr.write(Msr.IA32_FMASK, s.fmask);
  msr.write(Msr.IA32_KERNEL_GS_BASE, s.kernelGsBase);
  state.writeCr2(s.cr2);
  state.writeDr(6, s.dr6);
}

function save(s: Saved, area: u64): void {
  if (!switchesSyscall()) saveSyscall(s);
  if (owner.rdtscp) s.tscAux = msr.read(Msr.IA32_TSC_AUX);
  s.dr0 = state.readDr(0);
  s.dr1 = state.readDr(1);
  s.dr2 = state.readDr(2);
  s.dr3 = state.readDr(3);
  if (owner.xsave) {
    s.xcr0 = state.readXcr0();
    state.writeXcr0(owner.xcr0);
  }
  state.saveExtended(area, owner.xsave);
}

function restore(s: Saved, area: u64): void {
  if (!switchesSyscall()) restoreSyscall(s);
  if (owner.rdtscp) msr.write(Msr.IA32_TSC_AUX, s.tscAux);
  state.writeDr(0, s.dr0);
  state.writeDr(1, s.dr1);
  state.writeDr(2, s.dr2);
  state.writeDr(3, s.dr3);
  if (owner.xsave) state.writeXcr0(owner.xcr0);
  state.restoreExtended(area, owner.xsave);
  if (owner.xsave) state.writeXcr0(s.xcr0);
}

/** Before the vCPU runs: puts its state into the CPU if another's is there. */
export function own(v: Vm, lastOwner: Vm): void {
  if (owner.owner == v.id + 1) return;
  if (owner.owner != 0) save(savedOf(lastOwner.id), lastOwner.extendedState);
  restore(savedOf(v.id), v.extendedState);
  owner.owner = v.id + 1;
}

/** The VM whose state is in the CPU, or ~0. */
export function ownerId(): u32 {
  return owner.owner - 1;
}

/** The VM is gone: nobody will want its state. */
export function disown(v: Vm): void {
  if (owner.owner == v.id + 1) owner.owner = 0;
}
