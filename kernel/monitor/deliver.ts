/** Choosing the event that the next entry delivers: exceptions and NMIs from the vCPU, interrupts from the platform. */
import { StopReason } from "../abi/stop";
import { acknowledgeInterrupt, picOutput } from "../device/pic8259";
import { HELD, Injection, injectInterrupt, interruptible, takeEvent } from "../vcpu/event";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";

/** Whether the processor is asked for an interrupt: by the controller, or by one that it has taken and not delivered. */
export function updateOutput(v: Vcpu): void {
  if (v.heldInterrupt || picOutput()) v.attention |= Attention.Interrupt;
  else v.attention &= ~Attention.Interrupt;
}

/**
 * Fills in the injection and returns Next.Resume, or Next.Stop for a triple fault. Needs v.rflags and v.blocking. What
 * stays in v.attention of NMIs and interrupts wants a window.
 */
export function chooseEvent(v: Vcpu, injection: Injection): u32 {
  if (!takeEvent(v, injection)) return v.stop(StopReason.TripleFault, v.rip);
  if (v.heldInterrupt) v.attention |= Attention.Interrupt;
  if (injection.event != 0 || !(v.attention & Attention.Interrupt) || !interruptible(v)) return Next.Resume;
  if (v.heldInterrupt & HELD) {
    injectInterrupt(injection, v.heldInterrupt & 0xff);
    v.heldInterrupt = 0;
  } else {
    injectInterrupt(injection, acknowledgeInterrupt());
  }
  updateOutput(v);
  return Next.Resume;
}
