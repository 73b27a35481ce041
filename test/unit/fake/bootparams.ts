/** What a kernel finds at its 64-bit entry point (boot.rst, "64-bit Boot Protocol"; zero-page.rst), read as it reads it. */
import type { GuestCpu } from "./cpu.ts";
import { Gpr } from "./exit.ts";
import type { FakeMonitor } from "./monitor.ts";

export interface E820 {
  base: bigint;
  end: bigint;
  type: number;
}

export class BootParams {
  readonly zeroPage: bigint;

  constructor(
    private readonly machine: FakeMonitor,
    private readonly cpu: GuestCpu,
  ) {
    this.zeroPage = machine.gpr(Gpr.rsi);
  }

  /** A field of the zero page. */
  field(offset: number, size: number): bigint {
    return this.machine.ram.load(this.zeroPage + BigInt(offset), size);
  }

  get page(): Uint8Array {
    return this.machine.ram.bytes.slice(Number(this.zeroPage), Number(this.zeroPage) + 4096);
  }

  get commandLine(): string {
    const at = Number(this.field(0x228, 4));
    return Buffer.from(this.machine.ram.bytes.subarray(at, this.machine.ram.bytes.indexOf(0, at))).toString(
      "latin1",
    );
  }

  get e820(): E820[] {
    return Array.from({ length: Number(this.field(0x1e8, 1)) }, (_, i) => {
      const base = this.field(0x2d0 + i * 20, 8);
      return {
        base,
        end: base + this.field(0x2d0 + i * 20 + 8, 8),
        type: Number(this.field(0x2d0 + i * 20 + 16, 4)),
      };
    });
  }

  /** The descriptor of a selector, as far as a flat segment is told by it (SDM Vol. 3A 3.4.5, Segment Descriptors). */
  descriptor(selector: number) {
    const d = this.machine.ram.load(this.cpu.gdtr.base + BigInt(selector & ~7), 8);
    const bits = (high: number, low: number) =>
      Number((d >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
    return {
      base: bits(39, 16) + bits(63, 56) * 2 ** 24,
      limit: bits(55, 55)
        ? (bits(15, 0) + bits(51, 48) * 65536) * 4096 + 4095
        : bits(15, 0) + bits(51, 48) * 65536,
      type: bits(43, 40),
      rights: bits(47, 40) | (bits(55, 52) << 12),
    };
  }

  /** Where the CPU's page tables lead (SDM Vol. 3A 4.5, 4-Level Paging), and whether it can be written and executed. */
  translate(linear: bigint): { address: bigint; writable: boolean; executable: boolean } | undefined {
    let entry = this.cpu.cr3;
    let writable = true;
    let executable = true;
    for (let shift = 39n; ; shift -= 9n) {
      entry = this.machine.ram.load((entry & 0x000ffffffffff000n) + ((linear >> shift) & 511n) * 8n, 8);
      if (!(entry & 1n)) return undefined;
      writable &&= (entry & 2n) !== 0n;
      executable &&= !(entry >> 63n);
      if (shift > 12n && !(entry & 0x80n)) continue;
      const size = 1n << shift;
      return {
        address: (entry & 0x000ffffffffff000n & ~(size - 1n)) + (linear & (size - 1n)),
        writable,
        executable,
      };
    }
  }
}
