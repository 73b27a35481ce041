/** What INIT and SIPI make of a vCPU (SDM Vol. 3A 10.1.1, table 10-1, Processor State After Reset; 9.4, Multiple-Processor Initialization). */
import { Request } from "../abi/run";
import { StopReason } from "../abi/stop";
import { initLapic } from "../device/lapic";
import { Signal } from "../device/lapicregister";
import { signature } from "../vcpu/cpuid";
import { noteCr4 } from "../vcpu/cr";
import { Seg } from "../vcpu/system";
import { Attention, Halted, Next, Vcpu } from "../vcpu/vcpu";
import { Cr0 } from "../x86/cr";
import { lapicOf, settleApic } from "./apic";

/** Rights of real mode's data and code segments, of an LDT and of a busy TSS. */
const DATA: u32 = 0x93;
const CODE: u32 = 0x9b;
const LDT: u32 = 0x82;
const TSS: u32 = 0x8b;

/** Registers after INIT, with the code segment at `selector` and `base`. CR0.CD and NW are as they were. */
function setRegisters(v: Vcpu, selector: u32, base: u64, rip: u64): void {
  const s = v.system;
  for (let n: u32 = 0; n < 16; n++) v.setGpr(n, 0);
  v.rdx = signature(v);
  s.cr0 = (s.cr0 & (Cr0.CD | Cr0.NW)) | Cr0.ET;
  s.cr3 = 0;
  s.cr4 = 0;
  s.efer = 0;
  s.gdtrBase = 0;
  s.gdtrLimit = 0xffff;
  s.idtrBase = 0;
  s.idtrLimit = 0xffff;
  for (let n: u32 = 0; n < Seg.Count; n++) s.segment(n).set(0, 0, 0xffff, DATA);
  s.segment(Seg.CS).set(selector, base, 0xffff, CODE);
  s.segment(Seg.LDTR).set(0, 0, 0xffff, LDT);
  s.segment(Seg.TR).set(0, 0, 0xffff, TSS);
  v.rip = rip;
  v.rflags = 2;
  noteCr4(v, 0);
}

/** INIT: a vCPU but the first waits for a SIPI from now on. The first would start its firmware: the VM is reset. */
export function initVcpu(v: Vcpu): void {
  if (v.number == 0) {
    v.leaveWith(v.stop(StopReason.Reset, 0));
    return;
  }
  initLapic(lapicOf(v));
  setRegisters(v, 0xf000, 0xffff0000, 0xfff0);
  v.heldInterrupt = 0;
  v.debugDue = 0;
  v.skipped = 0;
  v.dirty = 0;
  v.attention &= ~(Attention.Interrupted | Attention.Exception | Attention.Nmi);
  v.halted = Halted.WaitForSipi;
  v.request = Request.Halt;
  v.wake = ~(<u64>0);
  v.leaveWith(Next.Yield);
  settleApic(v);
}

/** SIPI: real mode from the start of a page on (9.4.3). */
export function startVcpu(v: Vcpu, vector: u32): void {
  setRegisters(v, vector << 8, vector << 12, 0);
  v.halted = Halted.Running;
}

/** Attention.Init. Whether the registers have changed: INIT goes before SIPI, which only a vCPU that waits for it takes. */
export function takeInit(v: Vcpu): bool {
  const s = lapicOf(v).state;
  const what = s.signals & (Signal.Init | Signal.Sipi);
  const vector = s.sipi;
  s.signals &= ~what;
  let changed = false;
  if (what & Signal.Init && v.halted != Halted.WaitForSipi) {
    initVcpu(v);
    changed = v.number != 0;
  }
  if (what & Signal.Sipi && v.halted == Halted.WaitForSipi) {
    startVcpu(v, vector);
    // The INIT before it may have been taken at the same look.
    if (v.attention & Attention.Leave && v.leave == Next.Yield) {
      v.attention &= ~Attention.Leave;
      v.leave = Next.Resume;
    }
    changed = true;
  }
  return changed;
}
