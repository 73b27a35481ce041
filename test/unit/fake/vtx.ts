/**
 * VT-x for the monitor under test: a VMCS that knows which fields a monitor may touch, and guests' instructions as the
 * exits that SDM Vol. 3C 28.2 describes.
 */
import type { FakeCpu, FakeMonitor } from "./monitor.ts";
import { brokenInjection, brokenRules } from "./entry.ts";
import { Gpr, type Next } from "./exit.ts";

export enum Field {
  CS_SELECTOR = 0x802,
  TSC_OFFSET = 0x2010,
  GUEST_PHYSICAL = 0x2400,
  LINK_POINTER = 0x2800,
  GUEST_PAT = 0x2804,
  GUEST_EFER = 0x2806,
  PDPTE0 = 0x280a,
  ENTRY_CONTROLS = 0x4012,
  ENTRY_INTERRUPTION = 0x4016,
  ENTRY_ERROR_CODE = 0x4018,
  ENTRY_LENGTH = 0x401a,
  EXIT_INTERRUPTION = 0x4404,
  EXIT_ERROR_CODE = 0x4406,
  VECTORING = 0x4408,
  VECTORING_ERROR_CODE = 0x440a,
  EXIT_LENGTH = 0x440c,
  CS_RIGHTS = 0x4816,
  SS_RIGHTS = 0x4818,
  TR_RIGHTS = 0x4822,
  GDTR_LIMIT = 0x4810,
  INTERRUPTIBILITY = 0x4824,
  ACTIVITY = 0x4826,
  CR0_SHADOW = 0x6004,
  CR4_SHADOW = 0x6006,
  QUALIFICATION = 0x6400,
  GUEST_LINEAR = 0x640a,
  GUEST_CR0 = 0x6800,
  GUEST_CR3 = 0x6802,
  GUEST_CR4 = 0x6804,
  GDTR_BASE = 0x6816,
  GUEST_DR7 = 0x681a,
  GUEST_RSP = 0x681c,
  GUEST_RIP = 0x681e,
  GUEST_RFLAGS = 0x6820,
  PENDING_DEBUG = 0x6822,
}

const VALID = 0x80000000n;
const ALL = 0xffffffffffffffffn;

/** An event that an entry delivers. */
export interface Injected {
  vector: number;
  type: number;
  error?: number;
  /** Of software interrupts and exceptions: the instruction's. */
  length?: number;
}

/** The bits of a field that a monitor may set: vmcs_writable() of kernel/machine/vmcs.h. */
function writable(field: number): bigint {
  const within = (from: number, to: number) => field >= from && field <= to;
  if (within(0x800, 0x80e) || field === 0x4018) return 0xffffn;
  if (within(0x4800, 0x4822) || field === 0x482a) return 0xffffffffn;
  if (within(0x6800, 0x6826) || within(0x2804, 0x2806) || within(0x280a, 0x2810)) return ALL;
  if ([0x2010, 0x6004, 0x6006].includes(field)) return ALL;
  return { 0x4824: 0x1fn, 0x4826: 1n, 0x4016: 0x80000fffn, 0x401a: 15n }[field] ?? 0n;
}

/** What an EPT violation was about. */
export interface Violation {
  linear?: bigint;
  write?: boolean;
  execute?: boolean;
  walk?: boolean;
  /** IDT-vectoring information: the event whose delivery it interrupted. */
  vectoring?: number;
  /** Its error code, or the length of the instruction that it is of. */
  vectoringError?: number;
  length?: number;
  /** It was IRET's, which has unblocked NMIs. */
  unblocked?: boolean;
}

/** `rights` is in the VMCS's format. */
export interface SegmentValue {
  selector: number;
  base: bigint;
  limit: number;
  rights: number;
}

/** What a guest does, on any vendor's CPU: tests of the neutral layer use only this. */
export interface GuestActions {
  cpuid(leaf: number, subleaf?: number): Next;
  in(port: number, size?: number): Next;
  out(port: number, value: number, size?: number): Next;
  hlt(): Next;
  rdmsr(index: number): Next;
  wrmsr(index: number, value: bigint): Next;
}

