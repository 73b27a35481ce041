/** Call frame instructions of DWARF (DWARF 5, 6.4.2) for x86-64 (System V ABI, figure 3.36, for the registers). */
import { DwarfBytes } from "./dwarf-bytes.ts";

export enum Reg {
  RAX,
  RDX,
  RCX,
  RBX,
  RSI,
  RDI,
  RBP,
  RSP,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15,
  /** The return address. */
  RA,
}

/** Saved registers are found at multiples of this from the canonical frame address, the CFA. */
export const dataAlign = -8;

enum Op {
  advance1 = 0x02,
  advance2 = 0x03,
  advance4 = 0x04,
  undefined = 0x07,
  sameValue = 0x08,
  defCfa = 0x0c,
  defCfaOffset = 0x0e,
  defCfaExpression = 0x0f,
  expression = 0x10,
  offsetSigned = 0x11,
  valExpression = 0x16,
  advance = 0x40,
  offset = 0x80,
  restore = 0xc0,
}

/** A DWARF expression: a program for a stack of numbers. */
export class Expression {
  private readonly out = new DwarfBytes(64);

  /** Pushes register + offset. */
  register(register: Reg, offset: number): this {
    this.out.u8(0x70 + register);
    this.out.sleb(offset);
    return this;
  }

  /** Adds to what is on top. */
  add(value: number): this {
    if (value === 0) return this;
    this.out.u8(0x11);
    this.out.sleb(value);
    this.out.u8(0x22);
    return this;
  }

  /** Replaces the address on top by the eight bytes there. */
  load(): this {
    this.out.u8(0x06);
    return this;
  }

  bytes(): Buffer {
    return this.out.result();
  }
}

/** Moves on by `delta` bytes of code. */
export function advance(out: DwarfBytes, delta: number): void {
  if (delta < 0x40) out.u8(Op.advance | delta);
  else if (delta < 0x100) out.u8(Op.advance1, delta);
  else if (delta < 0x10000) {
    out.u8(Op.advance2);
    out.u16(delta);
  } else {
    out.u8(Op.advance4);
    out.u32(delta);
  }
}

export function defineCfa(out: DwarfBytes, register: Reg, offset: number): void {
  out.u8(Op.defCfa);
  out.uleb(register);
  out.uleb(offset);
}

/** With the same register as before. */
export function defineCfaOffset(out: DwarfBytes, offset: number): void {
  out.u8(Op.defCfaOffset);
  out.uleb(offset);
}

export function defineCfaAs(out: DwarfBytes, expression: Expression): void {
  out.u8(Op.defCfaExpression);
  out.block(expression.bytes());
}

/** The register is saved at CFA + offset, a multiple of eight. */
export function savedAtCfa(out: DwarfBytes, register: Reg, offset: number): void {
  const factored = offset / dataAlign;
  if (factored >= 0) {
    out.u8(Op.offset | register);
    out.uleb(factored);
  } else {
    out.u8(Op.offsetSigned);
    out.uleb(register);
    out.sleb(factored);
  }
}

/** The register is saved where the expression says, which begins with the CFA on its stack. */
export function savedAt(out: DwarfBytes, register: Reg, expression: Expression): void {
  out.u8(Op.expression);
  out.uleb(register);
  out.block(expression.bytes());
}

/** The register is what the expression says, which begins with the CFA on its stack. */
export function isValue(out: DwarfBytes, register: Reg, expression: Expression): void {
  out.u8(Op.valExpression);
  out.uleb(register);
  out.block(expression.bytes());
}

export function unchanged(out: DwarfBytes, register: Reg): void {
  out.u8(Op.sameValue);
  out.uleb(register);
}

/** The register has the rule again that the common entry has for it. */
export function asAtFirst(out: DwarfBytes, register: Reg): void {
  out.u8(Op.restore | register);
}

export function lost(out: DwarfBytes, register: Reg): void {
  out.u8(Op.undefined);
  out.uleb(register);
}
