/**
 * Root's own preflight (the export that tools/doctor calls) on tables in little memory, again and again: each time root is as it
 * was when it was loaded.
 */
import { readFileSync } from "node:fs";
import { cpuidOf } from "./hostcpu.ts";
import { moduleFile } from "./layout.ts";

/** What is memory: the BIOS's area. All else reads as ones. */
export const BASE = 0xe0000;
const SIZE = 0x20000;
/** Where the multiboot information is. */
const INFO = 0xfff00;
const MULTIBOOT2 = 0x36d76289;
const END = 2 ** 32;
/** Loads of a survey at most: every table is read once for its checksum, and once for what is in it. */
const LOADS_MAX = 2_000_000;

export interface Survey {
  rows: string[];
  warnings: string[];
}

export class Surveyor {
  readonly memory = new Uint8Array(SIZE);
  private readonly view = new DataView(this.memory.buffer);
  private readonly linear: Uint8Array;
  private readonly fresh: Uint8Array;
  private readonly doctor: (magic: number, info: number, readable: number) => number;
  private loads = 0;

  constructor() {
    const module = new WebAssembly.Module(readFileSync(moduleFile("root")));
    const cpuid = cpuidOf("VT-x");
    const imports: WebAssembly.Imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      (imports[from] ??= {})[name] = () => {
        throw new Error(`${from}.${name}`);
      };
    }
    Object.assign(imports["cpuid"]!, {
      query: (leaf: number, subleaf: number, out: number) =>
        new Int32Array(this.linear.buffer, out, 4).set(cpuid(leaf >>> 0, subleaf)),
    });
    Object.assign(imports["msr"]!, { exists: () => 0 });
    Object.assign(imports["port"]!, { in32: () => -1, out32: () => undefined });
    Object.assign(imports["image"]!, { start: () => 0n, end: () => 0n });
    Object.assign(imports["phys"]!, {
      load8: (at: bigint) => this.load(at, 1),
      load16: (at: bigint) => this.load(at, 2),
      load32: (at: bigint) => this.load(at, 4) | 0,
      load64: (at: bigint) => BigInt(this.load(at, 4) >>> 0) | (BigInt(this.load(at + 4n, 4) >>> 0) << 32n),
    });
    const instance = new WebAssembly.Instance(module, imports);
    this.linear = new Uint8Array((instance.exports["memory"] as WebAssembly.Memory).buffer);
    this.fresh = this.linear.slice();
    this.doctor = instance.exports["doctor"] as typeof this.doctor;
  }

  private load(address: bigint, size: 1 | 2 | 4): number {
    const from = Number(BigInt.asUintN(64, address));
    if (from + size > END) throw new Error(`a load at ${from.toString(16)}: early, there is nothing mapped`);
    if (++this.loads > LOADS_MAX) throw new Error("it reads for ever");
    const at = from - BASE;
    if (at < 0 || at + size > SIZE) return size === 1 ? 0xff : size === 2 ? 0xffff : 0xffffffff;
    if (size === 1) return this.memory[at]!;
    return size === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true);
  }

  /** `rsdp`: what the boot loader gives as a copy of the root pointer. */
  survey(rsdp: Uint8Array): Survey {
    const info = INFO - BASE;
    const copy = rsdp.length + 8;
    this.view.setUint32(info + 8, 15, true);
    this.view.setUint32(info + 12, copy, true);
    this.memory.set(rsdp, info + 16);
    const map = info + 8 + ((copy + 7) & ~7);
    this.view.setUint32(map, 6, true);
    this.view.setUint32(map + 4, 16 + 24, true);
    this.view.setUint32(map + 8, 24, true);
    this.view.setBigUint64(map + 16, 0x100000n, true);
    this.view.setBigUint64(map + 24, 0x20000000n, true);
    this.view.setUint32(map + 32, 1, true);
    this.view.setUint32(info, map + 40 - info, true);
    this.linear.set(this.fresh);
    this.loads = 0;
    const report = this.doctor(MULTIBOOT2, INFO, 7 - 1);
    const [, start, length, , log, logged] = new Uint32Array(this.linear.buffer, report, 6);
    const text = (from: number, n: number) =>
      Buffer.from(this.linear.subarray(from, from + n)).toString("latin1");
    return {
      rows: text(start!, length!).split("\n").slice(0, -1),
      warnings: text(log!, logged!).split("\r\n").slice(0, -1),
    };
  }
}
