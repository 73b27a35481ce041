/** Loads and stores of a guest that meet memory which is no RAM: MOV, in the 64-bit mode that a bzImage starts in. */
import { expect } from "vitest";
import { Gpr, Next } from "./exit.ts";
import type { Pc } from "./pc.ts";

/** Where the instructions are: RAM that is mapped where it is. */
const CODE = 0x900000;
const LOAD: Record<number, number[]> = { 1: [0x8a], 2: [0x66, 0x8b], 4: [0x8b], 8: [0x48, 0x8b] };
const STORE: Record<number, number[]> = { 1: [0x88], 2: [0x66, 0x89], 4: [0x89], 8: [0x48, 0x89] };
/** ModR/M: RAX or a part of it, and what RBX points to. */
const RAX_AT_RBX = 0x03;

/** Executes the instruction at CODE; RBX is the address. */
export function execute(pc: Pc, bytes: ArrayLike<number>, gpa: number | bigint, write = false): Next {
  pc.machine.ram.put(CODE, Uint8Array.from(bytes));
  pc.cpu.rip = BigInt(CODE);
  pc.machine.setGpr(Gpr.rbx, BigInt(gpa));
  return pc.cpu.violation(BigInt(gpa) & ~0xfffn, { linear: BigInt(gpa), write });
}

export function read(pc: Pc, gpa: number, size: 1 | 2 | 4 | 8): bigint {
  pc.machine.setGpr(Gpr.rax, 0n);
  expect(execute(pc, [...LOAD[size]!, RAX_AT_RBX], gpa)).toBe(Next.Resume);
  return pc.machine.gpr(Gpr.rax);
}

export function write(pc: Pc, gpa: number, size: 1 | 2 | 4 | 8, value: bigint | number): Next {
  pc.machine.setGpr(Gpr.rax, BigInt(value));
  return execute(pc, [...STORE[size]!, RAX_AT_RBX], gpa, true);
}
