/** What the decoder finds out about an instruction (decode.ts), and where its memory operand lies (memory.ts). */
import { CodeBytes } from "../abi/code";

/** In Instruction.prefixes. */
export namespace Prefix {
  export const Lock: u32 = 1 << 0;
  export const Rep: u32 = 1 << 1;
  export const Repne: u32 = 1 << 2;
  /** Operand size (66h). */
  export const Operand: u32 = 1 << 3;
  /** Address size (67h). */
  export const Address: u32 = 1 << 4;
}

/** Values of Instruction.base beside a general register's number. */
export const NO_BASE: u32 = 16;


@unmanaged
export class Instruction extends CodeBytes {
  /** Nonzero: a byte could not be fetched, and the fault is queued. */
  failed: u32;
  /** Bytes of the code's default size: 8, 4 or 2 for 64-, 32- and 16-bit code. */
  mode: u32;
  prefixes: u32;
  rex: u32;
  /** The last opcode byte, and the opcode map (0, 0F, 0F38, 0F3A: 0 to 3) above it. */
  opcode: u32;
  /** An Op: what the emulator makes of it. Op.None for an instruction whose length alone is known. */
  operation: u32;
  /** One of Form. */
  form: u32;
  /** Bytes of an operand and of an address: 1, 2, 4 or 8. */
  size: u32;
  addressSize: u32;
  /** ModR/M, if it was read before it was its turn. */
  modrm: u32;
  /** Register numbers of ModR/M, completed by REX; `rm` is also the register in an opcode. */
  reg: u32;
  rm: u32;
  /** Nonzero: ModR/M's r/m, or the opcode, names memory and not a register. */
  memory: u32;
  /** The memory operand's segment (Seg), its base register, and its offset in the segment. */
  segment: u32;
  base: u32;
  /** Nonzero: relative to RIP. */
  relative: u32;
  address: u64;
  /** Sign-extended. */
  immediate: u64;
  /** Address of the next instruction, before it is cut to the code's size. */
  next: u64;

  // The operand that memory.ts has opened
  linear: u64;
  /** Guest-physical address of its first byte, and of its first byte on a second page. */
  gpa: u64;
  nextGpa: u64;
  /** Bytes on the first page. */
  first: u32;
}
