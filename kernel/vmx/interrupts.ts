/** Virtual-interrupt delivery under VT-x (SDM Vol. 3C 30.2, Evaluation and Delivery of Virtual Interrupts): what the CPU has of a local APIC. */
import * as F from "./field";

/** The highest vectors requested and in service, RVI and SVI (25.4.2, Guest Non-Register State). The next entry looks at them. */
export function setInterruptStatus(requested: u32, serving: u32): void {
  F.GUEST_INTERRUPT_STATUS.write((requested & 0xff) | ((serving & 0xff) << 8));
}

/** One more is requested. */
export function requestInterrupt(vector: u32): void {
  const status = F.GUEST_INTERRUPT_STATUS.read();
  if (vector > (status & 0xff)) F.GUEST_INTERRUPT_STATUS.write((status & 0xff00) | (vector & 0xff));
}

/** The vectors whose end exits, 64 a word (25.6.8, Controls for APIC Virtualization). */
export function setEoiExits(v0: u64, v1: u64, v2: u64, v3: u64): void {
  F.EOI_EXITS_0.write(v0);
  F.EOI_EXITS_1.write(v1);
  F.EOI_EXITS_2.write(v2);
  F.EOI_EXITS_3.write(v3);
}
