/** Getting another vCPU's attention. */
import { VCPU_AREA, VCPU_AREA_SIZE } from "../abi/address";
import { RunArea } from "../abi/run";
import { swap32 } from "../machine/atomic";
import { interrupt } from "../machine/vcpus";

function kickedAt(n: u32): usize {
  return VCPU_AREA + n * VCPU_AREA_SIZE + offsetof<RunArea>("kicked");
}

/**
 * vCPU `target` of this VM is to look at what others have left for it: whatever it does, it leaves the guest, or is woken, and
 * looks before the guest goes on. Called when that is there. A vCPU needs not be told what it does itself.
 */
export function kick(target: u32, caller: u32): void {
  if (target == caller) return;
  // Who has set the word before has sent an interrupt that the target has not answered by a look.
  if (swap32(kickedAt(target), 1) == 0) interrupt(target);
}

/** vCPU n looks at what others have left for it now: what comes from here on kicks again. */
export function answerKick(n: u32): void {
  if (load<u32>(kickedAt(n))) swap32(kickedAt(n), 0);
}
