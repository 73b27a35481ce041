/**
 * Control registers: a CPU without virtualization (SDM Vol. 2B, MOV to and from Control Registers), and one in VMX non-root
 * operation with the hypervisor below it (Vol. 3C 26.1.3 and 26.3), on which the same instructions are executed.
 */
import { Gpr, Next } from "./exit.ts";
import { FakeHost } from "./host.ts";
import { abi } from "./layout.ts";
import type { FakeMonitor } from "./monitor.ts";
import { Field, type FakeVtx } from "./vtx.ts";

export const PE = 1n;
export const TS = 1n << 3n;
export const ET = 1n << 4n;
export const NE = 1n << 5n;
export const WP = 1n << 16n;
export const NW = 1n << 29n;
export const CD = 1n << 30n;
export const PG = 1n << 31n;
export const PSE = 1n << 4n;
export const PAE = 1n << 5n;
export const MCE = 1n << 6n;
export const PGE = 1n << 7n;
export const VMXE = 1n << 13n;
export const PCIDE = 1n << 17n;
export const OSXSAVE = 1n << 18n;
export const SMEP = 1n << 20n;
export const LME = 1n << 8n;
export const LMA = 1n << 10n;

/** What CR0 has: PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG. Writes to others of its low half are ignored. */
const CR0 = 0xe005003fn;

/** What MOV to a control register depends on, and changes. */
export interface Registers {
  cr0: bigint;
  cr3: bigint;
  cr4: bigint;
  efer: bigint;
  /** CS.L, and whether TR is a 16-bit TSS. */
  long: boolean;
  tss16: boolean;
  pdptes: bigint[];
}

export interface Platform {
  /** CR4 bits that the CPU has. */
  cr4: bigint;
  physicalBits: number;
  load(address: bigint): bigint;
}

/** What an instruction did: "#GP", or which translations it dropped: all, or those of the current PCID. */
export type Outcome = "#GP" | { flush: "none" | "pcid" | "all" };

const usesPdptes = (r: Registers) => (r.cr0 & PG) !== 0n && (r.cr4 & PAE) !== 0n && !(r.efer & LMA);

/** SDM Vol. 3A 4.4.1, PDPTE Registers. Undefined when one has a reserved bit set. */
function readPdptes(r: Registers, platform: Platform): bigint[] | undefined {
  const reserved = 0x1e6n | (0xffffffffffffffffn & ~((1n << BigInt(platform.physicalBits)) - 1n));
  const entries = [0n, 1n, 2n, 3n].map((i) => platform.load((r.cr3 & 0xffffffe0n) + i * 8n));
  return entries.some((e) => e & 1n && e & reserved) ? undefined : entries;
}

/** MOV to CR0 or CR4 at CPL 0. With "#GP" nothing has changed. */
export function moveToCr(r: Registers, n: 0 | 4, operand: bigint, platform: Platform): Outcome {
  const in64 = (r.efer & LMA) !== 0n && r.long;
  const value = in64 ? operand : operand & 0xffffffffn;
  const next = { ...r };
  let flush: "none" | "pcid" | "all" = "none";
  if (n === 0) {
    if (value >> 32n) return "#GP";
    if (value & NW && !(value & CD)) return "#GP";
    if (value & PG && !(value & PE)) return "#GP";
    next.cr0 = (value & CR0) | ET;
    if (value & PG && !(r.cr0 & PG) && r.efer & LME) {
      // Vol. 3A 10.8.5, Initializing IA-32e Mode
      if (!(r.cr4 & PAE) || r.long || r.tss16) return "#GP";
      next.efer |= LMA;
    }
    if (!(value & PG) && r.cr0 & PG) {
      if (in64 || r.cr4 & PCIDE) return "#GP";
      next.efer &= ~LMA;
      flush = "all";
    }
  } else {
    if (value & ~platform.cr4) return "#GP";
    if (r.efer & LMA && !(value & PAE)) return "#GP";
    if (value & PCIDE && !(r.cr4 & PCIDE) && (!(r.efer & LMA) || r.cr3 & 0xfffn)) return "#GP";
    next.cr4 = value;
    // Vol. 3A 4.10.4.1, Operations that Invalidate TLBs and Paging-Structure Caches
    const changed = r.cr4 ^ value;
    if (changed & PAE || changed & value & SMEP) flush = "pcid";
    if (changed & PGE || changed & r.cr4 & PCIDE) flush = "all";
  }
  const reads = ((next.cr0 ^ r.cr0) & (CD | NW | PG)) | ((next.cr4 ^ r.cr4) & (PAE | PGE | PSE | SMEP));
  if (reads && usesPdptes(next)) {
    const entries = readPdptes(next, platform);
    if (!entries) return "#GP";
    next.pdptes = entries;
  }
  Object.assign(r, next);
  return { flush };
}

