/**
 * The lock of a VM's platform devices, which all of its vCPUs share: a spin lock, held for as long as one register takes. Not
 * taken for CPUID, MSRs, memory, nor by what is the vCPU's own; who holds it must not take it again, nor leave to root.
 */
import { pause, swap32 } from "../machine/atomic";

const word = memory.data(4, 4);

/** @noinline */
function wait(): void {
  do {
    while (load<u32>(word)) pause();
  } while (swap32(word, 1));
}

export function lock(): void {
  if (swap32(word, 1)) wait();
}

export function unlock(): void {
  store<u32>(word, 0);
}
