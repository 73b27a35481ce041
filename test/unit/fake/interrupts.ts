/** A guest that prepares interrupts and has one asked for. */
import type { GuestCpu } from "./cpu.ts";

/** Initialises both 8259s with vectors from 20h on, all inputs unmasked. */
export function setUpPics(cpu: GuestCpu): void {
  for (const [master, base, cascade] of [
    [0x20, 0x20, 4],
    [0xa0, 0x28, 2],
  ] as const) {
    cpu.out(master, 0x11);
    for (const word of [base, cascade, 1, 0]) cpu.out(master + 1, word);
  }
}

/** The UART's interrupt, vector 24h, is asked for while the guest has interrupts off. */
export function raiseUart(cpu: GuestCpu): void {
  cpu.interruptsOn = false;
  setUpPics(cpu);
  cpu.out(0x3fc, 8); // OUT2
  cpu.out(0x3f9, 2); // the transmitter is empty
}
