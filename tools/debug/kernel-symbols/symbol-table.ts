/** The kernel's symbols as an ELF symbol table. */
import { type Address, isKernelAddress, writeAddress } from "./address.ts";
import { type ElfSection, SectionType, section, stringTable } from "./elf-writer.ts";
import type { KernelSymbol } from "./kallsyms.ts";
import type { Section } from "./vmlinux.ts";

const symbolSize = 24;
const absolute = 0xfff1; // SHN_ABS: not moved with the kernel
const object = 1; // STT_OBJECT
const func = 2; // STT_FUNC
const enum Binding {
  Local,
  Global,
  Weak,
}

/**
 * .symtab and .strtab, which are to be the file's sections `index` and `index` + 1; `sections` are its sections from 1
 * on. A symbol belongs to the last section that begins at or before it, as those do that mark a section's end.
 */
export function symbolTable(
  symbols: KernelSymbol[],
  sections: Section[],
  index: number,
): [ElfSection, ElfSection] {
  const bindings = symbols.map(bindingOf);
  const locals = symbols.filter((_, i) => bindings[i] === Binding.Local);
  const others = symbols.filter((_, i) => bindings[i] !== Binding.Local);
  const ordered = [...locals, ...others]; // as ELF demands
  const strings = stringTable(ordered.map(({ name }) => name));
  const sizeOf = sizes(symbols, sections);
  const table = Buffer.alloc((ordered.length + 1) * symbolSize);
  ordered.forEach((symbol, i) => {
    const entry = table.subarray((i + 1) * symbolSize);
    const at = sectionOf(sections, symbol.address);
    const type = at !== undefined && isCode(symbol, sections[at]!) ? func : object;
    entry.writeUInt32LE(strings.offsets[i]!, 0);
    entry.writeUInt8((bindingOf(symbol) << 4) | type, 4);
    entry.writeUInt16LE(at === undefined ? absolute : at + 1, 6);
    writeAddress(entry, symbol.address, 8);
    entry.writeBigUInt64LE(BigInt(sizeOf.get(symbol.address)!), 16);
  });
  return [
    {
      ...section(".symtab", SectionType.SymTab, table),
      link: index + 1,
      info: locals.length + 1,
      entrySize: symbolSize,
    },
    section(".strtab", SectionType.StrTab, strings.bytes),
  ];
}

function bindingOf({ type }: KernelSymbol): Binding {
  if (/[wv]/i.test(type)) return Binding.Weak;
  return type === type.toLowerCase() ? Binding.Local : Binding.Global;
}

function isCode({ type }: KernelSymbol, { executable }: Section): boolean {
  return /t/i.test(type) || (/w/i.test(type) && executable);
}

function sectionOf(sections: Section[], address: Address): number | undefined {
  if (!isKernelAddress(address)) return undefined;
  const next = sections.findIndex((one) => one.address > address);
  const at = (next < 0 ? sections.length : next) - 1;
  return at < 0 ? undefined : at;
}

/** A symbol reaches up to the next one with another address, within its section; symbols are sorted by address. */
function sizes(symbols: KernelSymbol[], sections: Section[]): Map<Address, number> {
  const addresses = [...new Set(symbols.map(({ address }) => address))];
  return new Map(
    addresses.map((address, i) => {
      const at = sectionOf(sections, address);
      const next = addresses[i + 1] ?? address;
      if (at === undefined) return [address, isKernelAddress(next) ? 0 : next - address];
      const { address: start, size } = sections[at]!;
      const end = i + 1 < addresses.length ? Math.min(next, start + size) : start + size;
      return [address, Math.max(0, end - address)];
    }),
  );
}
