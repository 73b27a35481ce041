/** Root's accesses to physical memory and to devices' registers, through its windows and the CPU's TLB. */
import { abi } from "./layout.ts";
import type { FakeHost } from "./host.ts";
import { image } from "./hostcpu.ts";
import { PageFault } from "./tlb.ts";

const GIB = 2 ** 30;
/** What the physical window has room for. */
const WINDOW = 2 ** 44;
export const IOAPIC = 0xfec00000;
const APIC = 0xfee00000;
const pageOf = (va: number) => Number(BigInt.asUintN(48, BigInt(va)) >> 12n);
const physicalWindow = pageOf(abi("PHYSICAL_WINDOW"));
const uncachedWindow = pageOf(abi("UNCACHED_WINDOW"));
const u64 = (v: bigint) => BigInt.asUintN(64, v);
const ones = (size: number) => (1n << BigInt(size * 8)) - 1n;

export class HostMemory {
  /** Addresses that root has loaded from and where nothing is: those read all ones. */
  readonly strays: string[] = [];
  /** Bytes that were written to the framebuffer, each of which takes a tick; filling it takes no time. */
  painted = 0;
  private stores: { start: number; end: number; what: string }[] | undefined;

  constructor(private readonly host: FakeHost) {}

  /** Checks an access to a physical address; returns how many bytes from there its translation is good for. */
  private window(at: number, kind: "load" | "store"): number {
    // Behind the physical window is the uncached one.
    if (at >= 2 ** 45) throw new PageFault(`root: ${kind} at ${at.toString(16)}: beyond its windows`);
    if (at >= WINDOW) this.screen(at - WINDOW, kind);
    if (this.host.cr[3] === 0n) {
      // boot/start.asm's tables.
      if (at >= 4 * GIB) throw new PageFault(`root: early ${kind} at ${at.toString(16)}: not mapped`);
      return 0x200000 - (at % 0x200000);
    }
    const page = physicalWindow + Math.floor(at / 4096);
    const leaf = this.host.tlb.host(Number(this.host.cr[3]), page, kind, "root");
    const hpa = at % WINDOW;
    if (leaf.hpa - (leaf.hpa % 4096) !== hpa - (hpa % 4096))
      throw new Error(`the window maps ${at.toString(16)} elsewhere`);
    return leaf.size - (at % leaf.size);
  }

  /** The framebuffer is written to, and never read: that takes a hundred times as long. */
  private screen(at: number, kind: "load" | "store"): void {
    const fb = this.host.options.framebuffer;
    const from = Number(fb?.address);
    if (kind === "load" || !fb || at < from || at >= from + fb.pitch * fb.height)
      throw new Error(`root: ${kind} at ${at.toString(16)}: uncached, and not the framebuffer`);
  }

  private isRam(at: number): boolean {
    return this.host.ram.some(([base, end]) => at >= base && at < end);
  }

  private exists(at: number): boolean {
    return this.host.memory.has(at) || this.isRam(at);
  }

  /** Root stores only into RAM that was free when it started, to the screen, and to the CPU's block; never into a VMCS that is in use. */
  private mayStore(at: number, length: number): void {
    if (at >= 0xb8000 && at + length <= 0xb9000) return;
    const fb = this.host.options.framebuffer;
    if (
      fb &&
      at % WINDOW >= fb.address &&
      (at % WINDOW) + length <= Number(fb.address) + fb.pitch * fb.height
    )
      return;
    // Where other CPUs start: bringup.test.ts sees that it is as before in the end.
    if (at >= 0x8000 && at + length <= 0x9000) return;
    // What the stubs are to know of the timer, of the debugger, and of the CPU that comes next.
    const ours = Number(image.perCpu);
    for (const [from, to] of [
      ["ARMED", "INSTRUCTION_ERROR"],
      ["DEBUG_CR3", "BYTES"],
    ])
      if (at >= ours + abi(`PERCPU_${from}`) && at + length <= ours + abi(`PERCPU_${to}`)) return;
    this.stores ??= this.host.taken().map((t) => ({ ...t, start: Number(t.start), end: Number(t.end) }));
    const taken = this.stores.find(({ start, end }) => at < end && at + length > start)?.what;
    const what = taken ?? (this.isRam(at) && this.isRam(at + length - 1) ? undefined : "no memory");
    if (what !== undefined) throw new Error(`root stores at ${at.toString(16)}: ${what}`);
    for (const page of this.host.vtx.active)
      if (at < (page + 1) * 4096 && at + length > page * 4096)
        throw new Error(`root stores at ${at.toString(16)}: a VMCS that the CPU may hold`);
  }

  /** Where video memory and ROMs belong it is no mistake to look. */
  private stray(at: number): void {
    if (at < 0xa0000 || at >= 0x100000) this.strays.push(at.toString(16));
  }

