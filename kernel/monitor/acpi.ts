/**
 * The ACPI tables of a VM (ACPI 6.4, 5.2): enough to say where the power-management registers are, how to switch off
 * and how to reset. The machine has no local APIC, so there is no MADT.
 */
import { SLEEP_OFF } from "../device/acpipm";
import * as guest from "../machine/guest";
import { PM_BASE, RESET_PORT, RESET_VALUE } from "./platform";
import { SCI_IRQ } from "./wiring";

const RSDP: u64 = 0;
const XSDT: u64 = 0x40;
const FADT: u64 = 0x100;
const DSDT: u64 = 0x240;
const HEADER: u32 = 36;
const FADT_LENGTH: u32 = 276;

/** IAPC_BOOT_ARCH: legacy devices are there, VGA is not, the keyboard controller is not. */
const BOOT_ARCH: u32 = 0x0005;
/** WBINVD and C1 work; no fixed power and sleep buttons, no fixed RTC wake; 32-bit timer; reset register; headless. */
const FLAGS: u32 = 0x1 | (1 << 2) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 12);

/** AML: Name (_S5_, Package () { SLEEP_OFF, SLEEP_OFF, 0, 0 }) */
const S5: StaticArray<u8> = [0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x08, 0x04, 0x0a, 5, 0x0a, 5, 0x00, 0x00];
const S5_LENGTH: u32 = 14;

function text(at: u64, s: string): void {
  for (let i = 0; i < s.length; i++) guest.store8(at + i, s.charCodeAt(i));
}

function header(at: u64, signature: string, length: u32, revision: u32): void {
  guest.fill(at, 0, length);
  text(at, signature);
  guest.store32(at + 4, length);
  guest.store8(at + 8, revision);
  text(at + 10, "TYPEVI");
  text(at + 16, "TYPEVISO");
  guest.store32(at + 24, 1);
  text(at + 28, "TYPV");
  guest.store32(at + 32, 1);
}

/** Sets the byte at `at` so that `length` bytes from `start` sum to 0. */
function checksum(start: u64, length: u32, at: u64): void {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < length; i++) sum += guest.load8(start + i);
  guest.store8(at, (0x100 - (sum & 0xff)) & 0xff);
}

/** A generic address (5.2.3.2) of so many bytes in I/O space, to be accessed at once. */
function ioRegister(at: u64, bytes: u32, port: u32): void {
  guest.store8(at, 1);
  guest.store8(at + 1, bytes * 8);
  guest.store8(at + 3, bytes == 4 ? 3 : bytes);
  guest.store64(at + 4, port);
}

function writeFadt(base: u64, facs: u64): void {
  const t = base + FADT;
  header(t, "FACP", FADT_LENGTH, 6);
  guest.store32(t + 36, <u32>facs);
  guest.store32(t + 40, <u32>(base + DSDT));
  guest.store16(t + 46, SCI_IRQ);
  guest.store32(t + 56, PM_BASE);
  guest.store32(t + 64, PM_BASE + 4);
  guest.store32(t + 76, PM_BASE + 8);
  guest.store8(t + 88, 4);
  guest.store8(t + 89, 2);
  guest.store8(t + 91, 4);
  guest.store16(t + 96, 0xfff); // no C2, no C3
  guest.store16(t + 98, 0xfff);
  guest.store8(t + 108, 0x32); // the RTC's century
  guest.store16(t + 109, BOOT_ARCH);
  guest.store32(t + 112, FLAGS);
  ioRegister(t + 116, 1, RESET_PORT);
  guest.store8(t + 128, RESET_VALUE);
  guest.store8(t + 131, 4); // minor version
  guest.store64(t + 140, base + DSDT);
  // The same again as generic addresses; the event block's two halves are accessed 16 bits at a time.
  ioRegister(t + 148, 4, PM_BASE);
  ioRegister(t + 172, 2, PM_BASE + 4);
  ioRegister(t + 208, 4, PM_BASE + 8);
  guest.store8(t + 151, 2);
  checksum(t, FADT_LENGTH, t + 9);
}

function writeDsdt(base: u64): void {
  const t = base + DSDT;
  header(t, "DSDT", HEADER + S5_LENGTH, 2);
  for (let i: u32 = 0; i < S5_LENGTH; i++) guest.store8(t + HEADER + i, S5[i]);
  checksum(t, HEADER + S5_LENGTH, t + 9);
}

/**
 * Writes the tables from `base` on, which a guest may reclaim, and the one that it shares with firmware, which it may not
 * (5.2.10, Firmware ACPI Control Structure), at `facs`. Both are 64-byte aligned. Returns the address of the RSDP.
 */
export function writeAcpiTables(base: u64, facs: u64): u64 {
  writeFadt(base, facs);
  writeDsdt(base);
  guest.fill(facs, 0, 64);
  text(facs, "FACS");
  guest.store32(facs + 4, 64);
  guest.store8(facs + 32, 2);

  header(base + XSDT, "XSDT", HEADER + 8, 1);
  guest.store64(base + XSDT + HEADER, base + FADT);
  checksum(base + XSDT, HEADER + 8, base + XSDT + 9);

  guest.fill(base + RSDP, 0, 36);
  text(base + RSDP, "RSD PTR ");
  text(base + RSDP + 9, "TYPEVI");
  guest.store8(base + RSDP + 15, 2);
  guest.store32(base + RSDP + 20, 36);
  guest.store64(base + RSDP + 24, base + XSDT);
  checksum(base + RSDP, 20, base + RSDP + 8);
  checksum(base + RSDP, 36, base + RSDP + 32);
  return base + RSDP;
}

if (SLEEP_OFF != 5) ERROR("the _S5_ package does not say SLEEP_OFF");