export class FakeVtx implements FakeCpu, GuestActions {
  readonly module = "monitor-vmx";
  readonly enterExport = "enter";
  readonly fields = new Map<number, bigint>();
  interruptWindow = false;
  nmiWindow = false;
  flushes = 0;
  private machine!: FakeMonitor;

  attach(machine: FakeMonitor): void {
    this.machine = machine;
    // As root sets them: "load debug controls", a guest in IA-32e mode, no other VMCS.
    this.set(Field.ENTRY_CONTROLS, 0x204);
    this.set(Field.LINK_POINTER, ALL);
    this.set(Field.GUEST_RFLAGS, 0x202n);
    this.set(Field.GUEST_RIP, 0x100000n);
    this.set(Field.GUEST_CR0, 0x80050033n);
    this.set(Field.CR0_SHADOW, 0x80050033n);
    this.set(Field.GUEST_CR4, 0x2060n);
    this.set(Field.CR4_SHADOW, 0x20n);
    this.set(Field.GUEST_EFER, 0x500n);
    this.set(Field.CS_RIGHTS, 0xa09bn);
    this.set(Field.SS_RIGHTS, 0xc093n);
  }

  imports(): WebAssembly.Imports {
    return {
      vmcs: {
        vmread: (field: number) => this.read(field),
        vmwrite: (field: number, value: bigint) => this.write(field, BigInt.asUintN(64, value)),
        interruptWindow: (on: number) => void (this.interruptWindow = on !== 0),
        nmiWindow: (on: number) => void (this.nmiWindow = on !== 0),
        flush: () => void this.flushes++,
      },
    };
  }

  get(field: number): bigint {
    return this.fields.get(field) ?? 0n;
  }

  set(field: number, value: bigint | number): void {
    this.fields.set(field, BigInt.asUintN(64, BigInt(value)));
  }

  /** The allow list of kernel/machine/vmcs.h. */
  private read(field: number): bigint {
    const type = (field >> 10) & 3;
    const known = [0x4016, 0x2010, 0x6004, 0x6006].includes(field);
    if (type !== 1 && type !== 2 && !known)
      throw new Error(`VMREAD of ${field.toString(16)} is off the allow list`);
    return this.get(field);
  }

  private write(field: number, value: bigint): void {
    if (writable(field) === 0n || value & ~writable(field)) {
      throw new Error(`VMWRITE of ${field.toString(16)}: ${value.toString(16)} is off the allow list`);
    }
    this.set(field, value);
  }

  /** The event that the next entry delivers, which it now has: as the CPU does, an exit clears the field. */
  takeInjected(): Injected | undefined {
    const event = this.get(Field.ENTRY_INTERRUPTION);
    if (!(event & VALID)) return undefined;
    this.set(Field.ENTRY_INTERRUPTION, event & ~VALID);
    const injected: Injected = { vector: Number(event & 0xffn), type: Number((event >> 8n) & 7n) };
    if (event & 0x800n) injected.error = Number(this.get(Field.ENTRY_ERROR_CODE));
    if (injected.type >= 4) injected.length = Number(this.get(Field.ENTRY_LENGTH));
    return injected;
  }

  /** Whether an event waits for the next entry. */
  get injecting(): boolean {
    return (this.get(Field.ENTRY_INTERRUPTION) & VALID) !== 0n;
  }

  /** What the next entry would fail by: rules of SDM Vol. 3C 27.2.1.3 and 27.3.1 (entry.ts). */
  get problems(): string[] {
    const get = (field: number) => this.get(field);
    return [...brokenInjection(get), ...brokenRules(get)];
  }

  /** The guest exits. The entry before has delivered what was injected. */
  exit(reason: number, fields: Partial<Record<keyof typeof Field, bigint | number>> = {}): Next {
    this.set(Field.ENTRY_INTERRUPTION, this.get(Field.ENTRY_INTERRUPTION) & ~VALID);
    this.set(Field.VECTORING, 0);
    for (const [name, value] of Object.entries(fields)) this.set(Field[name as keyof typeof Field], value);
    return this.machine.exports.exit(this.machine.vcpu, reason);
  }

  cpuid(leaf: number, subleaf = 0): Next {
    this.machine.setGpr(Gpr.rax, leaf >>> 0);
    this.machine.setGpr(Gpr.rcx, subleaf);
    return this.exit(10, { EXIT_LENGTH: 2 });
  }

