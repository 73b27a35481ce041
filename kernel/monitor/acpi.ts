/**
 * The ACPI tables of a VM (ACPI 6.4, 5.2): where the power-management registers are, how to reset, what devices there are,
 * and which processors and interrupt controllers.
 */
import { HPET_ID } from "../device/hpet";
import { Base } from "../device/lapicregister";
import * as guest from "../machine/guest";
import { writeDefinitions } from "./dsdt";
import { ECAM_BASE, ECAM_SIZE, HPET_BASE, IOAPIC_BASE } from "./mmio";
import { PM_BASE, RESET_PORT, RESET_VALUE } from "./platform";
import { SCI_IRQ, TIMER_INPUT } from "./wiring";
import { checksum, out } from "./writer";

const RSDP: u64 = 0;
const XSDT: u64 = 0x40;
const FADT: u64 = 0x100;
const HPET: u64 = 0x240;
const MCFG: u64 = 0x280;
const MADT: u64 = 0x300;
const DSDT: u64 = 0x800;
const HEADER: u32 = 36;
const FADT_LENGTH: u32 = 276;
const HPET_LENGTH: u32 = 56;
const MCFG_LENGTH: u32 = 60;

/** IAPC_BOOT_ARCH: legacy devices are there, VGA is not, the keyboard controller is not. */
const BOOT_ARCH: u32 = 0x0005;
/** WBINVD and C1 work; no fixed sleep button, no fixed RTC wake; 32-bit timer; reset register; headless. */
const FLAGS: u32 = 0x1 | (1 << 2) | (1 << 5) | (1 << 6) | (1 << 8) | (1 << 10) | (1 << 12);

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
  text(t + 268, "TYPEVISO"); // the hypervisor
  guest.store8(t + 151, 2);
  checksum(t, FADT_LENGTH, t + 9);
}

/** IA-PC HPET Specification 1.0a, 3.2.4, The ACPI 2.0 HPET Description Table. */
function writeHpet(base: u64): void {
  const t = base + HPET;
  header(t, "HPET", HPET_LENGTH, 1);
  guest.store32(t + 36, HPET_ID);
  guest.store8(t + 41, 64);
  guest.store64(t + 44, HPET_BASE);
  // In periodic mode: the least count that loses no interrupts.
  guest.store16(t + 53, 5000);
  checksum(t, HPET_LENGTH, t + 9);
}

/** PCI Firmware Specification 3.2, 4.1.2, MCFG Table Description: segment 0, all its buses. */
function writeMcfg(base: u64): void {
  const t = base + MCFG;
  header(t, "MCFG", MCFG_LENGTH, 1);
  guest.store64(t + 44, ECAM_BASE);
  guest.store8(t + 55, <u32>(ECAM_SIZE >> 20) - 1);
  checksum(t, MCFG_LENGTH, t + 9);
}

function writeDsdt(base: u64): void {
  const t = base + DSDT;
  header(t, "DSDT", HEADER, 2);
  out.at = t + HEADER;
  writeDefinitions();
  const length = <u32>(out.at - t);
  guest.store32(t + 4, length);
  checksum(t, length, t + 9);
}

/** Appends a table to the XSDT. */
function listTable(base: u64, table: u64): void {
  const t = base + XSDT;
  const length = guest.load32(t + 4);
  guest.store64(t + length, table);
  guest.store32(t + 4, length + 8);
  guest.store8(t + 9, 0);
  checksum(t, length + 8, t + 9);
}

/** 5.2.12, Multiple APIC Description Table. */
namespace Madt {
  export const LAPIC: u32 = 0;
  export const IOAPIC: u32 = 1;
  export const OVERRIDE: u32 = 2;
  export const LAPIC_NMI: u32 = 4;
  /** There are 8259s too. */
  export const PCAT_COMPAT: u32 = 1;
  /** 5.2.12.5.1, MPS INTI flags: active high, level-triggered. */
  export const HIGH_LEVEL: u32 = 0xd;
  export const ALL_PROCESSORS: u32 = 0xff;
}

/** An ISA interrupt that comes to an input of another number, or is not edge-triggered (5.2.12.5). Returns where the next entry goes. */
function isaOverride(at: u64, irq: u32, input: u32, flags: u32): u64 {
  guest.store32(at, Madt.OVERRIDE | (10 << 8) | (irq << 24));
  guest.store32(at + 4, input);
  guest.store16(at + 8, flags);
  return at + 10;
}

function writeMadt(base: u64, vcpus: u32): void {
  const t = base + MADT;
  const length: u32 = 44 + vcpus * 8 + 12 + 2 * 10 + 6;
  header(t, "APIC", length, 5);
  guest.store32(t + 36, <u32>Base.DEFAULT);
  guest.store32(t + 40, Madt.PCAT_COMPAT);
  let at = t + 44;
  for (let n: u32 = 0; n < vcpus; n++, at += 8) {
    // The processor's number, its APIC's ID, enabled.
    guest.store32(at, Madt.LAPIC | (8 << 8) | (n << 16) | (n << 24));
    guest.store32(at + 4, 1);
  }
  guest.store32(at, Madt.IOAPIC | (12 << 8));
  guest.store32(at + 4, <u32>IOAPIC_BASE);
  guest.store32(at + 8, 0);
  at = isaOverride(at + 12, 0, TIMER_INPUT, 0);
  at = isaOverride(at, SCI_IRQ, SCI_IRQ, Madt.HIGH_LEVEL);
  // NMIs come to LINT1 of all of them.
  guest.store32(at, Madt.LAPIC_NMI | (6 << 8) | (Madt.ALL_PROCESSORS << 16));
  guest.store16(at + 4, 1 << 8);
  checksum(t, length, t + 9);
}

/**
 * Writes the tables from `base` on, which a guest may reclaim, and the one that it shares with firmware, which it may not
 * (5.2.10, Firmware ACPI Control Structure), at `facs`. Both are 64-byte aligned. Returns the address of the RSDP.
 */
export function writeAcpiTables(base: u64, facs: u64, vcpus: u32): u64 {
  writeFadt(base, facs);
  writeMadt(base, vcpus);
  writeHpet(base);
  writeMcfg(base);
  writeDsdt(base);
  guest.fill(facs, 0, 64);
  text(facs, "FACS");
  guest.store32(facs + 4, 64);
  guest.store8(facs + 32, 2);

  header(base + XSDT, "XSDT", HEADER, 1);
  listTable(base, base + FADT);
  listTable(base, base + MADT);
  listTable(base, base + HPET);
  listTable(base, base + MCFG);

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
