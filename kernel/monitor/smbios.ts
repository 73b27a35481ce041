/**
 * What the machine says of itself to inventory software and to drivers with lists of machines (SMBIOS 3.3, DSP0134): an
 * entry point of 64 bits and one of 32, and the structures that 6.2 requires.
 */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { Gpa } from "../lib/addr";
import * as cpuid from "../machine/cpuid";
import * as guest from "../machine/guest";
import { checksum, out } from "./writer";

/** On 16-byte boundaries of F0000h to FFFFFh, where both are searched for (5.2). */
const ENTRY_64: u64 = 0;
const ENTRY_32: u64 = 0x20;
const TABLE: u64 = 0x100;
const ENTRY_64_LENGTH: u32 = 24;
const ENTRY_32_LENGTH: u32 = 31;
/** Of the 32-bit entry point, where the part with a checksum of its own begins. */
const INTERMEDIATE: u32 = 16;

namespace Type {
  export const Firmware: u32 = 0;
  export const System: u32 = 1;
  export const Chassis: u32 = 3;
  export const Processor: u32 = 4;
  export const MemoryArray: u32 = 16;
  export const MemoryDevice: u32 = 17;
  export const MappedAddress: u32 = 19;
  export const BootInformation: u32 = 32;
  export const End: u32 = 127;
}

const NO_HANDLE: u32 = 0xfffe;
const OTHER: u32 = 1;
const UNKNOWN: u32 = 2;
const SAFE: u32 = 3;
const GIB4: u64 = 0x100000000;


@unmanaged
class Table {
  /** Where the structure that is being written starts, and the largest one so far. */
  start: u64;
  largest: u32;
  count: u32;
  array: u32;
  padding: u32;
}

const table = changetype<Table>(memory.data(24, 8));
const info = changetype<VmInfo>(VM_INFO);
/** EAX, EBX, ECX, EDX of a CPUID leaf. */
const regs = memory.data(16, 4);

/** A structure's header (6.1.2); its handle is its number. */
function begin(type: u32, length: u32): void {
  table.start = out.at;
  out.byte(type).byte(length).word(table.count);
}

/** Behind the formatted part come its strings, numbered from 1, and an empty one. */
function addString(s: string): void {
  out.text(s).byte(0);
}

function end(strings: bool): void {
  if (!strings) out.byte(0);
  out.byte(0);
  table.largest = max(table.largest, <u32>(out.at - table.start));
  table.count++;
}

/** 7.1. ACPI is offered, and this is a virtual machine; there is no ROM whose size means something. */
function firmware(): void {
  begin(Type.Firmware, 26);
  out.byte(1).byte(2).word(0xf000).byte(3).byte(0);
  out
    .qword(1 << 3)
    .byte(0x01)
    .byte(0x10);
  out.byte(0xff).byte(0xff).byte(0xff).byte(0xff).word(0);
  addString("Typevisor");
  addString("1.0");
  addString("01/01/2026");
  end(true);
}

/** 7.2. The UUID is the VM's number, behind what no other maker has (version 8 of RFC 9562). */
function system(): void {
  begin(Type.System, 27);
  out.byte(1).byte(2).byte(3).byte(4);
  out.qword(0x8000697354797065).qword(0x0000000000000080 | ((<u64>bswap<u32>(info.id)) << 32));
  out.byte(6).byte(0).byte(5); // the power switch woke it
  addString("Typevisor");
  addString("Virtual PC");
  addString("1.0");
  addString("Not specified");
  addString("Virtual Machine");
  end(true);
}

/** 7.4. */
function chassis(): void {
  begin(Type.Chassis, 22);
  out.byte(1).byte(OTHER).byte(0).byte(0).byte(0);
  out.byte(SAFE).byte(SAFE).byte(SAFE).byte(UNKNOWN).dword(0);
  out.byte(0).byte(0).byte(0).byte(0).byte(0);
  addString("Typevisor");
  end(true);
}

