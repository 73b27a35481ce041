/**
 * The kernel's own table of symbols, which it has for its reports (written by Linux's scripts/kallsyms). It
 * is found by its structure: every part has to agree with every other one.
 *
 *   before 6.4   offsets, relative_base, num_syms, names, markers, [seqs_of_names,] token_table, token_index
 *   since 6.4    num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names
 */
import { Refusal } from "../../machine/errors.ts";
import { type Address, isKernelAddress, readAddress } from "./address.ts";
import { type TokenTable, align8, findTokenTable } from "./token-table.ts";
import type { Segment, Vmlinux } from "./vmlinux.ts";

export interface KernelSymbol {
  name: string;
  /** As nm writes it: t or T for code, and so on; a capital letter for a global symbol. */
  type: string;
  address: Address;
}

/** The symbols in the order of their addresses, per-CPU ones first; or a refusal that begins with `name`. */
export function readKallsyms(name: string, kernel: Vmlinux): KernelSymbol[] {
  for (const segment of kernel.segments) {
    const tokens = findTokenTable(segment.bytes);
    if (tokens !== undefined) return readTables(name, kernel, segment, tokens);
  }
  throw new Refusal(
    `${name}: no table of symbols in the kernel: no kallsyms_token_table with its index found (CONFIG_KALLSYMS)`,
  );
}

function readTables(name: string, kernel: Vmlinux, { bytes }: Segment, tokens: TokenTable): KernelSymbol[] {
  const names = findNames(bytes, tokens);
  if (names === undefined) {
    throw new Refusal(
      `${name}: the kernel's table of symbols is damaged: no kallsyms_num_syms and kallsyms_names that agree with kallsyms_markers`,
    );
  }
  const { count, at } = names;
  for (const offsetsAt of [tokens.end, at - 16 - align8(count * 4)]) {
    const addresses = readAddresses(bytes, count, offsetsAt);
    if (addresses === undefined) continue;
    const symbols = expandNames(bytes, tokens.tokens, at, addresses);
    if (isKernels(kernel, symbols)) return symbols;
  }
  throw new Refusal(
    `${name}: the kernel's table of symbols is damaged: no kallsyms_offsets and kallsyms_relative_base with ${count} rising addresses and _text in its code`,
  );
}

function isKernels({ segments }: Vmlinux, symbols: KernelSymbol[]): boolean {
  const text = symbols.find((symbol) => symbol.name === "_text" || symbol.name === "_stext")?.address;
  const inCode = ({ address, size, executable }: Segment): boolean =>
    executable && text !== undefined && text >= address && text < address + size;
  return segments.some(inCode) && symbols.every(({ type, name }) => /^[A-Za-z?]$/.test(type) && name !== "");
}

/** Where kallsyms_names begins, and how many it has. */
interface Names {
  at: number;
  count: number;
}

/** There is a marker, the offset of the name, for the first of so many names. */
const namesPerMarker = 256;

/** kallsyms_num_syms can be any eight bytes in front of the tokens: the one is right that the markers agree with. */
function findNames(bytes: Buffer, tokens: TokenTable): Names | undefined {
  for (let at = tokens.start - 8; at >= 0; at -= 8) {
    const count = bytes.readUInt32LE(at);
    if (count === 0 || count >= tokens.start || bytes.readUInt32LE(at + 4) !== 0) continue;
    const markers = tokens.start - align8(Math.ceil(count / namesPerMarker) * 4);
    const sequence = align8(count * 3); // kallsyms_seqs_of_names, there only in 6.2 and 6.3
    if (agree(bytes, at + 8, count, markers) || agree(bytes, at + 8, count, markers - sequence)) {
      return { at: at + 8, count };
    }
  }
  return undefined;
}

/** Whether `count` names from `at` on reach exactly to the markers, and begin where those say. */
function agree(bytes: Buffer, at: number, count: number, markers: number): boolean {
  let name = at;
  for (let i = 0; i < count; i++) {
    if (i % namesPerMarker === 0) {
      if (name >= markers || bytes.readUInt32LE(markers + (i / namesPerMarker) * 4) !== name - at)
        return false;
    }
    name = nameEnd(bytes, name);
    if (name > markers) return false;
  }
  return align8(name) === markers && bytes.subarray(name, markers).every((padding) => padding === 0);
}

/** Kernels since 6.1 have names longer than 127 tokens: their length is in two bytes. */
function nameStart(bytes: Buffer, at: number): number {
  return (bytes[at]! & 0x80) !== 0 ? at + 2 : at + 1;
}

/** Behind the name at `at`; an empty name, which there is not, never ends. */
function nameEnd(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  const length = (first & 0x80) !== 0 ? (first & 0x7f) | (bytes[at + 1]! << 7) : first;
  return length === 0 ? Infinity : nameStart(bytes, at) + length;
}

/**
 * The addresses, if there is a table of them at `at`: offsets of 32 bits, and the base behind them. In a kernel with
 * CONFIG_KALLSYMS_ABSOLUTE_PERCPU, offsets from 0 up are addresses themselves (of per-CPU variables, which come
 * first), and negative ones count from the base, -1 being the base itself. In others, all are added to the base.
 */
function readAddresses(bytes: Buffer, count: number, at: number): Address[] | undefined {
  const baseAt = at + align8(count * 4);
  if (at < 0 || baseAt + 8 > bytes.length) return undefined;
  const base = readAddress(bytes, baseAt);
  if (!isKernelAddress(base)) return undefined;
  const offsets = Array.from({ length: count }, (_, i) => bytes.readInt32LE(at + i * 4));
  const absolute = offsets.some((offset) => offset < 0);
  const addresses = offsets.map((offset) => (!absolute || offset < 0 ? base + distance(offset) : offset));
  return addresses.every((address, i) => isKernelAddress(address) || (absolute && address === offsets[i])) &&
    addresses.every((address, i) => i === 0 || rises(addresses[i - 1]!, address))
    ? addresses
    : undefined;
}

function distance(offset: number): number {
  return offset < 0 ? -1 - offset : offset;
}

/** As unsigned numbers: from small addresses to the kernel's. */
function rises(from: Address, to: Address): boolean {
  return from < 0 === to < 0 ? from <= to : to < 0;
}

function expandNames(bytes: Buffer, tokens: string[], at: number, addresses: Address[]): KernelSymbol[] {
  let name = at;
  return addresses.map((address) => {
    const end = nameEnd(bytes, name);
    let text = "";
    for (let i = nameStart(bytes, name); i < end; i++) text += tokens[bytes[i]!]!;
    name = end;
    return { type: text.slice(0, 1), name: text.slice(1), address };
  });
}
