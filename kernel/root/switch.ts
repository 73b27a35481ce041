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
import { DR6_RESET } from "../x86/dr";
import * as Msr from "../x86/msr";
import { switchesSyscall } from "./backend";
import { debugging } from "./debugger";
import { thisCpu } from "./cpus";
import { EXTENDED_STATE_MAX, VCPUS, Vcpu, vcpu } from "./vcpus";


@unmanaged
class Saved {
  tscAux: u64;
  dr0: u64;
  dr1: u64;
  dr2: u64;
  dr3: u64;
  xcr0: u64;
  /** On AMD-V the VMCB has it too, but Bochs 2.7's VMRUN does not load it (docs/machines.md). */
  cr2: u64;
  // Only where entries and exits leave these alone too: on VT-x.
  star: u64;
  lstar: u64;
  cstar: u64;
  fmask: u64;
  kernelGsBase: u64;
  dr6: u64;
}


@unmanaged
class Switch {
  xsave: bool;
  rdtscp: bool;
  /** All that XCR0 can enable on this CPU. */
  xcr0: u64;
}

const MXCSR_RESET: u32 = 0x1f80;
const FCW_RESET: u32 = 0x37f;

const saved = memory.data(26624, 8);
const owner = changetype<Switch>(memory.data(16, 8));
const regs = memory.data(16, 4);

if (VCPUS * offsetof<Saved>() > 26624) ERROR("the vCPUs' registers do not fit");

function savedOf(index: u32): Saved {
  return changetype<Saved>(saved + <usize>index * offsetof<Saved>());
}

/** Enables XSAVE where the CPU has it. False when its state is larger than what a VM's home has for it. */
export function enableExtendedState(): bool {
  cpuid.query(1, 0, regs);
  owner.xsave = bit(load<u32>(regs, 8), 26);
  cpuid.query(0x80000001, 0, regs);
  owner.rdtscp = bit(load<u32>(regs, 12), 27);
  enableExtendedStateHere();
  if (!owner.xsave) return true;
  cpuid.query(0xd, 0, regs);
  owner.xcr0 = (<u64>load<u32>(regs)) | ((<u64>load<u32>(regs, 12)) << 32);
  return load<u32>(regs, 8) <= EXTENDED_STATE_MAX;
}

/** As the boot CPU has found that there is. */
export function enableExtendedStateHere(): void {
  cpu.writeCr4(cpu.readCr4() | Cr4.OSFXSR | Cr4.OSXMMEXCPT | (owner.xsave ? Cr4.OSXSAVE : 0));
}

/** What a vCPU's registers are after a reset. */
export function resetState(v: Vcpu): void {
  const s = savedOf(v.index);
  memory.fill(changetype<usize>(s), 0, offsetof<Saved>());
  s.dr6 = DR6_RESET;
  s.xcr0 = 1;
  phys.fill(v.extendedState, 0, EXTENDED_STATE_MAX);
  phys.store16(v.extendedState, FCW_RESET);
  phys.store32(v.extendedState + 24, MXCSR_RESET);
}

function saveSyscall(s: Saved): void {
  s.star = msr.read(Msr.IA32_STAR);
  s.lstar = msr.read(Msr.IA32_LSTAR);
  s.cstar = msr.read(Msr.IA32_CSTAR);
  s.fmask = msr.read(Msr.IA32_FMASK);
  s.kernelGsBase = msr.read(Msr.IA32_KERNEL_GS_BASE);
  s.dr6 = state.readDr(6);
}

function restoreSyscall(s: Saved): void {
  msr.write(Msr.IA32_STAR, s.star);
  msr.write(Msr.IA32_LSTAR, s.lstar);
  msr.write(Msr.IA32_CSTAR, s.cstar);
  msr.write(Msr.IA32_FMASK, s.fmask);
  msr.write(Msr.IA32_KERNEL_GS_BASE, s.kernelGsBase);
  state.writeDr(6, s.dr6);
}

function save(s: Saved, area: u64): void {
  if (!switchesSyscall()) saveSyscall(s);
  s.cr2 = state.readCr2();
  if (owner.rdtscp) s.tscAux = msr.read(Msr.IA32_TSC_AUX);
  if (!debugging()) {
    s.dr0 = state.readDr(0);
    s.dr1 = state.readDr(1);
    s.dr2 = state.readDr(2);
    s.dr3 = state.readDr(3);
  }
  if (owner.xsave) {
    s.xcr0 = state.readXcr0();
    state.writeXcr0(owner.xcr0);
  }
  state.saveExtended(area, owner.xsave);
}

function restore(s: Saved, area: u64): void {
  if (!switchesSyscall()) restoreSyscall(s);
  state.writeCr2(s.cr2);
  if (owner.rdtscp) msr.write(Msr.IA32_TSC_AUX, s.tscAux);
  // With a debugger they are its own.
  if (!debugging()) {
    state.writeDr(0, s.dr0);
    state.writeDr(1, s.dr1);
    state.writeDr(2, s.dr2);
    state.writeDr(3, s.dr3);
  }
  if (owner.xsave) state.writeXcr0(owner.xcr0);
  state.restoreExtended(area, owner.xsave);
  if (owner.xsave) state.writeXcr0(s.xcr0);
}

/** Before the vCPU runs: puts its state into the CPU if another's is there. */
export function own(v: Vcpu): void {
  const here = thisCpu();
  if (here.owner == v.index + 1) return;
  if (here.owner != 0) save(savedOf(here.owner - 1), vcpu(here.owner - 1).extendedState);
  restore(savedOf(v.index), v.extendedState);
  here.owner = v.index + 1;
}

/** The vCPU is gone: nobody will want its state. On the CPU where it lives. */
export function disown(v: Vcpu): void {
  if (thisCpu().owner == v.index + 1) thisCpu().owner = 0;
}
