/** What the checks of a VM entry share: the rule that does not hold, and what they need of the VMCS and the CPU. */
import { bit, bits } from "../lib/bits";
import * as cpuid from "../machine/cpuid";
import { read } from "../machine/vmx";
import { Rflags } from "../x86/cr";
import { Entry } from "./control";
import * as F from "./field";

/** An event is to be delivered. */
export const VALID: u64 = 0x80000000;


@unmanaged
export class Check {
  rule: string | null;
  long: u32;
  virtual8086: u32;
  /** Bits of an address that this CPU has (SDM Vol. 2A, CPUID leaf 80000008h). */
  physicalBits: u32;
  linearBits: u32;
  /** The debug registers are loaded at the entry, and so checked. */
  debugControls: u32;
  hasSgx: u32;
  hasRtm: u32;
  /** Bits of CR3 that linear-address masking takes out of the address. */
  cr3Masks: u64;
  cr0: u64;
  cr4: u64;
  efer: u64;
  rflags: u64;
  debugctl: u64;
  /** The event to deliver. */
  event: u64;
}

export const check = changetype<Check>(memory.data(96, 8));
const regs = memory.data(16, 4);

/** Notes the first rule that does not hold. */
export function must(holds: bool, rule: string): void {
  if (!holds && check.rule == null) check.rule = rule;
}

/** Whether all bits from `n` on are the same. */
export function isExtended(address: u64, n: u32): bool {
  const top = (<i64>address) >> n;
  return top == 0 || top == -1;
}

/** By the width that the CPU has, whatever the guest's CR4.LA57 says. */
export function isCanonical(address: u64): bool {
  return isExtended(address, check.linearBits - 1);
}

/** Types of events (25.8.3, VM-Entry Controls for Event Injection). */
export const EXTERNAL: u64 = 0;
export const NMI: u64 = 2;
export const HARDWARE_EXCEPTION: u64 = 3;
export const OTHER: u64 = 7;

/** Whether an event of this type (25.8.3) is to be delivered. */
export function delivers(type: u64): bool {
  return (check.event & VALID) != 0 && bits(check.event, 10, 8) == type;
}

/** Parts of a segment register, by its number. */
export function rights(n: u32): u64 {
  return read(F.GUEST_ES_RIGHTS.encoding + n * 2);
}
export function limit(n: u32): u64 {
  return read(F.GUEST_ES_LIMIT.encoding + n * 2);
}
export function base(n: u32): u64 {
  return read(F.GUEST_ES_BASE.encoding + n * 2);
}
export function selector(n: u32): u64 {
  return read(F.GUEST_ES_SELECTOR.encoding + n * 2);
}

export const CS: u32 = 1;
export const SS: u32 = 2;
export const LDTR: u32 = 6;
export const TR: u32 = 7;

/** What the checks must know of this CPU. */
function lookAtCpu(): void {
  cpuid.query(0x80000000, 0, regs);
  const hasSizes = load<u32>(regs) >= 0x80000008;
  cpuid.query(0x80000008, 0, regs);
  const sizes = load<u32>(regs);
  // Without the leaf: the widths of the CPUs that came before it (SDM Vol. 3A 4.1.4).
  check.physicalBits = hasSizes ? sizes & 0xff : 36;
  check.linearBits = hasSizes ? (sizes >> 8) & 0xff : 48;
  cpuid.query(7, 0, regs);
  const features = load<u32>(regs, 4);
  check.hasSgx = (features >> 2) & 1;
  check.hasRtm = (features >> 11) & 1;
  const subleaves = load<u32>(regs);
  cpuid.query(7, 1, regs);
  const hasMasking = subleaves >= 1 && bit(load<u32>(regs), 26);
  check.cr3Masks = hasMasking ? (<u64>3) << 61 : 0;
}

/** Reads what the checks need. */
export function startCheck(): void {
  const controls = read(F.ENTRY_CONTROLS.encoding);
  check.rule = null;
  check.long = controls & Entry.IA32E_GUEST ? 1 : 0;
  check.debugControls = controls & Entry.LOAD_DEBUG_CONTROLS ? 1 : 0;
  check.rflags = read(F.GUEST_RFLAGS.encoding);
  check.virtual8086 = check.rflags & Rflags.VM ? 1 : 0;
  check.cr0 = read(F.GUEST_CR0.encoding);
  check.cr4 = read(F.GUEST_CR4.encoding);
  check.efer = read(F.GUEST_EFER.encoding);
  check.debugctl = read(F.GUEST_DEBUGCTL.encoding);
  check.event = read(F.ENTRY_INTERRUPTION.encoding);
  lookAtCpu();
}
