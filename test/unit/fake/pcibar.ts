/** kernel/device/pcibar.ts as a module of its own, with one function that a test gives registers. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../../../tools/machine/run-directory.ts";
import { compile } from "../../toolchain/asc.ts";

const ENTRY = `
import { addFunction, configSpace, readConfig, resetPci, writeConfig } from "./pciconfig";
import { addBar, barAt, barOffset, barSize } from "./pcibar";
export function reset(): void { resetPci(); addFunction(8, 0x10001af4, 0x02000001); }
export function add(bar: u32, kind: u32, size: u64): void { addBar(0, bar, kind, size); }
export function size(bar: u32): u64 { return barSize(0, bar); }
export function at(isIo: bool, address: u64, size: u32): u32 { return barAt(0, isIo, address, size); }
export function offset(bar: u32, isIo: bool, address: u64): u32 { return barOffset(0, bar, isIo, address); }
export function read(offset: u32): u32 { return readConfig(0, 8, offset); }
export function write(offset: u32, value: u32): void { writeConfig(0, 8, offset, value); }
export function setStatus(value: u32): void { store<u16>(configSpace(0), <u16>value, 6); }
`;

interface Exports {
  reset(): void;
  add(bar: number, kind: number, size: bigint): void;
  size(bar: number): bigint;
  at(isIo: number, address: bigint, size: number): number;
  offset(bar: number, isIo: number, address: bigint): number;
  read(offset: number): number;
  write(offset: number, value: number): void;
  setStatus(value: number): void;
}

export class BarModule {
  private constructor(private readonly module: Exports) {}

  static async compile(): Promise<BarModule> {
    const device = (name: string) =>
      readFileSync(join(projectDirectory, "kernel/device", `${name}.ts`), "utf8");
    const sources = {
      "entry.ts": ENTRY,
      "pciconfig.ts": device("pciconfig"),
      "pcibar.ts": device("pcibar"),
    };
    const { wasm } = await compile(sources, "entry.ts");
    const abort = () => {
      throw new Error("assertion");
    };
    const instance = await WebAssembly.instantiate(wasm, { env: { abort } });
    return new BarModule(instance.instance.exports as unknown as Exports);
  }

  reset(): void {
    this.module.reset();
  }
  add(bar: number, kind: number, size: bigint): void {
    this.module.add(bar, kind, size);
  }
  size(bar: number): bigint {
    return this.module.size(bar);
  }
  at(isIo: boolean, address: bigint, size: number): number {
    return this.module.at(isIo ? 1 : 0, address, size);
  }
  offset(bar: number, isIo: boolean, address: bigint): number {
    return this.module.offset(bar, isIo ? 1 : 0, address);
  }
  read(offset: number, size: number): number {
    let value = 0;
    for (let n = size - 1; n >= 0; n--) value = value * 256 + this.module.read(offset + n);
    return value;
  }
  write(offset: number, size: number, value: number): void {
    for (let n = 0; n < size; n++) this.module.write(offset + n, Math.floor(value / 256 ** n) & 0xff);
  }
  setStatus(value: number): void {
    this.module.setStatus(value);
  }
}
