/** The ways in which a monitor can be made to fail. Its guest executes CPUID with EAX = FA170000h + the kind. */

import { halt } from "../../../kernel/machine/time";

export const MAGIC: u32 = 0xfa170000;
/** A write of a control off the allow list: each vendor's own. */
export const CONTROL: u32 = 8;

@unmanaged
export class Scratch {
  zero: u32;
  deep: u32;
}

export const scratch = changetype<Scratch>(memory.data(8));

/** Ends only when the stack does. */
function recurse(depth: u32): u32 {
  scratch.deep = depth;
  if (scratch.zero) return 0;
  return recurse(depth + 1) + recurse(depth + 2) + scratch.deep; // fault 5
}

/** Fails in the way `kind`, but for kind 8, which is the vendor's. */
export function fail(kind: u32): void {
  switch (kind) {
    case 1:
      scratch.zero = load<u32>(0x7fff0000); // fault 1: far past the linear memory
      break;
    case 2:
      unreachable(); // fault 2
      break;
    case 3:
      assert(scratch.zero == 1, "the guest asked for it"); // fault 3
      break;
    case 4:
      scratch.deep = 7 / scratch.zero; // fault 4
      break;
    case 5:
      scratch.deep = recurse(0);
      break;
    case 6:
      while (true) store<u32>(changetype<usize>(scratch) + 4, load<u32>(changetype<usize>(scratch) + 4) + 1); // fault 6
    case 7:
      scratch.zero = load<u32>(0); // fault 7: a null reference
      break;
    case 10:
      while (true) halt(); // fault 10: where no other vCPU lives on the CPU
    default:
      store<u8>(0xffffffff, 1, 0x7fffffff); // fault 9: the farthest address that wasm can say
  }
}
