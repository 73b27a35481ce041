/**
 * An ELF file by Xen's PVH protocol (xen: docs/misc/pvh.pandoc; public/arch-x86/hvm/start_info.h): it is entered where its
 * note says, and told where memory, initrd, command line and ACPI's root pointer are.
 */
import { LoadError } from "../abi/stop";
import * as guest from "../machine/guest";
import { Vcpu } from "../vcpu/vcpu";
import { elf, readElf, readPvhNote } from "./elf";
import {
  CODE_32,
  COMMAND_LINE,
  START_INFO,
  info,
  makeMemoryMap,
  region,
  writeFirmwareTables,
  writeCommandLine,
  writeGdt,
} from "./layout";
import { isInPart } from "./parts";
import { startProtected } from "./protected";

const MAGIC: u32 = 0x336ec578;
const VERSION: u32 = 1;
const MODULES: u64 = START_INFO + 0x40;
const MEMORY_MAP: u64 = START_INFO + 0x100;

export function preparePvh(): u32 {
  let why = readPvhNote();
  if (why != LoadError.None) return why;
  if (elf.pvhEntry == 0) return elf.is64 ? LoadError.NoPvhEntry : LoadError.NoEntry32;
  why = readElf();
  if (why != LoadError.None) return why;
  if (!isInPart(elf.pvhEntry)) return LoadError.EntryOutside;
  writeStartInfo();
  writeGdt(CODE_32);
  return LoadError.None;
}

/** struct hvm_start_info, hvm_modlist_entry and hvm_memmap_table_entry. */
function writeStartInfo(): void {
  guest.fill(START_INFO, 0, 4096);
  guest.store32(START_INFO, MAGIC);
  guest.store32(START_INFO + 4, VERSION);
  if (info.initrdSize > 0) {
    guest.store32(START_INFO + 12, 1);
    guest.store64(START_INFO + 16, MODULES);
    guest.store64(MODULES, info.initrdAddress);
    guest.store64(MODULES + 8, info.initrdSize);
  }
  writeCommandLine();
  guest.store64(START_INFO + 24, COMMAND_LINE);
  guest.store64(START_INFO + 32, writeFirmwareTables());
  const entries = makeMemoryMap();
  guest.store64(START_INFO + 40, MEMORY_MAP);
  guest.store32(START_INFO + 48, entries);
  for (let n: u32 = 0; n < entries; n++) {
    const entry = MEMORY_MAP + n * 24;
    const r = region(n);
    guest.store64(entry, r.base);
    guest.store64(entry + 8, r.end - r.base);
    guest.store32(entry + 16, r.kind);
  }
}

export function startPvh(v: Vcpu): void {
  startProtected(v, elf.pvhEntry);
}
