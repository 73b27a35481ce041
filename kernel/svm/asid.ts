/**
 * Address space identifiers (APM Vol. 2 15.16, TLB Control). There may be fewer than vCPUs: they are given out in turn, and
 * when none is left a new generation begins, with an empty TLB. A vCPU keeps its own for as long as its generation lasts.
 */
import { MAX_CPUS } from "../abi/address";
import * as cpu from "../machine/cpu";
import { capability } from "./capability";


@unmanaged
class Asids {
  generation: u64;
  next: u32;
  /** The TLB holds translations of an older generation. */
  stale: u32;

  /** Each CPU has a TLB, and gives out ASIDs, of its own. A vCPU that moves is a new one there: forgetAsid(). */
  static get here(): Asids {
    return changetype<Asids>(table + <usize>cpu.number() * offsetof<Asids>());
  }
}


@unmanaged
class Given {
  /** 0: none was given yet. */
  generation: u64;
  asid: u32;
  padding: u32;
}

export const VCPUS: u32 = 256;

const table = memory.data(1024, 8);
const given = memory.data(4096, 8);

if (MAX_CPUS * offsetof<Asids>() > 1024 || VCPUS * offsetof<Given>() > 4096) ERROR("the ASIDs do not fit");

function givenTo(number: u32): Given {
  assert(number < VCPUS);
  return changetype<Given>(given + <usize>number * offsetof<Given>());
}

/** A new vCPU of this number: it must find no translation of another's. */
export function forgetAsid(number: u32): void {
  givenTo(number).generation = 0;
}

/** The ASID that the vCPU is to run with, 1 and up. */
export function asidOf(number: u32): u32 {
  const g = givenTo(number);
  const asids = Asids.here;
  if (asids.generation == 0 || (g.generation != asids.generation && asids.next >= capability.asids)) {
    // What the firmware, or a hypervisor before this one, has left in the TLB is an older generation too.
    asids.generation++;
    asids.next = 1;
    asids.stale = 1;
  }
  if (g.generation != asids.generation) {
    g.generation = asids.generation;
    g.asid = asids.next++;
  }
  return g.asid;
}

/** Whether the next entry has to flush the TLB, of all ASIDs. */
export function isStale(): bool {
  return Asids.here.stale != 0;
}

/** An entry has flushed it. */
export function noteFlush(): void {
  Asids.here.stale = 0;
}
