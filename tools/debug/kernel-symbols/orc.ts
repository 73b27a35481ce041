/**
 * The kernel's unwind tables (linux: Documentation/arch/x86/orc-unwinder.rst, arch/x86/include/asm/orc_types.h):
 * .orc_unwind_ip has an address, relative to where it is, for every entry of six bytes in .orc_unwind.
 */
import { Refusal } from "../../machine/errors.ts";
import { type Address, isKernelAddress } from "./address.ts";
import type { KernelSymbol } from "./kallsyms.ts";
import { type Vmlinux, bytesAt } from "./vmlinux.ts";

/** What an address is relative to. */
export enum Base {
  Undefined,
  PreviousSp,
  Dx,
  Di,
  Bp,
  Sp,
  R10,
  R13,
  BpIndirect,
  SpIndirect,
}

export enum Frame {
  /** Nothing is known of the frame. */
  Unknown,
  /** The frame has no caller. */
  Outermost,
  /** The caller pushed its return address. */
  Call,
  /** The interrupted registers are on the stack, a struct pt_regs. */
  Registers,
  /** Only what the processor pushed of them is there. */
  PartialRegisters,
}

/** How the frame of the code from `address` on, up to the next entry's, is laid out. */
export interface OrcEntry {
  address: Address;
  frame: Frame;
  spBase: Base;
  spOffset: number;
  bpBase: Base;
  bpOffset: number;
}

const entrySize = 6;

/** The entries by address, one for each; none if the kernel unwinds otherwise (by frame pointers). */
export function readOrc(
  name: string,
  kernel: Vmlinux,
  symbols: KernelSymbol[],
  version: [number, number],
): OrcEntry[] {
  const ip = findTable(name, kernel, symbols, "orc_unwind_ip");
  const orc = findTable(name, kernel, symbols, "orc_unwind");
  if (ip === undefined && orc === undefined) return [];
  if (ip === undefined || orc === undefined || ip.bytes.length / 4 !== orc.bytes.length / entrySize) {
    const sizes = `${ip?.bytes.length ?? 0} and ${orc?.bytes.length ?? 0} bytes`;
    throw new Refusal(`${name}: the kernel's unwind tables have ${sizes}, expected 4 and 6 for each entry`);
  }
  const entries: OrcEntry[] = [];
  for (let i = 0; i < ip.bytes.length / 4; i++) {
    const address = ip.address + i * 4 + ip.bytes.readInt32LE(i * 4);
    const entry = decodeEntry(orc.bytes.subarray(i * entrySize, (i + 1) * entrySize), address, version);
    if (entry === undefined || !isKernelAddress(address)) {
      const format = `Linux ${version.join(".")}`;
      throw new Refusal(
        `${name}: entry ${i} of the kernel's unwind tables is none in the format of ${format}`,
      );
    }
    entries.push(entry);
  }
  return oneForEach(entries);
}

interface Table {
  address: Address;
  bytes: Buffer;
}

/** The kernel finds its tables by symbols; they may be left out of kallsyms, but not out of the section headers too. */
function findTable(name: string, kernel: Vmlinux, symbols: KernelSymbol[], table: string): Table | undefined {
  const start = symbols.find((symbol) => symbol.name === `__start_${table}`)?.address;
  const stop = symbols.find((symbol) => symbol.name === `__stop_${table}`)?.address;
  const section = kernel.sections.find((one) => one.name === `.${table}`);
  const address = start ?? section?.address;
  if (address === undefined) return undefined;
  const size =
    start !== undefined && stop !== undefined ? stop - start : start === undefined ? section!.size : -1;
  const bytes = size < 0 ? undefined : bytesAt(kernel, address, size);
  if (bytes === undefined) {
    throw new Refusal(`${name}: the kernel's unwind table ${table} does not lie within the file`);
  }
  return size === 0 ? undefined : { address, bytes };
}

/** The last two bytes are fields of bits, of which each of three formats has others. */
function decodeEntry(bytes: Buffer, address: Address, version: [number, number]): OrcEntry | undefined {
  const flags = bytes.readUInt16LE(4);
  const spBase: Base = flags & 0xf;
  const bpBase: Base = (flags >> 4) & 0xf;
  const frame = decodeFrame(flags >> 8, spBase, version);
  if (frame === undefined || spBase > Base.SpIndirect || bpBase > Base.SpIndirect) return undefined;
  return { address, frame, spBase, spOffset: bytes.readInt16LE(0), bpBase, bpOffset: bytes.readInt16LE(2) };
}

/**
 *   bit         0  1  2     3
 *   before 6.4  type  end         6.3 has "signal" between the two, which its type says as well
 *   since 6.4   type     signal
 */
function decodeFrame(bits: number, spBase: Base, [major, minor]: [number, number]): Frame | undefined {
  const release = major * 1000 + minor;
  if (release >= 6004) return bits > 0xf ? undefined : newFrames[bits & 7];
  const endBit = release === 6003 ? 8 : 4;
  if (bits >= endBit * 2) return undefined;
  if (spBase === Base.Undefined) return (bits & endBit) !== 0 ? Frame.Outermost : Frame.Unknown;
  return oldFrames[bits & 3];
}

const oldFrames = [Frame.Call, Frame.Registers, Frame.PartialRegisters];
const newFrames = [Frame.Unknown, Frame.Outermost, Frame.Call, Frame.Registers, Frame.PartialRegisters];

/** Sorted; of two entries for an address, one only ends what was before it and yields to the other. */
function oneForEach(entries: OrcEntry[]): OrcEntry[] {
  const known = ({ frame }: OrcEntry): number => (frame === Frame.Unknown ? 0 : 1);
  entries.sort((a, b) => a.address - b.address || known(a) - known(b));
  return entries.filter(({ address }, i) => entries[i + 1]?.address !== address);
}
