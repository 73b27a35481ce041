/** Guests that execute garbage: random bytes, with the instructions that exit strewn in more often than chance would. */
import { readFileSync } from "node:fs";
import type { MachineKind } from "../../tools/machine/machine.ts";
import { assembleGuest, guestFile } from "./harness.ts";

export const modes = ["64-bit ring 0", "64-bit ring 3", "32-bit protected", "real", "no IDT"] as const;

const payloadSize = 8192;
/** The payload is the last page-aligned part of the file that consists of NOPs. */
const payloadByte = 0x90;

/** A small, fast generator of numbers (mulberry32): the same seed gives the same guest for ever. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Instructions that exit, or that change what exits depend on; R is a random byte. */
const R = -1;
const interesting: readonly (readonly number[])[] = [
  [0x0f, 0xa2], // CPUID
  [0xf4], // HLT
  [0xe4, R],
  [0xe5, R],
  [0xe6, R],
  [0xe7, R],
  [0xec],
  [0xed],
  [0xee],
  [0xef], // IN, OUT
  [0x6c],
  [0x6d],
  [0x6e],
  [0x6f],
  [0xf3, 0x6c],
  [0xf3, 0x6e],
  [0xf2, 0x6f], // INS, OUTS
  [0x0f, 0x32],
  [0x0f, 0x30],
  [0x0f, 0x33], // RDMSR, WRMSR, RDPMC
  [0x0f, 0x20, R],
  [0x0f, 0x22, R],
  [0x0f, 0x21, R],
  [0x0f, 0x23, R], // MOV CR, DR
  [0x44, 0x0f, 0x20, R],
  [0x44, 0x0f, 0x22, R], // MOV CR8
  [0x0f, 0x06],
  [0x0f, 0x01, R], // CLTS; LGDT, LMSW, INVLPG, VMCALL, XSETBV, VMRUN and the like
  [0x0f, 0x01, 0xc1],
  [0x0f, 0x01, 0xd1],
  [0x0f, 0x01, 0xd9],
  [0x0f, 0x01, 0xc8],
  [0x0f, 0x01, 0xc9],
  [0x0f, 0x01, 0xf9],
  [0x0f, 0x00, R], // LLDT, LTR
  [0x0f, 0x08],
  [0x0f, 0x09],
  [0x0f, 0x31],
  [0xf3, 0x90],
  [0x0f, 0x37],
  [0x0f, 0x77],
  [0x66, 0x0f, 0x38, 0x80, R],
  [0x66, 0x0f, 0x38, 0x81, R],
  [0x66, 0x0f, 0x38, 0x82, R], // INVEPT, INVVPID, INVPCID
  [0x0f, 0x78, R],
  [0x0f, 0x79, R],
  [0x0f, 0xc7, R], // VMREAD, VMWRITE, VMPTRLD
  [0xcc],
  [0xcd, R],
  [0xf1],
  [0xcf],
  [0x48, 0xcf],
  [0xfa],
  [0xfb],
  [0x9c],
  [0x9d],
  [0x17],
  [0x8e, R],
  [0x0f, 0xb2, R],
  [0xb9, R, 0, 0, 0],
  [0xb9, R, 0, 0, 0xc0],
  [0xba, R, R, 0, 0],
  [0xb8, R, R, R, R],
  [0x31, 0xc0],
  [0x0f, 0x05],
  [0x0f, 0x34],
  [0xa1, R, R, R, R],
  [0xa3, R, R, R, R],
  [0x8b, 0x05, R, R, R, R],
  [0x89, 0x05, R, R, R, R],
  [0xf3, 0xa4],
  [0xf3, 0xab],
];

/** The bytes that the guest of a seed executes: half of them random, half interesting. */
export function payload(seed: number): Uint8Array {
  const next = randomNumbers(seed);
  const bytes = new Uint8Array(payloadSize);
  for (let at = 0; at < payloadSize;) {
    if (next() & 1) {
      bytes[at++] = next();
    } else {
      for (const byte of interesting[next() % interesting.length]!) bytes[at++] = byte === R ? next() : byte;
    }
  }
  return bytes;
}

/**
 * QEMU 7.2 keeps the breakpoints of its guests' guests where it should drop them, and ends itself over one: there nobody
 * writes to a debug register.
 */
function withoutBreakpoints(bytes: Uint8Array): Uint8Array {
  for (let i = 1; i < bytes.length; i++) if (bytes[i - 1] === 0x0f && bytes[i] === 0x23) bytes[i] = 0x21;
  return bytes;
}

/** The guest of a seed; its mode follows from the seed. */
export function garbageGuest(seed: number, machine: MachineKind): { file: string; mode: number } {
  const mode = seed % modes.length;
  const template = new Uint8Array(readFileSync(assembleGuest("garbage", { MODE: mode })));
  const at = findPayload(template);
  template.set(machine === "qemu-tcg" ? withoutBreakpoints(payload(seed)) : payload(seed), at);
  return { file: guestFile(`garbage-${machine}-${seed}`, template), mode };
}

function findPayload(file: Uint8Array): number {
  let run = 0;
  for (let i = 0; i < file.length; i++) {
    run = file[i] === payloadByte ? run + 1 : 0;
    if (run === payloadSize) return i + 1 - payloadSize;
  }
  throw new Error("garbage.asm has no payload");
}
