/**
 * Root's lock: whoever runs root's TypeScript on a CPU has it, but for the boot before other CPUs have come, waiting, and
 * reports of panics. It is never held while a vCPU runs. CPUs get it in the order in which they asked for it.
 */
import { add32, pause } from "../machine/atomic";


@unmanaged
class Lock {
  /** Tickets handed out, and the one whose turn it is. */
  next: u32;
  turn: u32;
}
const lock = changetype<Lock>(memory.data(8, 4));

export function acquire(): void {
  const ticket = add32(changetype<usize>(lock) + offsetof<Lock>("next"), 1);
  while (add32(changetype<usize>(lock) + offsetof<Lock>("turn"), 0) != ticket) pause();
}

export function release(): void {
  add32(changetype<usize>(lock) + offsetof<Lock>("turn"), 1);
}
