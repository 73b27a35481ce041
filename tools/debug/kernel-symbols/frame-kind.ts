/**
 * The kinds of frames that .debug_frame tells apart: one Common Information Entry each (DWARF 5, 6.4.1), with what all
 * its frames have in common.
 */
import { Reg, dataAlign, defineCfa, lost, savedAtCfa, unchanged } from "./cfi.ts";
import { DwarfBytes } from "./dwarf-bytes.ts";

export enum FrameKind {
  /** A function was called: the return address is in front of the CFA. */
  Call,
  /** The same, but the caller's stack is another one. */
  Switched,
  /** An interrupt came: a struct pt_regs is at the CFA. */
  Interrupt,
  /** An interrupt came: what the processor pushed is at the CFA. */
  EarlyInterrupt,
  /** A system call: as Interrupt. */
  Entry,
  /** A system call: as EarlyInterrupt. */
  EarlyEntry,
  /** There is no caller, or none can be found. */
  Outermost,
}

/** What was interrupted is at its next instruction, and not at a call before that, as callers are. */
const interrupts = [FrameKind.Interrupt, FrameKind.EarlyInterrupt];

/** Where struct pt_regs has the registers (linux: arch/x86/include/asm/ptrace.h). */
const ptRegs = [
  [Reg.R15, 0],
  [Reg.R14, 8],
  [Reg.R13, 16],
  [Reg.R12, 24],
  [Reg.RBP, 32],
  [Reg.RBX, 40],
  [Reg.R11, 48],
  [Reg.R10, 56],
  [Reg.R9, 64],
  [Reg.R8, 72],
  [Reg.RAX, 80],
  [Reg.RCX, 88],
  [Reg.RDX, 96],
  [Reg.RSI, 104],
  [Reg.RDI, 112],
  [Reg.RA, 128],
  [Reg.RSP, 152],
] as const;

/** What the processor pushes: RIP, CS, RFLAGS, RSP, SS. */
const pushed = [
  [Reg.RA, 0],
  [Reg.RSP, 24],
] as const;

/** Writes the entry. */
export function writeKind(out: DwarfBytes, kind: FrameKind): void {
  const start = out.length;
  out.u32(0);
  out.u32(0xffffffff); // no FDE, but a CIE
  out.u8(3); // version
  out.text(interrupts.includes(kind) ? "zS" : "z");
  out.uleb(1); // code is counted in bytes
  out.sleb(dataAlign);
  out.uleb(Reg.RA);
  out.uleb(0); // no more data
  writeRules(out, kind);
  out.align(8);
  out.setU32(start, out.length - start - 4);
}

function writeRules(out: DwarfBytes, kind: FrameKind): void {
  defineCfa(out, Reg.RSP, 8);
  unchanged(out, Reg.RBP);
  switch (kind) {
    case FrameKind.Interrupt:
    case FrameKind.Entry:
      for (const [register, offset] of ptRegs) savedAtCfa(out, register, offset);
      return;
    case FrameKind.EarlyInterrupt:
    case FrameKind.EarlyEntry:
      for (const [register, offset] of pushed) savedAtCfa(out, register, offset);
      return;
    case FrameKind.Outermost:
      lost(out, Reg.RA);
      return;
    case FrameKind.Call:
    case FrameKind.Switched:
      // ORC does not say where functions save the others: better no value than a wrong one.
      for (const [register] of ptRegs) {
        if (register !== Reg.RBP && register !== Reg.RSP && register !== Reg.RA) lost(out, register);
      }
      if (kind === FrameKind.Call) savedAtCfa(out, Reg.RA, -8);
  }
}