  private load(at: number, size: number): bigint {
    const low = 4096 - (at % 4096);
    if (size > low) return this.load(at, low) | (this.load(at + low, size - low) << BigInt(low * 8));
    const good = this.window(at, "load");
    const register = this.register(at, size, good);
    if (register !== undefined) return BigInt(register);
    if (this.exists(at)) return this.host.memory.load(at, size);
    this.stray(at);
    return ones(size);
  }

  /** A device's, once root has tables of its own in a small page: others are cached. */
  private register(at: number, size: number, good: number, value?: number): number | undefined {
    const found = this.host.ports.memory(at, size, value);
    if (found !== undefined && this.host.cr[3] !== 0n && good > 4096)
      throw new Error(`root: a device's register at ${at.toString(16)} in a large page`);
    return found;
  }

  private store(at: number, size: number, value: bigint): void {
    const good = this.window(at, "store");
    if (this.register(at, size, good, Number(value & 0xffn)) !== undefined) return;
    if ((at % 4096) + size > 4096) this.window(at + size - 1, "store");
    this.mayStore(at, size);
    this.host.memory.store(at % WINDOW, size, value & ones(size));
  }

  /** Translation by translation: where, and how much. */
  private *parts(at: number, length: number, kind: "load" | "store"): Generator<[number, number]> {
    for (let done = 0; done < length;) {
      const part = Math.min(this.window(at + done, kind), length - done);
      if (kind === "store") this.mayStore(at + done, part);
      yield [at + done, part];
      done += part;
    }
  }

  private get(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let done = 0;
    for (const [from, part] of this.parts(at, length, "load")) {
      bytes.set(this.host.memory.get(from, part), done);
      for (let page = from - (from % 4096); page < from + part; page += 4096) {
        if (this.exists(page)) continue;
        this.stray(page);
        bytes.fill(0xff, done + Math.max(page - from, 0), done + Math.min(page + 4096 - from, part));
      }
      done += part;
    }
    return bytes;
  }

  private put(at: number, bytes: Uint8Array): void {
    let done = 0;
    for (const [to, part] of this.parts(at, bytes.length, "store")) {
      this.host.memory.put(to % WINDOW, bytes.subarray(done, done + part));
      // A byte a tick.
      if (to >= WINDOW) this.host.tsc += BigInt(part);
      if (to >= WINDOW) this.painted += part;
      done += part;
    }
  }

  private fill(at: number, value: number, length: number): void {
    for (const [to, part] of this.parts(at, length, "store"))
      this.host.memory.fill(to % WINDOW, value & 0xff, part);
    if (value === 0) this.host.extension.filled(at, length);
  }

  private device(at: bigint, value?: number): number {
    const address = Number(u64(at));
    this.host.hostAccess(
      uncachedWindow + Math.floor(address / 4096),
      value === undefined ? "load" : "store",
      "root",
    );
    const { apic } = this.host;
    const isIoapic = address - (address % 4096) === IOAPIC;
    if (!isIoapic && address - (address % 4096) !== APIC) {
      if (value !== undefined && this.isRam(address)) this.mayStore(address, 4);
      this.stray(address);
      return 0xffffffff;
    }
    if (value === undefined)
      return isIoapic ? apic.ioapicRead(address % 4096) : apic.read((address % 4096) >> 4);
    if (isIoapic) apic.ioapicWrite(address % 4096, value);
    else apic.write((address % 4096) >> 4, value);
    return 0;
  }

  imports(linear: (at: number, length: number) => Uint8Array): Record<string, (...args: never[]) => unknown> {
    const load = (size: number) => (at: bigint) => {
      const value = this.load(Number(u64(at)), size);
      return size === 8 ? value : Number(value);
    };
    const store = (size: number) => (at: bigint, value: bigint | number) =>
      this.store(Number(u64(at)), size, u64(BigInt(value)));
    return {
      load8: load(1),
      load16: load(2),
      load32: load(4),
      load64: load(8),
      store8: store(1),
      store16: store(2),
      store32: store(4),
      store64: store(8),
      copy: (to: bigint, from: bigint, length: bigint) =>
        this.put(Number(u64(to)), this.get(Number(u64(from)), Number(u64(length)))),
      fill: (at: bigint, value: number, length: bigint) =>
        this.fill(Number(u64(at)), value, Number(u64(length))),
      read: (at: bigint, to: number, length: number) =>
        linear(to, length).set(this.get(Number(u64(at)), length)),
      write: (at: bigint, from: number, length: number) =>
        this.put(Number(u64(at)), linear(from, length).slice()),
      loadDevice32: (at: bigint) => this.device(at),
      storeDevice32: (at: bigint, value: number) => void this.device(at, value),
    };
  }
}
