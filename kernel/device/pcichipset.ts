/**
 * The chipset as PCI functions: the host bridge of a Q35 (Intel 3 Series Express Chipset datasheet, 5) and the ISA bridge
 * of an ICH9 (Intel I/O Controller Hub 9 datasheet, 13.1), as far as operating systems look. What software cannot move
 * here is read-only.
 */
import { addFunction, configMask, configSpace } from "./pciconfig";

export const HOST_BRIDGE: u32 = 0x00;
/** Device 31, function 0. */
export const ISA_BRIDGE: u32 = 0xf8;
const HOST_ID: u32 = 0x29c08086;
const HOST_KIND: u32 = 0x06000002;
const ISA_ID: u32 = 0x29188086;
const ISA_KIND: u32 = 0x06010002;

namespace Host {
  /** Base of the memory that has configuration space; bits 2:1 are 0 for 256 MiB, bit 0 for "on". */
  export const PCIEXBAR: u32 = 0x60;
}

namespace Isa {
  export const PMBASE: u32 = 0x40;
  /** Bit 7: ACPI's ports are on; bits 2:0 are 0 for interrupt 9. */
  export const ACPI_CNTL: u32 = 0x44;
  /** A byte each of PIRQA to PIRQD, and of PIRQE to PIRQH. Bits 3:0: the ISA interrupt; bit 7: none. */
  export const PIRQA: u32 = 0x60;
  export const SERIRQ: u32 = 0x64;
  export const PIRQE: u32 = 0x68;
  /** Bit 0: the first serial port's. */
  export const LPC_EN: u32 = 0x82;
}
/** As firmware has them: interrupts 10 and 11 in turn. ACPI's _PRT (monitor/dsdt.ts) says so too. */
const PIRQ_ROUTES: u32 = 0x0b0a0b0a;
const PIRQ_MASK: u32 = 0x8f8f8f8f;
export const PIRQ_EVEN: u32 = PIRQ_ROUTES & 15;
export const PIRQ_ODD: u32 = (PIRQ_ROUTES >> 8) & 15;

/** Which of PIRQA to PIRQD the pin (0 to 3) of a slot on bus 0 is wired to. */
export function pirqOf(slot: u32, pin: u32): u32 {
  return (slot + pin) & 3;
}

const COMMAND: u32 = 0x04;

/** What a bridge does cannot be turned off: its command register only reads. */
function fixCommand(n: u32, value: u32): void {
  store<u16>(configSpace(n), <u16>value, COMMAND);
  store<u16>(configMask(n), 0, COMMAND);
}

export function addChipset(ecam: u64, pmBase: u32): void {
  const host = addFunction(HOST_BRIDGE, HOST_ID, HOST_KIND);
  fixCommand(host, 6);
  store<u64>(configSpace(host), ecam | 1, Host.PCIEXBAR);

  const isa = addFunction(ISA_BRIDGE, ISA_ID, ISA_KIND);
  const space = configSpace(isa);
  fixCommand(isa, 7);
  store<u32>(space, pmBase | 1, Isa.PMBASE);
  store<u8>(space, 0x80, Isa.ACPI_CNTL);
  store<u32>(space, PIRQ_ROUTES, Isa.PIRQA);
  store<u32>(space, PIRQ_ROUTES, Isa.PIRQE);
  store<u32>(configMask(isa), PIRQ_MASK, Isa.PIRQA);
  store<u32>(configMask(isa), PIRQ_MASK, Isa.PIRQE);
  store<u8>(space, 0x10, Isa.SERIRQ);
  store<u16>(space, 1, Isa.LPC_EN);
}
