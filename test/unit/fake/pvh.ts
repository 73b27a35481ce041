/** What a kernel finds at its PVH entry point (xen: public/arch-x86/hvm/start_info.h), read as it reads it. */
import { Gpr } from "./exit.ts";
import type { FakeMonitor } from "./monitor.ts";

export class PvhInfo {
  readonly at: bigint;

  constructor(private readonly machine: FakeMonitor) {
    this.at = machine.gpr(Gpr.rbx);
  }

  field(offset: number, size: number, base = this.at): bigint {
    return this.machine.ram.load(base + BigInt(offset), size);
  }

  get commandLine(): string {
    const at = Number(this.field(24, 8));
    const bytes = this.machine.ram.bytes;
    return Buffer.from(bytes.subarray(at, bytes.indexOf(0, at))).toString("latin1");
  }

  get modules(): { start: bigint; size: bigint }[] {
    return Array.from({ length: Number(this.field(12, 4)) }, (_, i) => {
      const at = this.field(16, 8) + BigInt(i * 32);
      return { start: this.field(0, 8, at), size: this.field(8, 8, at) };
    });
  }

  get memory(): { base: bigint; end: bigint; type: number }[] {
    return Array.from({ length: Number(this.field(48, 4)) }, (_, i) => {
      const at = this.field(40, 8) + BigInt(i * 24);
      const base = this.field(0, 8, at);
      return { base, end: base + this.field(8, 8, at), type: Number(this.field(16, 4, at)) };
    });
  }
}
