import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import { compile } from "./asc.ts";
import { buildTools, gcc, includes, kernelFlags, root, tool, workFolder } from "./engines.ts";

/** cost/dispatcher.c in TypeScript, in the manner of kernel code. */
const sources = {
  "kernel/machine/vmcs.ts": `
export declare function vmread(field: u32): u64;
export declare function vmwrite(field: u32, value: u64): void;
`,
  "kernel/vmx/field.ts": `
import { vmread, vmwrite } from "../machine/vmcs";
@unmanaged export class Field32 {
  read(): u32 { return <u32>vmread(<u32>changetype<usize>(this)); }
  write(value: u32): void { vmwrite(<u32>changetype<usize>(this), value); }
}
@unmanaged export class Field64 {
  read(): u64 { return vmread(<u32>changetype<usize>(this)); }
  write(value: u64): void { vmwrite(<u32>changetype<usize>(this), value); }
}
export const EXIT_REASON = changetype<Field32>(0x4402);
export const EXIT_INSTRUCTION_LENGTH = changetype<Field32>(0x440c);
export const GUEST_INTERRUPTIBILITY = changetype<Field32>(0x4824);
export const EXIT_QUALIFICATION = changetype<Field64>(0x6400);
export const GUEST_RIP = changetype<Field64>(0x681e);
`,
  "kernel/lib/bits.ts": `
export function bits(value: u64, high: u32, low: u32): u64 { return (value >> low) & ((<u64>1 << (high - low + 1)) - 1); }
`,
  "kernel/monitor/main.ts": `
import { bits } from "../lib/bits";
import * as Field from "../vmx/field";
const enum Next { Resume, Yield, Stop }
@unmanaged class Recent { reason: u32; length: u32; rip: u64; }
@unmanaged class Leaf { eax: u32; ebx: u32; ecx: u32; edx: u32; }
@unmanaged class Vcpu {
  rax: u64; rcx: u64; rdx: u64; rbx: u64; rsp: u64; rbp: u64; rsi: u64; rdi: u64;
  exits: u64; last: u64;
  count(reason: u32): void {
    const at = changetype<usize>(this) + 80 + 8 * (reason < 80 ? reason : 79);
    store<u64>(at, load<u64>(at) + 1);
  }
  recent(at: u64): Recent { return changetype<Recent>(changetype<usize>(this) + 720 + 16 * <usize>(at & 15)); }
  leaf(leaf: u32): Leaf { return changetype<Leaf>(changetype<usize>(this) + 976 + 16 * (leaf < 16 ? leaf : 0)); }
  port(offset: u32): usize { return changetype<usize>(this) + 1232 + offset; }
}
function skip(): void {
  Field.GUEST_RIP.write(Field.GUEST_RIP.read() + Field.EXIT_INSTRUCTION_LENGTH.read());
  const interruptibility = Field.GUEST_INTERRUPTIBILITY.read();
  if (interruptibility & 3) Field.GUEST_INTERRUPTIBILITY.write(interruptibility & ~3);
}
function onCpuid(vcpu: Vcpu): Next {
  const leaf = vcpu.leaf(<u32>vcpu.rax);
  vcpu.rax = leaf.eax;
  vcpu.rbx = leaf.ebx;
  vcpu.rcx = leaf.ecx;
  vcpu.rdx = leaf.edx;
  skip();
  return Next.Resume;
}
function onPortIo(vcpu: Vcpu): Next {
  const qualification = Field.EXIT_QUALIFICATION.read();
  const port = <u32>bits(qualification, 31, 16);
  if (bits(qualification, 2, 0) != 0 || bits(qualification, 5, 4) != 0) return Next.Stop;
  if (port - 0x3f8 < 8) {
    const register = vcpu.port(port - 0x3f8);
    if (bits(qualification, 3, 3)) vcpu.rax = (vcpu.rax & ~0xff) | load<u8>(register);
    else store<u8>(register, <u8>vcpu.rax);
  } else if (bits(qualification, 3, 3)) {
    vcpu.rax |= 0xff;
  }
  skip();
  return Next.Resume;
}
export function dispatch(vcpu: Vcpu): Next {
  const reason = <u32>bits(Field.EXIT_REASON.read(), 15, 0);
  vcpu.count(reason);
  const recent = vcpu.recent(vcpu.exits++);
  recent.reason = reason;
  recent.length = Field.EXIT_INSTRUCTION_LENGTH.read();
  recent.rip = Field.GUEST_RIP.read();
  switch (reason) {
    case 10: return onCpuid(vcpu);
    case 12: skip(); return Next.Yield;
    case 30: return onPortIo(vcpu);
    case 1: case 7: case 52: return Next.Resume;
    default: return Next.Stop;
  }
}
`,
};

const paths = ["cpuid", "in", "out", "halt"]; // as in cost/routines.c

beforeAll(buildTools, 60_000);

test(
  "exits handled in TypeScript cost at most a tenth more instructions than in C",
  { timeout: 60_000 },
  async () => {
    const folder = workFolder("cost");
    const { wasm, map } = await compile(sources, "kernel/monitor/main.ts", "-O3");
    writeFileSync(path.join(folder, "monitor.wasm"), wasm);
    writeFileSync(path.join(folder, "monitor.map"), map);
    execFileSync(
      tool,
      [
        "monitor.wasm",
        "-o",
        "monitor.c",
        "--prefix",
        "monitor",
        "--map",
        "monitor.map",
        "--include",
        "machine.h",
      ],
      { cwd: folder },
    );
    const cost = path.join(root, "test/toolchain/cost");
    const headers = [...includes, `-I${cost}`];
    gcc(folder, ...kernelFlags, ...headers, "-c", "monitor.c", `${cost}/dispatcher.c`);
    gcc(
      folder,
      "-O2",
      "-fno-pie",
      ...headers,
      "-c",
      `${cost}/routines.c`,
      `${root}/test/toolchain/host/count.c`,
    );
    gcc(folder, "-no-pie", "-o", "count", "monitor.o", "dispatcher.o", "routines.o", "count.o");
    const lines = execFileSync(path.join(folder, "count"), { encoding: "utf8" }).trim().split("\n");
    const counted = new Map(lines.map((line) => [line.split(" ")[0]!, Number(line.split(" ")[1])]));
    console.log(lines.join(", "));
    const sum = (language: string) =>
      paths.reduce((total, each) => total + counted.get(`${language}-${each}`)!, 0);
    expect(sum("typescript")).toBeLessThanOrEqual(1.1 * sum("c"));
  },
);
