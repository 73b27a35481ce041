/**
 * vCPUs as root sees them. A vCPU lives on one CPU from its VM's start to its end: that CPU alone runs it, has its VMCS
 * active, and changes what is here but for State.Ready, which whoever wakes it sets. All of that is under root's lock.
 */
import { VCPU_AREA, VCPU_AREA_SIZE } from "../abi/address";
import { VcpuContext } from "../abi/context";
import { RunArea } from "../abi/run";
import { Hpa } from "../lib/addr";
import * as cpu from "../machine/cpu";
import { load32 } from "../machine/phys";
import { kick } from "./cpus";
import { LARGE, SMALL } from "./frames";

/** vCPUs of all VMs together. */
export const VCPUS: u32 = 256;
export const EXTENDED_STATE_MAX: u64 = 0x4000;
/** The vCPU's VMCS, or its VMCB and the page behind it. */
export const CONTROL: u64 = 2 * SMALL;

export namespace State {
  export const None: u32 = 0;
  export const Ready: u32 = 1;
  export const Halted: u32 = 2;
  export const Ended: u32 = 3;
  /** Of a VM: it has ended, and not every CPU has let go of its vCPUs. */
  export const Ending: u32 = 4;
}


@unmanaged
export class Vcpu {
  /** Among all vCPUs, its VM, and among that VM's. */
  index: u32;
  vm: u32;
  number: u32;
  /** Ready or Halted while its VM is alive. One that its guest has not started yet is halted, with no time to wake. */
  state: u32;
  /** The CPU where it lives. */
  cpu: u32;
  /** Nonzero: that CPU may have its control structure active, or its registers. */
  loaded: u32;
  /** Nonzero: it has not run yet since it was made, and its CPU's TLB may have another's translations. */
  fresh: u32;
  /** Times that it came back to root, and how many of them for a host interrupt. */
  leaves: u32;
  interrupts: u32;
  /** What its CPU does of its local APIC: one of ApicMode. */
  apicMode: u32;
  /** TSC value at which to run again, in State.Halted. */
  wake: u64;
  /** TSC ticks spent in the guest and its monitor. */
  spent: u64;
  /** Physical address of its VM's home. */
  home: Hpa;

  get context(): VcpuContext {
    return changetype<VcpuContext>(contexts + <usize>this.index * offsetof<VcpuContext>());
  }

  /** Linear address of its area in its monitor's memory. */
  get area(): u32 {
    return VCPU_AREA + this.number * VCPU_AREA_SIZE;
  }

  /** Physical addresses of the extended state and of the control structure behind it. */
  get extendedState(): Hpa {
    return this.home + LARGE - (this.number + 1) * (CONTROL + EXTENDED_STATE_MAX);
  }
  get control(): Hpa {
    return this.extendedState + EXTENDED_STATE_MAX;
  }

  /** Whether another vCPU of its VM wants it to run (docs/smp.md). */
  get isKicked(): bool {
    return load32(this.home + this.area + offsetof<RunArea>("kicked")) != 0;
  }

  /** It has something to do. */
  makeReady(): void {
    if (this.state != State.Halted) return;
    this.state = State.Ready;
    if (this.cpu != cpu.number()) kick(this.cpu);
  }
}

const table = memory.data(16384, 8);
const contexts = memory.data(40960, 8);

if (VCPUS * offsetof<Vcpu>() > 16384 || VCPUS * offsetof<VcpuContext>() > 40960)
  ERROR("the vCPUs do not fit");

export function vcpu(index: u32): Vcpu {
  return changetype<Vcpu>(table + <usize>index * offsetof<Vcpu>());
}