  in(port: number, size = 1): Next {
    return this.exit(30, { EXIT_LENGTH: 1, QUALIFICATION: (port << 16) | 8 | (size - 1) });
  }

  out(port: number, value: number, size = 1): Next {
    this.machine.setGpr(Gpr.rax, value >>> 0);
    return this.exit(30, { EXIT_LENGTH: 1, QUALIFICATION: BigInt(port << 16) | BigInt(size - 1) });
  }

  /** INS or OUTS at RIP, whose bytes are in RAM. The port is in DX for the guest; here it is given. */
  stringPort(port: number, size: number, isIn: boolean, repeat = false): Next {
    const q = (BigInt(port) << 16n) | BigInt(size - 1) | (isIn ? 8n : 0n) | 16n | (repeat ? 32n : 0n);
    return this.exit(30, { EXIT_LENGTH: 0, QUALIFICATION: q });
  }

  /**
   * An EPT violation (28.2.1, table 28-7). With `walk`, `gpa` is a paging-structure entry's address; without `linear` it
   * is where PDPTEs are loaded from.
   */
  violation(gpa: bigint, access: Violation = {}): Next {
    const { linear, write, execute, walk, vectoring, vectoringError, length, unblocked } = access;
    const kind = execute ? 4n : write ? 2n : 1n;
    const valid = linear === undefined ? 0n : walk ? 0x80n : 0x180n;
    const fields: Parameters<typeof this.exit>[1] = {
      QUALIFICATION: kind | valid | (unblocked ? 0x1000n : 0n),
      GUEST_PHYSICAL: gpa,
      GUEST_LINEAR: linear ?? 0n,
      EXIT_LENGTH: length ?? 0,
    };
    if (vectoring !== undefined) fields.VECTORING = vectoring;
    if (vectoringError !== undefined) fields.VECTORING_ERROR_CODE = vectoringError;
    return this.exit(48, fields);
  }

  /** A segment register by its number: ES, CS, SS, DS, FS, GS, LDTR, TR. */
  setSegment(n: number, { selector, base, limit, rights }: Partial<SegmentValue>): void {
    if (selector !== undefined) this.set(0x800 + n * 2, selector);
    if (base !== undefined) this.set(0x6806 + n * 2, base);
    if (limit !== undefined) this.set(0x4800 + n * 2, limit);
    if (rights !== undefined) this.set(0x4814 + n * 2, rights);
  }

  /** CR0 and CR4 as the guest sees them. */
  setCr0(value: bigint): void {
    this.set(Field.GUEST_CR0, value | 0x20n);
    this.set(Field.CR0_SHADOW, value);
  }

  setCr4(value: bigint): void {
    this.set(Field.GUEST_CR4, value | 0x2040n);
    this.set(Field.CR4_SHADOW, value);
  }

  hlt(): Next {
    return this.exit(12, { EXIT_LENGTH: 1, INTERRUPTIBILITY: 1 });
  }

  rdmsr(index: number): Next {
    this.machine.setGpr(Gpr.rcx, index >>> 0);
    return this.exit(31, { EXIT_LENGTH: 2 });
  }

  /** Of register 0, XCR0. */
  xsetbv(value: bigint): Next {
    this.machine.setGpr(Gpr.rcx, 0);
    this.machine.setGpr(Gpr.rax, value & 0xffffffffn);
    this.machine.setGpr(Gpr.rdx, value >> 32n);
    return this.exit(55, { EXIT_LENGTH: 3 });
  }

  wrmsr(index: number, value: bigint): Next {
    this.machine.setGpr(Gpr.rcx, index >>> 0);
    this.machine.setGpr(Gpr.rax, value & 0xffffffffn);
    this.machine.setGpr(Gpr.rdx, value >> 32n);
    return this.exit(32, { EXIT_LENGTH: 2 });
  }

  get rip(): bigint {
    return this.get(Field.GUEST_RIP);
  }

  get interruptsOn(): boolean {
    return (this.get(Field.GUEST_RFLAGS) & 0x200n) !== 0n;
  }

  set interruptsOn(on: boolean) {
    const flags = this.get(Field.GUEST_RFLAGS);
    this.set(Field.GUEST_RFLAGS, on ? flags | 0x200n : flags & ~0x200n);
  }
}
