/** The CPUs that root uses. Number 0 is the one that the machine has booted on; the others come by kernel/root/bringup.ts. */
import { MAX_CPUS, PERCPU_AREA, PERCPU_SLOT } from "../abi/address";
import { PERCPU_GDT, PERCPU_TSS, PerCpu } from "../abi/percpu";
import { VECTOR_KICK } from "../abi/vector";
import { Hpa, Hva } from "../lib/addr";
import { pause, replace32 } from "../machine/atomic";
import * as cpu from "../machine/cpu";
import * as image from "../machine/image";
import { send } from "../machine/ipi";
import { store32 } from "../machine/phys";
import { tsc } from "../machine/time";
import { ticks } from "./clock";

/** Milliseconds in which others have stopped, in an emulator with few CPUs of its own too. */
const STOP_WAIT: u32 = 20;

/** Delivery modes with "assert" (SDM Vol. 3A 11.6.1, Interrupt Command Register). */
export namespace Ipi {
  export const FIXED: u32 = 1 << 14;
  export const NMI: u32 = FIXED | (4 << 8);
  export const INIT: u32 = FIXED | (5 << 8);
  export const SIPI: u32 = FIXED | (6 << 8);
}


@unmanaged
export class Cpu {
  number: u32;
  apicId: u32;
  /** Physical address of its block. */
  block: Hpa;
  /** VT-x: the VMCS that is current on it. Written by itself alone. */
  current: Hpa;
  /** 1 + the vCPU whose state, of what entries and exits leave alone, is in it; 0 for none. */
  owner: u32;
  /** vCPUs that live there. */
  load: u32;
  /** NMIs of its that have been told. */
  nmisTold: u32;

  /** Where every address space has its block. */
  get perCpu(): Hva {
    return this.number == 0 ? image.perCpu() : PERCPU_AREA + <u64>this.number * PERCPU_SLOT;
  }
  get gdt(): Hva {
    return this.perCpu + PERCPU_GDT;
  }
  get tss(): Hva {
    return this.perCpu + PERCPU_TSS;
  }
}


@unmanaged
class Cpus {
  count: u32;
  /** The first one that runs vCPUs. */
  first: u32;
  /** 1 + the CPU that has stopped all others; 0 for none. */
  stopper: u32;
}

const table = memory.data(2560, 8);
export const cpus = changetype<Cpus>(memory.data(12, 4));

if (MAX_CPUS * offsetof<Cpu>() > 2560) ERROR("the CPUs do not fit");

export function cpuAt(n: u32): Cpu {
  return changetype<Cpu>(table + <usize>n * offsetof<Cpu>());
}

/** The one that executes this. */
export function thisCpu(): Cpu {
  return cpuAt(cpu.number());
}

/** Makes a CPU look at what there is for it to do, unless it is this one. */
export function kick(n: u32): void {
  if (n != cpu.number()) send(cpuAt(n).apicId, Ipi.FIXED | VECTOR_KICK);
}

/** Stops all other CPUs for good: root is not to be relied on any more. If another one is about to do that, it stops this one. */
export function stopOthers(): void {
  if (!replace32(changetype<usize>(cpus) + offsetof<Cpus>("stopper"), 0, cpu.number() + 1)) {
    if (cpus.stopper != cpu.number() + 1) cpu.halt();
    return;
  }
  for (let n: u32 = 0; n < cpus.count; n++) {
    if (n == cpu.number()) continue;
    store32(cpuAt(n).block + offsetof<PerCpu>("parked"), 1);
    send(cpuAt(n).apicId, Ipi.NMI);
  }
  // What they are at may be to send to a UART.
  const end = tsc() + (cpus.count > 1 ? ticks(STOP_WAIT) : 0);
  while (tsc() < end) pause();
}

/** The CPU with the fewest vCPUs; one more lives there now. */
export function place(): u32 {
  let best = cpus.first;
  for (let n = best + 1; n < cpus.count; n++) if (cpuAt(n).load < cpuAt(best).load) best = n;
  cpuAt(best).load++;
  return best;
}