/** 7.5. One socket, with a core a vCPU. */
function processor(): void {
  cpuid.query(1, 0, regs);
  const signature = load<u32>(regs);
  cpuid.query(0, 0, regs);
  const mhz = <u32>(info.guestTscHz / 1000000);
  begin(Type.Processor, 48);
  out.byte(1).byte(3).byte(UNKNOWN).byte(2);
  out.dword(signature).dword(0).byte(0);
  out.byte(0).word(0).word(mhz).word(mhz).byte(0x41).byte(OTHER); // populated and enabled
  out.word(0xffff).word(0xffff).word(0xffff);
  out.byte(0).byte(0).byte(0);
  out.byte(info.vcpus).byte(info.vcpus).byte(info.vcpus).word(4); // 64-bit capable
  out.word(UNKNOWN).word(info.vcpus).word(info.vcpus).word(info.vcpus);
  addString("CPU 0");
  // The vendor, in CPUID's order: EBX, EDX, ECX.
  out.dword(load<u32>(regs, 4)).dword(load<u32>(regs, 12)).dword(load<u32>(regs, 8)).byte(0);
  end(true);
}

/** Bytes of memory. */
function memorySize(): u64 {
  return info.ramLow + (info.ramHigh - GIB4);
}

/** 7.17. */
function memoryArray(): void {
  const kib = memorySize() >> 10;
  table.array = table.count;
  begin(Type.MemoryArray, 23);
  out.byte(OTHER).byte(3).byte(3); // system memory, without error correction
  out
    .dword(kib < 0x80000000 ? <u32>kib : 0x80000000)
    .word(NO_HANDLE)
    .word(1);
  out.qword(kib < 0x80000000 ? 0 : memorySize());
  end(false);
}

/** 7.18. */
function memoryDevice(): void {
  const mib = <u32>(memorySize() >> 20);
  begin(Type.MemoryDevice, 40);
  out.word(table.array).word(NO_HANDLE).word(64).word(64);
  out
    .word(mib < 0x7fff ? mib : 0x7fff)
    .byte(OTHER)
    .byte(0)
    .byte(1)
    .byte(0);
  out
    .byte(7)
    .word(UNKNOWN << 1)
    .word(0); // RAM
  out.byte(2).byte(0).byte(0).byte(0).byte(0);
  out
    .dword(mib < 0x7fff ? 0 : mib)
    .word(0)
    .word(0)
    .word(0)
    .word(0);
  addString("DIMM 0");
  addString("Typevisor");
  end(true);
}

/** 7.20: [base, end) is the array's. */
function mappedAddress(base: u64, last: u64): void {
  const isShort = last >> 10 < 0xffffffff;
  begin(Type.MappedAddress, 31);
  out.dword(isShort ? <u32>(base >> 10) : 0xffffffff).dword(isShort ? <u32>(last >> 10) : 0xffffffff);
  out.word(table.array).byte(1);
  out.qword(isShort ? 0 : base).qword(isShort ? 0 : last);
  end(false);
}

function structures(): void {
  firmware();
  system();
  chassis();
  processor();
  memoryArray();
  memoryDevice();
  mappedAddress(0, info.ramLow - 1);
  if (info.ramHigh > GIB4) mappedAddress(GIB4, info.ramHigh - 1);
  begin(Type.BootInformation, 11);
  out.dword(0).word(0).byte(0); // no errors
  end(false);
  begin(Type.End, 4);
  end(false);
}

/** 5.2.2. */
function writeEntry64(base: Gpa, size: u32): void {
  const e = base + ENTRY_64;
  out.at = e;
  out.text("_SM3_").byte(0).byte(ENTRY_64_LENGTH).byte(3).byte(3).byte(0).byte(1).byte(0);
  out.dword(size).qword(base + TABLE);
  checksum(e, ENTRY_64_LENGTH, e + 5);
}

/** 5.2.1: for software that is older than the other one. */
function writeEntry32(base: Gpa, size: u32): void {
  const e = base + ENTRY_32;
  out.at = e;
  out.text("_SM_").byte(0).byte(ENTRY_32_LENGTH).byte(2).byte(8).word(table.largest).byte(0).dword(0).byte(0);
  out
    .text("_DMI_")
    .byte(0)
    .word(size)
    .dword(<u32>(base + TABLE))
    .word(table.count)
    .byte(0x28);
  checksum(e + INTERMEDIATE, ENTRY_32_LENGTH - INTERMEDIATE, e + 21);
  checksum(e, ENTRY_32_LENGTH, e + 4);
}

/** Writes all of it from `base` on, a multiple of 16 from F0000h on. */
export function writeSmbios(base: Gpa): void {
  guest.fill(base, 0, TABLE);
  table.count = 0;
  table.largest = 0;
  out.at = base + TABLE;
  structures();
  const size = <u32>(out.at - base - TABLE);
  writeEntry64(base, size);
  writeEntry32(base, size);
}