/** The guest/host masks of CR0 and CR4, and the primary processor controls, as root sets them. */
export function masks(): { cr0: bigint; cr4: bigint; controls: bigint } {
  let fields: Map<number, bigint> | undefined;
  const kernel = { bytes: new Uint8Array(16), text: "kernel memory=4M" };
  new FakeHost({
    modules: [kernel],
    run: ({ host }) => ((fields = new Map(host.fields())), abi("LEAVE_STOP")),
  }).boot();
  return { cr0: fields!.get(0x6000)!, cr4: fields!.get(0x6002)!, controls: fields!.get(0x4002)! };
}

/** The guest's CPU, whose registers the hypervisor and the real CPU hold between them. */
export class GuestCpu {
  exits = 0;

  constructor(
    readonly machine: FakeMonitor,
    readonly cpu: FakeVtx,
    private readonly mask: { cr0: bigint; cr4: bigint },
    private readonly platform: Platform,
  ) {}

  private shadowed(real: Field, shadow: Field, mask: bigint): bigint {
    return (this.cpu.get(real) & ~mask) | (this.cpu.get(shadow) & mask);
  }

  /** MOV from CR0 and CR4: masked bits come from the read shadow. */
  get cr0(): bigint {
    return this.shadowed(Field.GUEST_CR0, Field.CR0_SHADOW, this.mask.cr0);
  }
  get cr4(): bigint {
    return this.shadowed(Field.GUEST_CR4, Field.CR4_SHADOW, this.mask.cr4);
  }

  private get real(): Registers {
    const { cpu } = this;
    return {
      cr0: cpu.get(Field.GUEST_CR0),
      cr3: cpu.get(Field.GUEST_CR3),
      cr4: cpu.get(Field.GUEST_CR4),
      efer: cpu.get(Field.GUEST_EFER),
      long: (cpu.get(Field.CS_RIGHTS) & 0x2000n) !== 0n,
      tss16: (cpu.get(Field.TR_RIGHTS) & 15n) === 3n,
      pdptes: this.pdptes,
    };
  }

  get pdptes(): bigint[] {
    return [0, 1, 2, 3].map((i) => this.cpu.get(Field.PDPTE0 + i * 2));
  }

  /** Executes MOV to CR0 or CR4 from a general register until it is complete or has faulted. */
  move(n: 0 | 4, operand: bigint, register = Gpr.rax): Outcome {
    const { cpu, machine } = this;
    const [mask, shadow, field] =
      n === 0
        ? [this.mask.cr0, Field.CR0_SHADOW, Field.GUEST_CR0]
        : [this.mask.cr4, Field.CR4_SHADOW, Field.GUEST_CR4];
    if (register === Gpr.rsp) cpu.set(Field.GUEST_RSP, operand);
    else machine.setGpr(register, operand);
    const flushes = cpu.flushes;
    for (let tries = 0; tries < 3; tries++) {
      const in64 = (cpu.get(Field.GUEST_EFER) & LMA) !== 0n && (cpu.get(Field.CS_RIGHTS) & 0x2000n) !== 0n;
      const value = in64 ? operand : operand & 0xffffffffn;
      if ((value ^ cpu.get(shadow)) & mask) {
        this.exits++;
        const next = cpu.exit(28, { EXIT_LENGTH: 3, QUALIFICATION: BigInt(n | (register << 8)) });
        if (next !== Next.Resume) throw new Error("MOV to a control register has ended the guest");
        if (cpu.problems.length) throw new Error(cpu.problems.join());
        const injected = cpu.takeInjected();
        if (injected?.vector === 13) return "#GP";
        if (injected) throw new Error(`vector ${injected.vector}`);
        continue;
      }
      // The CPU executes it: masked bits stay.
      const real = this.real;
      const result = (real[n === 0 ? "cr0" : "cr4"] & mask) | (value & ~mask);
      const outcome = moveToCr(real, n, result, { ...this.platform, cr4: 0xffffffffn });
      if (outcome === "#GP") return outcome;
      cpu.set(field, n === 0 ? real.cr0 : real.cr4);
      cpu.set(Field.GUEST_EFER, real.efer);
      cpu.set(Field.ENTRY_CONTROLS, real.efer & LMA ? 0x204 : 4);
      real.pdptes.forEach((entry, i) => cpu.set(Field.PDPTE0 + i * 2, entry));
      return cpu.flushes > flushes ? { flush: "all" } : outcome;
    }
    throw new Error("the instruction is executed again and again");
  }
}
