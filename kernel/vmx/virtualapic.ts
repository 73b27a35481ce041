/**
 * Root's side of APIC virtualization (SDM Vol. 3C 30, APIC Virtualization and Virtual Interrupts): which registers of an x2APIC a guest has
 * without exits, and the controls that make them the virtual-APIC page's and not the host's.
 */
import { Hpa } from "../lib/addr";
import { passMsr } from "./bitmap";
import * as vmx from "../machine/vmx";
import * as Msr from "../x86/msr";
import { capability } from "./capability";
import { Secondary } from "./control";
import * as F from "./field";

/** Registers, by their numbers (SDM Vol. 3A table 11-6, Local APIC Register Address Map Supported by x2APIC). */
namespace X2 {
  export const ID: u32 = 0x02;
  export const VERSION: u32 = 0x03;
  export const TPR: u32 = 0x08;
  export const PPR: u32 = 0x0a;
  export const EOI: u32 = 0x0b;
  export const LDR: u32 = 0x0d;
  export const SVR: u32 = 0x0f;
  /** ISR, TMR, IRR, eight each, and the ESR. */
  export const ISR: u32 = 0x10;
  export const ESR: u32 = 0x28;
  /** The LVT without CMCI, and the timer's initial count behind it. */
  export const LVT_TIMER: u32 = 0x32;
  export const TIMER_INITIAL: u32 = 0x38;
  export const TIMER_DIVIDE: u32 = 0x3e;
  export const SELF_IPI: u32 = 0x3f;
}

function pass(half: Hpa, register: u32): void {
  passMsr(half, Msr.X2APIC_BASE + register);
}

/**
 * What the CPU itself makes of an x2APIC's registers (30.5, Virtualizing MSR-Based APIC Accesses). RDMSR takes 64 bits from the page
 * and refuses nothing: only what can be read, and is there as it is read, passes. That is neither the ICR, whose halves are apart, nor the timer's
 * count, nor PPR while nobody keeps it.
 */
export function passX2apic(page: Hpa, registers: bool, interrupts: bool): void {
  const write = page + 2048;
  pass(page, X2.TPR);
  pass(write, X2.TPR);
  if (interrupts) {
    pass(write, X2.EOI);
    pass(write, X2.SELF_IPI);
  }
  if (!registers) return;
  pass(page, X2.ID);
  pass(page, X2.VERSION);
  if (interrupts) pass(page, X2.PPR);
  pass(page, X2.LDR);
  pass(page, X2.SVR);
  for (let n = X2.ISR; n <= X2.ESR; n++) pass(page, n);
  for (let n = X2.LVT_TIMER; n <= X2.TIMER_INITIAL; n++) pass(page, n);
  pass(page, X2.TIMER_DIVIDE);
}

/**
 * What the CPU does of the local APIC of the vCPU whose VMCS is current. `msrBitmap` passes the registers in question: without "virtualize
 * x2APIC mode" they would be the host's.
 */
export function setApic(msrBitmap: Hpa, x2: bool, registers: bool, interrupts: bool): void {
  vmx.write(F.MSR_BITMAP.encoding, msrBitmap);
  vmx.write(
    F.SECONDARY_CONTROLS.encoding,
    capability.secondary |
      ((<u32>vmx.read(F.SECONDARY_CONTROLS.encoding)) & Secondary.USE_TSC_SCALING) |
      (x2 ? Secondary.VIRTUALIZE_X2APIC_MODE : 0) |
      (registers ? Secondary.APIC_REGISTER_VIRTUALIZATION : 0) |
      (interrupts ? Secondary.VIRTUAL_INTERRUPT_DELIVERY : 0),
  );
}

/** No virtual interrupts, and none whose end exits. The monitor goes on from there. */
export function clearInterrupts(): bool {
  return (
    vmx.write(F.GUEST_INTERRUPT_STATUS.encoding, 0) &&
    vmx.write(F.EOI_EXITS_0.encoding, 0) &&
    vmx.write(F.EOI_EXITS_1.encoding, 0) &&
    vmx.write(F.EOI_EXITS_2.encoding, 0) &&
    vmx.write(F.EOI_EXITS_3.encoding, 0)
  );
}
