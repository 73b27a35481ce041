/** A guest in any mode, whose instructions a test puts where it likes and has the monitor look at. */
import { Gpr, type Next } from "./exit.ts";
import type { GuestCpu, Injected, Vendor, Violation } from "./cpu.ts";
import { fakeCpu, startOn } from "./guest.ts";
import { abi } from "./layout.ts";
import type { FakeMonitor } from "./monitor.ts";
import { PageTables, type PagingMode } from "./paging.ts";

export type CodeSize = 16 | 32 | 64;

export interface CodeOptions {
  /** VT-x, unless told. */
  vendor?: Vendor;
  size?: CodeSize;
  paging?: PagingMode;
  /** Current privilege level. */
  cpl?: 0 | 3;
  /** Where the code is, and where that is in RAM. */
  rip?: bigint;
  code?: bigint;
  ram?: number;
  cpuid?: (leaf: number, subleaf: number) => [number, number, number, number];
}

export enum Seg {
  ES,
  CS,
  SS,
  DS,
  FS,
  GS,
}

const CR0_PE = 1n;
const CR0_WP = 0x10000n;
const CR0_PG = 0x80000000n;
const CR4_PAE = 0x20n;
const EFER_LONG = 0x500n;

/** Guest-physical address that no RAM is at. */
export const UNCLAIMED = 0xc0000000n;
const TABLES = 0x800000;

/** Unless told, on VT-x. */
export class CodeGuest<Cpu extends GuestCpu = GuestCpu> {
  readonly machine: FakeMonitor;
  readonly cpu: Cpu;
  readonly tables: PageTables | undefined;
  readonly rip: bigint;
  private readonly code: bigint;

  /** `on` is the CPU, if it is to be a certain one. */
  constructor(options: CodeOptions = {}, on = fakeCpu(options.vendor) as Cpu) {
    const { machine, cpu } = startOn(on, { ram: options.ram, cpuid: options.cpuid });
    this.machine = machine;
    this.cpu = cpu;
    const size = options.size ?? 64;
    const paging = options.paging ?? (size === 64 ? "4-level" : "none");
    const cpl = options.cpl ?? 0;
    this.rip = options.rip ?? 0x400000n;
    this.code = options.code ?? 0x400000n;
    if (paging !== "none") this.tables = new PageTables(machine.ram, paging, TABLES);
    cpu.cr3 = BigInt(TABLES);
    cpu.cr0 = CR0_PE | (paging === "none" ? 0n : CR0_PG | CR0_WP);
    cpu.cr4 = paging === "PAE" || paging === "4-level" ? CR4_PAE : 0n;
    cpu.efer = paging === "4-level" ? EFER_LONG : 0n;
    const dpl = cpl << 5;
    const code = { 16: 0x009b, 32: 0xc09b, 64: 0xa09b }[size] | dpl;
    for (let n = Seg.ES; n <= Seg.GS; n++) {
      cpu.setSegment(n, { selector: 0x10 | cpl, base: 0n, limit: 0xffffffff, rights: 0xc093 | dpl });
    }
    cpu.setSegment(Seg.CS, { selector: 8 | cpl, rights: code });
    cpu.rflags = 2n;
    if (this.tables) {
      this.tables.map(this.rip & ~0xfffn, this.code & ~0xfffn, 2);
      this.loadPdptes();
    }
  }

  /** What MOV to CR3 does under PAE paging. */
  loadPdptes(): void {
    if (this.tables?.mode !== "PAE") return;
    this.cpu.setPdptes([0, 1, 2, 3].map((i) => this.machine.ram.load(BigInt(TABLES + i * 8), 8)));
  }

  /** Puts the bytes at RIP. */
  put(bytes: Uint8Array | number[]): void {
    this.machine.ram.put(Number(this.code), bytes);
    this.cpu.rip = this.rip;
  }

  /** The instruction at RIP accesses memory that no RAM is at. */
  access(bytes: Uint8Array | number[], violation: Violation = {}): Next {
    this.put(bytes);
    return this.cpu.violation(UNCLAIMED, { linear: 0n, ...violation });
  }

  get(register: Gpr): bigint {
    return register === Gpr.rsp ? this.cpu.rsp : this.machine.gpr(register);
  }

  set(register: Gpr, value: bigint | number): void {
    if (register === Gpr.rsp) this.cpu.rsp = BigInt(value);
    else this.machine.setGpr(register, value);
  }

  get flags(): bigint {
    return this.cpu.rflags;
  }

  set flags(value: bigint) {
    this.cpu.rflags = value | 2n;
  }

  /** How many bytes of instruction the monitor looked at last. */
  get length(): number {
    return this.machine.memory.getUint32(
      this.machine.vcpu + abi("INSTRUCTION_OFFSET") + abi("CODEBYTES_LENGTH"),
      true,
    );
  }

  /** Bytes that RIP has moved since put(). */
  get moved(): bigint {
    return this.cpu.rip - this.rip;
  }

  /** The exception that the next entry delivers; for a page fault with its address. */
  get fault(): (Injected & { address?: bigint }) | undefined {
    const injected = this.cpu.takeInjected();
    return injected?.vector === 14 ? { ...injected, address: this.cpu.cr2 } : injected;
  }
}
