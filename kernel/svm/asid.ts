/**
 * Address space identifiers (APM Vol. 2 15.16, TLB Control). There may be fewer than vCPUs: they are given out in turn, and
 * when none is left a new generation begins, with an empty TLB. A vCPU keeps its own for as long as its generation lasts.
 */
import { capability } from "./capability";


@unmanaged
class Asids {
  generation: u64;
  next: u32;
  /** The TLB holds translations of an older generation. */
  stale: u32;
}


@unmanaged
class Given {
  /** 0: none was given yet. */
  generation: u64;
  asid: u32;
  padding: u32;
}

export const MAX_VCPUS: u32 = 64;

const asids = changetype<Asids>(memory.data(16, 8));
const given = memory.data(1024, 8);

function givenTo(number: u32): Given {
  assert(number < MAX_VCPUS);
  return changetype<Given>(given + <usize>number * offsetof<Given>());
}

/** A new vCPU of this number: it must find no translation of another's. */
export function forgetAsid(number: u32): void {
  givenTo(number).generation = 0;
}

/** The ASID that the vCPU is to run with, 1 and up. */
export function asidOf(number: u32): u32 {
  const g = givenTo(number);
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
  return asids.stale != 0;
}

/** An entry has flushed it. */
export function noteFlush(): void {
  asids.stale = 0;
}
