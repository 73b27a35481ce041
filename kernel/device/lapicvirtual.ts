/**
 * A local APIC whose processor delivers interrupts by itself, from the page: it moves them from the IRR to the ISR, ends them, and keeps
 * the PPR (SDM Vol. 3C 30.1, Virtual APIC State; 30.2, Evaluation and Delivery of Virtual Interrupts). Nothing of that is known
 * here but what the page says.
 */
import { Lapic, Reg } from "./lapicregister";

/** The highest vector whose bit is set in the eight words at an offset; 0 for none. */
function top(l: Lapic, offset: u32): u32 {
  for (let n: i32 = 7; n >= 0; n--) {
    const word = l.read(offset + n * 16);
    if (word) return n * 32 + 31 - clz(word);
  }
  return 0;
}

/** Which of the eight words at an offset are not 0. */
function wordsOf(l: Lapic, offset: u32): u32 {
  let words: u32 = 0;
  for (let n: u32 = 0; n < 8; n++) if (l.read(offset + n * 16)) words |= 1 << n;
  return words;
}

/** From now on the processor is to see to it: of all that there is it has not been told yet. */
export function startVirtual(l: Lapic): void {
  const s = l.state;
  s.virtual = 1;
  s.levels = 1;
}

/** From now on the processor does not any more. */
export function endVirtual(l: Lapic): void {
  const s = l.state;
  s.virtual = 0;
  s.irrTop = top(l, Reg.IRR);
  s.isrTop = top(l, Reg.ISR);
  s.irrWords = wordsOf(l, Reg.IRR);
  s.isrWords = wordsOf(l, Reg.ISR);
}

export function highestRequested(l: Lapic): u32 {
  return top(l, Reg.IRR);
}

export function highestServing(l: Lapic): u32 {
  return top(l, Reg.ISR);
}

/** Whether the processor would deliver an interrupt to software that lets it (30.2.1, Evaluation of Pending Virtual Interrupts). */
export function isVirtualDue(l: Lapic): bool {
  return top(l, Reg.IRR) >> 4 > max(top(l, Reg.ISR), l.tpr) >> 4;
}

/** Of the vectors 64n to 64n + 63 those that are level-triggered: their end is to be told (30.1.4, EOI Virtualization). */
export function levelTriggered(l: Lapic, n: u32): u64 {
  const at = Reg.TMR + n * 32;
  return (<u64>l.read(at)) | ((<u64>l.read(at + 16)) << 32);
}
