/** A guest that has been loaded and entered once, ready for a test to make it do things. */
import { bzImage } from "./bzimage.ts";
import type { GuestCpu, Vendor } from "./cpu.ts";
import { FakeMonitor, type MonitorOptions } from "./monitor.ts";
import { FakeSvm, type SvmOptions, amdCpuid } from "./svm.ts";
import { FakeVtx } from "./vtx.ts";
import { Next } from "./exit.ts";

export interface Guest<Cpu extends GuestCpu = GuestCpu> {
  machine: FakeMonitor;
  cpu: Cpu;
}

/** VT-x, unless told. */
export interface GuestOptions extends MonitorOptions {
  vendor?: Vendor;
}

export function fakeCpu(vendor: Vendor = "VT-x"): GuestCpu {
  return vendor === "VT-x" ? new FakeVtx() : new FakeSvm();
}

/** Loads a tiny kernel and enters it. */
export function startGuest(options: GuestOptions & { vendor: Vendor }): Guest;
export function startGuest(options?: MonitorOptions): Guest<FakeVtx>;
export function startGuest({ vendor, ...options }: GuestOptions = {}): Guest {
  return startOn(fakeCpu(vendor), options);
}

/** On AMD-V with features that a test chooses. */
export function startSvm(has: SvmOptions = {}, options: MonitorOptions = {}): Guest<FakeSvm> {
  return startOn(new FakeSvm(has), { cpuid: amdCpuid, ...options });
}

export function startOn<Cpu extends GuestCpu>(cpu: Cpu, options: MonitorOptions): Guest<Cpu> {
  const machine = new FakeMonitor(cpu, { kernel: bzImage([0xf4]), ...options });
  enterFully(machine);
  return { machine, cpu };
}

/** Calls enter until the monitor has nothing more to prepare. */
export function enterFully(machine: FakeMonitor): Next {
  for (let i = 0; i < 1000; i++) {
    const next = machine.enter();
    if (next !== Next.Yield || machine.request !== 0) return next;
  }
  throw new Error("the monitor does not come to an end of its loading");
}
