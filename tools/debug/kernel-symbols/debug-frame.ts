/**
 * ORC's entries as DWARF call frame information (DWARF 5, 6.4), which GDB unwinds with: a Frame Description Entry for
 * each run of entries of one kind. ORC's "previous SP" is the CFA, or for interrupts where their registers are.
 */
import type { Address } from "./address.ts";
import {
  Expression,
  Reg,
  advance,
  asAtFirst,
  defineCfa,
  defineCfaAs,
  defineCfaOffset,
  isValue,
  lost,
  savedAt,
  savedAtCfa,
} from "./cfi.ts";
import { DwarfBytes } from "./dwarf-bytes.ts";
import { FrameKind, writeKind } from "./frame-kind.ts";
import { Base, Frame, type OrcEntry } from "./orc.ts";

/** GDB executes a run from its beginning, so that long ones are cut. */
const longestRun = 32;

/** `isEntry` tells the addresses where system calls enter; the last entry holds up to `end`. */
export function debugFrame(
  entries: OrcEntry[],
  end: Address,
  isEntry: (address: Address) => boolean,
): Buffer {
  const out = new DwarfBytes(entries.length * 8);
  const kinds = entries.map((entry) => kindOf(entry, isEntry));
  const kindAt = new Map<FrameKind, number>();
  for (const kind of new Set(kinds)) {
    kindAt.set(kind, out.length);
    writeKind(out, kind);
  }
  for (let first = 0, next = 0; first < entries.length; first = next) {
    while (next < entries.length && kinds[next] === kinds[first] && next - first < longestRun) next++;
    const stop = entries[next]?.address ?? Math.max(end, entries[first]!.address + 1);
    const run = entries.slice(first, next);
    writeRun(out, kindAt.get(kinds[first]!)!, run[0]!.address, stop, () =>
      writeRows(out, kinds[first]!, run),
    );
  }
  return out.result();
}

function kindOf({ frame, spBase, address }: OrcEntry, isEntry: (address: Address) => boolean): FrameKind {
  if (registerOf(spBase) === undefined) return FrameKind.Outermost;
  switch (frame) {
    case Frame.Call:
      return spBase === Base.SpIndirect ? FrameKind.Switched : FrameKind.Call;
    case Frame.Registers:
      return isEntry(address) ? FrameKind.Entry : FrameKind.Interrupt;
    case Frame.PartialRegisters:
      return isEntry(address) ? FrameKind.EarlyEntry : FrameKind.EarlyInterrupt;
    default:
      return FrameKind.Outermost;
  }
}

function writeRun(out: DwarfBytes, kind: number, start: Address, stop: Address, rows: () => void): void {
  const at = out.length;
  out.u32(0);
  out.u32(kind);
  out.address(start);
  out.address(stop - start);
  out.uleb(0); // no more data
  rows();
  out.align(8);
  out.setU32(at, out.length - at - 4);
}

function writeRows(out: DwarfBytes, kind: FrameKind, run: OrcEntry[]): void {
  if (kind === FrameKind.Outermost) return;
  let before: OrcEntry | undefined;
  for (const entry of run) {
    if (before !== undefined) advance(out, entry.address - before.address);
    if (kind === FrameKind.Switched) writeSwitched(out, entry);
    else {
      writeCfa(out, entry, before);
      writeBp(out, entry, before);
    }
    before = entry;
  }
}

function writeCfa(out: DwarfBytes, { spBase, spOffset }: OrcEntry, before: OrcEntry | undefined): void {
  const register = registerOf(spBase)!;
  if (before?.spBase === spBase && before.spOffset === spOffset) return;
  if (spBase === Base.BpIndirect) defineCfaAs(out, new Expression().register(register, spOffset).load());
  else if (spBase === Base.SpIndirect)
    defineCfaAs(out, new Expression().register(register, 0).load().add(spOffset));
  else if (spOffset < 0) defineCfaAs(out, new Expression().register(register, spOffset));
  else if (before?.spBase === spBase && before.spOffset >= 0) defineCfaOffset(out, spOffset);
  else defineCfa(out, register, spOffset);
}

function writeBp(out: DwarfBytes, { bpBase, bpOffset }: OrcEntry, before: OrcEntry | undefined): void {
  const same = before?.bpBase === bpBase && before.bpOffset === bpOffset;
  if (same || (before === undefined && bpBase === Base.Undefined)) return; // the kind's own rule, at first
  if (bpBase === Base.PreviousSp) {
    if (bpOffset % 8 === 0) savedAtCfa(out, Reg.RBP, bpOffset);
    else savedAt(out, Reg.RBP, new Expression().add(bpOffset));
  } else if (bpBase === Base.Bp) savedAt(out, Reg.RBP, new Expression().register(Reg.RBP, bpOffset));
  else if (bpBase === Base.Undefined) asAtFirst(out, Reg.RBP);
  else lost(out, Reg.RBP);
}

/**
 * The old stack's pointer is at RSP. GDB refuses callers that seem to be further down on one stack, as the old one may
 * be. Therefore the CFA stays on the new one, just above the pointer, and the rest is found through that.
 */
function writeSwitched(out: DwarfBytes, { spOffset, bpBase, bpOffset }: OrcEntry): void {
  const previousSp = (): Expression => new Expression().add(-8).load().add(spOffset);
  defineCfa(out, Reg.RSP, 8);
  isValue(out, Reg.RSP, previousSp());
  savedAt(out, Reg.RA, previousSp().add(-8));
  if (bpBase === Base.PreviousSp) savedAt(out, Reg.RBP, previousSp().add(bpOffset));
  else if (bpBase === Base.Bp) savedAt(out, Reg.RBP, new Expression().register(Reg.RBP, bpOffset));
  else asAtFirst(out, Reg.RBP);
}

function registerOf(base: Base): Reg | undefined {
  switch (base) {
    case Base.Dx:
      return Reg.RDX;
    case Base.Di:
      return Reg.RDI;
    case Base.Bp:
    case Base.BpIndirect:
      return Reg.RBP;
    case Base.Sp:
    case Base.SpIndirect:
      return Reg.RSP;
    case Base.R10:
      return Reg.R10;
    case Base.R13:
      return Reg.R13;
    default:
      return undefined;
  }
}
