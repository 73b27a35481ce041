/**
 * The file for GDB: the kernel's sections as it has them in memory, without contents, its symbols and how its stack is
 * unwound. tools/debug/guest.py reads the section .typevisor.kernel, which says what kernel it is.
 */
import { type Address, digits } from "./address.ts";
import type { Banner } from "./banner.ts";
import { debugFrame } from "./debug-frame.ts";
import { type ElfSection, SectionType, section, writeElf } from "./elf-writer.ts";
import type { KernelSymbol } from "./kallsyms.ts";
import type { OrcEntry } from "./orc.ts";
import { SpecialCode } from "./special-code.ts";
import { symbolTable } from "./symbol-table.ts";
import type { Section } from "./vmlinux.ts";

export interface Kernel {
  sections: Section[];
  /** By address. */
  symbols: KernelSymbol[];
  orc: OrcEntry[];
  banner: Banner;
}

const writable = 1; // SHF_WRITE
const allocated = 2; // SHF_ALLOC
const executable = 4; // SHF_EXECINSTR

/** Where a symbol is; undefined if the kernel has none of this name. */
export function addressOf(symbols: KernelSymbol[], name: string): Address | undefined {
  return symbols.find((symbol) => symbol.name === name)?.address;
}

export function symbolFile({ sections, symbols, orc, banner }: Kernel): Buffer {
  const memory = sections.map((one) => memorySection(one));
  const about = {
    text: `0x${digits(addressOf(symbols, "_text") ?? addressOf(symbols, "_stext")!)}`,
    banner: { address: `0x${digits(banner.address)}`, text: banner.text },
    symbols: symbols.length,
  };
  const code = new SpecialCode(symbols);
  const frames = debugFrame(code.corrected(orc), endOf(sections, orc), (address) => code.isEntry(address));
  return writeElf([
    ...memory,
    ...symbolTable(symbols, sections, memory.length + 1),
    section(".debug_frame", SectionType.ProgBits, frames),
    section(".typevisor.kernel", SectionType.ProgBits, Buffer.from(JSON.stringify(about))),
  ]);
}

function memorySection({ name, address, size, executable: code }: Section): ElfSection {
  const flags = allocated | (code ? executable : writable);
  return { name, type: SectionType.NoBits, flags, address, contents: size, align: 1 };
}

/** The last entry of ORC holds up to the end of its section. */
function endOf(sections: Section[], orc: OrcEntry[]): Address {
  const last = orc.at(-1)?.address ?? 0;
  const inside = sections.find(({ address, size }) => last >= address && last < address + size);
  return inside === undefined ? last : inside.address + inside.size;
}
