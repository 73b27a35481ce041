/** The DSDT: the devices that no bus tells of, by what ACPI drivers look for (ACPI 6.4, 5.2.11.1 and 6.1). */
import { SLEEP_OFF } from "../device/acpipm";
import { PIRQ_EVEN, PIRQ_ODD, pirqOf } from "../device/pcichipset";
import { Gpa } from "../lib/addr";
import {
  ARG0,
  close,
  closeBuffer,
  dwordField,
  equal,
  integer,
  named,
  namedId,
  namedInteger,
  notEqual,
  openBuffer,
  openDevice,
  openElse,
  openIf,
  openMethod,
  openPackage,
  openScope,
  name,
  returnName,
  returnTerm,
  setBits,
  storeInteger,
  storeTerm,
} from "./aml";
import { ECAM_BASE, ECAM_SIZE, HPET_BASE, HPET_SIZE } from "./mmio";
import { PM_BASE } from "./platform";
import {
  busNumbers,
  closeResources,
  io,
  ioWindow,
  irq,
  memoryFixed,
  memoryWindow,
  openResources,
} from "./resource";
import { out } from "./writer";

/** No interrupt. */
const NONE: u32 = 16;
const ARG1: u32 = ARG0 + 1;
const ARG3: u32 = ARG0 + 3;

/** Slots of bus 0 that have devices with interrupts: all but the host bridge's. */
const FIRST_SLOT: u32 = 1;
const SLOTS: u32 = 31;
const PINS: u32 = 4;
/** The inputs of an I/O APIC that PIRQA and those behind it go to. */
const PIRQ_GSI: u32 = 16;

/** Of _OSC's first word (6.2.11): the UUID is unknown, the revision is, something was asked for and not given. */
const OSC_UUID: u32 = 4;
const OSC_REVISION: u32 = 8;
const OSC_MASKED: u32 = 0x10;

function device(s: string, id: string): Gpa {
  const start = openDevice(s);
  namedId("_HID", id);
  return start;
}

function simpleDevice(s: string, id: string, port: u32, count: u32, line: u32): void {
  const start = device(s, id);
  const resources = openResources();
  io(port, count);
  if (line != NONE) irq(line);
  closeResources(resources);
  close(start);
}

/** The interrupt of each slot's pins: in the 8259s' mode, or in the I/O APIC's (6.2.13, _PRT). */
function routes(s: string, apic: bool): void {
  named(s);
  const all = openPackage(SLOTS * PINS);
  for (let i: u32 = 0; i < SLOTS * PINS; i++) {
    const slot = FIRST_SLOT + i / PINS;
    const pirq = pirqOf(slot, i % PINS);
    const one = openPackage(4);
    integer((slot << 16) | 0xffff);
    integer(i % PINS);
    integer(0);
    integer(apic ? PIRQ_GSI + pirq : pirq & 1 ? PIRQ_ODD : PIRQ_EVEN);
    close(one);
  }
  close(all);
}

function routing(): void {
  routes("PRTP", false);
  routes("PRTA", true);
  const method = openMethod("_PRT", 0);
  const inApicMode = openIf();
  name("PICF");
  returnName("PRTA");
  close(inApicMode);
  returnName("PRTP");
  close(method);
}

/** 33DB4D5B-1FF7-401C-9657-7441C03DD766: PCI host bridges (PCI Firmware Specification 3.2, 4.5.1), in a UUID's order. */
function hostBridgeUuid(): void {
  const buffer = openBuffer();
  out.qword(0x401c1ff733db4d5b).qword(0x66d73dc041745796);
  closeBuffer(buffer);
}

/**
 * _OSC (6.2.11): an operating system asks for the control of features that bridges of PCI Express have. There are no such
 * bridges, so it gets nothing of what it asks for.
 */
function capabilities(): void {
  const method = openMethod("_OSC", 4);
  dwordField(ARG3, 0, "CDW1");
  const known = openIf();
  equal(ARG0);
  hostBridgeUuid();
  dwordField(ARG3, 8, "CDW3");
  const revision = openIf();
  notEqual(ARG1);
  integer(1);
  setBits("CDW1", OSC_REVISION);
  close(revision);
  const masked = openIf();
  name("CDW3");
  setBits("CDW1", OSC_MASKED);
  storeInteger(0, "CDW3");
  close(masked);
  close(known);
  const unknown = openElse();
  setBits("CDW1", OSC_UUID);
  close(unknown);
  returnTerm(ARG3);
  close(method);
}

function isaDevices(): void {
  const isa = openDevice("ISA_");
  namedInteger("_ADR", 0x1f0000);
  simpleDevice("PIC_", "PNP0000", 0x20, 2, 2);
  simpleDevice("TIMR", "PNP0100", 0x40, 4, 0);
  simpleDevice("RTC_", "PNP0B00", 0x70, 2, 8);
  simpleDevice("SPKR", "PNP0800", 0x61, 1, NONE);
  const uart = device("COM1", "PNP0501");
  namedInteger("_UID", 1);
  const resources = openResources();
  io(0x3f8, 8);
  irq(4);
  closeResources(resources);
  close(uart);
  close(isa);
}

/** Between and around what the bridge's own registers are: PCI's ports, its memory below and above configuration space. */
function rootBridge(): void {
  const root = device("PCI0", "PNP0A08");
  namedId("_CID", "PNP0A03");
  namedInteger("_UID", 0);
  namedInteger("_BBN", 0);
  namedInteger("_SEG", 0);
  const resources = openResources();
  busNumbers(0, 255);
  io(0xcf8, 8);
  ioWindow(0, 0xcf7);
  ioWindow(0xd00, 0xffff);
  memoryWindow(0xc0000000, <u32>ECAM_BASE - 1);
  memoryWindow(<u32>(ECAM_BASE + ECAM_SIZE), 0xfebfffff);
  closeResources(resources);
  capabilities();
  routing();
  isaDevices();
  close(root);
}

function hpet(): void {
  const start = device("HPET", "PNP0103");
  namedInteger("_UID", 0);
  const resources = openResources();
  memoryFixed(HPET_BASE, HPET_SIZE);
  closeResources(resources);
  close(start);
}

/** What is nobody's to give out: configuration space among it (PCI Firmware Specification 3.2, 4.1.2). */
function motherboard(): void {
  const start = device("MBRD", "PNP0C02");
  const resources = openResources();
  io(0x80, 1);
  io(0xa0, 2);
  io(0x4d0, 2);
  io(PM_BASE, 0x80);
  memoryFixed(ECAM_BASE, ECAM_SIZE);
  closeResources(resources);
  close(start);
}

/** Which interrupt controllers the operating system uses: 0 the 8259s, 1 the I/O APIC (5.8.1, _PIC). */
function interruptMode(): void {
  namedInteger("PICF", 0);
  const method = openMethod("_PIC", 1);
  storeTerm(ARG0, "PICF");
  close(method);
}

function sleepStates(): void {
  named("_S5_");
  const values = openPackage(4);
  integer(SLEEP_OFF);
  integer(SLEEP_OFF);
  integer(0);
  integer(0);
  close(values);
}

/** The definition block behind the table's header, to `out`. */
export function writeDefinitions(): void {
  interruptMode();
  sleepStates();
  const bus = openScope("\\_SB_");
  rootBridge();
  hpet();
  motherboard();
  close(bus);
}
