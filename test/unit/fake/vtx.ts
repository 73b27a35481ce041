/**
 * VT-x for the monitor under test: a VMCS that knows which fields a monitor may touch, and guests' instructions as the
 * exits that SDM Vol. 3C 28.2 describes.
 */
import type { FakeMonitor } from "./monitor.ts";
import {
  EventType,
  type GuestCpu,
  type Injected,
  type SegmentValue,
  type TableValue,
  type Violation,
} from "./cpu.ts";
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
  TPR_THRESHOLD = 0x401c,
  EXIT_INTERRUPTION = 0x4404,
  EXIT_ERROR_CODE = 0x4406,
  VECTORING = 0x4408,
  VECTORING_ERROR_CODE = 0x440a,
  EXIT_LENGTH = 0x440c,
  CS_RIGHTS = 0x4816,
  SS_RIGHTS = 0x4818,
  TR_RIGHTS = 0x4822,
  GDTR_LIMIT = 0x4810,
  IDTR_LIMIT = 0x4812,
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
  IDTR_BASE = 0x6818,
  GUEST_DR7 = 0x681a,
  GUEST_RSP = 0x681c,
  GUEST_RIP = 0x681e,
  GUEST_RFLAGS = 0x6820,
  PENDING_DEBUG = 0x6822,
}

const VALID = 0x80000000n;
const ALL = 0xffffffffffffffffn;
/** Of pending debug exceptions: a single step. */
const BS = 0x4000n;

/** The bits of a field that a monitor may set: vmcs_writable() of kernel/machine/vmcs.h. */
function writable(field: number): bigint {
  const within = (from: number, to: number) => field >= from && field <= to;
  if (within(0x800, 0x810) || field === 0x4018) return 0xffffn;
  if (within(0x4800, 0x4822) || field === 0x482a) return 0xffffffffn;
  if (within(0x6800, 0x6826) || within(0x2804, 0x2806) || within(0x280a, 0x2810)) return ALL;
  if ([0x2010, 0x6004, 0x6006].includes(field) || within(0x201c, 0x2022)) return ALL;
  return { 0x4824: 0x1fn, 0x4826: 1n, 0x4016: 0x80000fffn, 0x401a: 15n, 0x401c: 15n }[field] ?? 0n;
}

export class FakeVtx implements GuestCpu {
  readonly vendor = "VT-x";
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
    this.set(Field.TSC_OFFSET, -machine.scaled(machine.tsc));
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
        vmread: (field: number) => this.readField(field),
        vmwrite: (field: number, value: bigint) => this.writeField(field, BigInt.asUintN(64, value)),
        interruptWindow: (on: number) => void (this.interruptWindow = on !== 0),
        nmiWindow: (on: number) => void (this.nmiWindow = on !== 0),
        longMode: (on: number) => this.set(Field.ENTRY_CONTROLS, on ? 0x204 : 4),
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
  private readField(field: number): bigint {
    const type = (field >> 10) & 3;
    const known = [0x4016, 0x2010, 0x6004, 0x6006].includes(field);
    if (type !== 1 && type !== 2 && !known)
      throw new Error(`VMREAD of ${field.toString(16)} is off the allow list`);
    return this.get(field);
  }

  private writeField(field: number, value: bigint): void {
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

  takeStep(): boolean {
    const pending = this.get(Field.PENDING_DEBUG);
    this.set(Field.PENDING_DEBUG, 0);
    if (pending !== 0n && pending !== BS)
      throw new Error(`pending debug exceptions: ${pending.toString(16)}`);
    return pending === BS;
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

  /** RDTSC, which never exits (26.3). */
  rdtsc(): bigint {
    return BigInt.asUintN(64, this.machine.scaled(this.machine.tsc) + this.get(Field.TSC_OFFSET));
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

  stringPort(port: number, size: number, isIn: boolean, repeat = false): Next {
    const q = (BigInt(port) << 16n) | BigInt(size - 1) | (isIn ? 8n : 0n) | 16n | (repeat ? 32n : 0n);
    return this.exit(30, { EXIT_LENGTH: 0, QUALIFICATION: q });
  }

  /** IDT-vectoring information (25.9.3) of an event whose delivery an exit interrupts. */
  private vectoring(event: Injected | undefined): Parameters<typeof this.exit>[1] {
    if (!event) return {};
    const hasError = event.error === undefined ? 0 : 0x800;
    return {
      VECTORING: (0x80000000 | (event.type << 8) | event.vector | hasError) >>> 0,
      VECTORING_ERROR_CODE: event.error ?? 0,
      EXIT_LENGTH: event.length ?? 0,
    };
  }

  /**
   * An EPT violation (28.2.1, table 28-7). With `walk`, `gpa` is a paging-structure entry's address; without `linear` it
   * is where PDPTEs are loaded from.
   */
  violation(gpa: bigint, access: Violation = {}): Next {
    const { linear, write, execute, walk, event, unblocked } = access;
    const kind = execute ? 4n : write ? 2n : 1n;
    const valid = linear === undefined ? 0n : walk ? 0x80n : 0x180n;
    return this.exit(48, {
      QUALIFICATION: kind | valid | (unblocked ? 0x1000n : 0n),
      GUEST_PHYSICAL: gpa,
      GUEST_LINEAR: linear ?? 0n,
      EXIT_LENGTH: 0,
      ...this.vectoring(event),
    });
  }

  exception(vector: number, during?: Injected): Next {
    const hasError = vector === 17 ? 0x800 : 0;
    return this.exit(0, {
      EXIT_INTERRUPTION: (0x80000000 | (EventType.Exception << 8) | vector | hasError) >>> 0,
      EXIT_ERROR_CODE: 0,
      QUALIFICATION: 0,
      ...this.vectoring(during),
    });
  }

  windowOpens(): Next {
    return this.exit(7);
  }

  /** A segment register by its number: ES, CS, SS, DS, FS, GS, LDTR, TR. */
  segment(n: number): SegmentValue {
    return {
      selector: Number(this.get(0x800 + n * 2)),
      base: this.get(0x6806 + n * 2),
      limit: Number(this.get(0x4800 + n * 2)),
      rights: Number(this.get(0x4814 + n * 2)),
    };
  }

  setSegment(n: number, { selector, base, limit, rights }: Partial<SegmentValue>): void {
    if (selector !== undefined) this.set(0x800 + n * 2, selector);
    if (base !== undefined) this.set(0x6806 + n * 2, base);
    if (limit !== undefined) this.set(0x4800 + n * 2, limit);
    if (rights !== undefined) this.set(0x4814 + n * 2, rights);
  }

  setPdptes(entries: bigint[]): void {
    entries.forEach((entry, i) => this.set(Field.PDPTE0 + i * 2, entry));
  }

  hlt(): Next {
    return this.exit(12, { EXIT_LENGTH: 1, INTERRUPTIBILITY: 1 });
  }

  rdmsr(index: number): Next {
    this.machine.setGpr(Gpr.rcx, index >>> 0);
    return this.exit(31, { EXIT_LENGTH: 2 });
  }

  rdpmc(): Next {
    return this.exit(15, { EXIT_LENGTH: 2 });
  }

  invd(): Next {
    return this.exit(13, { EXIT_LENGTH: 2 });
  }

  wbinvd(): Next {
    return this.exit(54, { EXIT_LENGTH: 2 });
  }

  wbnoinvd(): Next {
    return this.exit(54, { EXIT_LENGTH: 3 });
  }

  vmcall(): Next {
    return this.exit(18, { EXIT_LENGTH: 3 });
  }

  xsetbv(value?: bigint): Next {
    if (value !== undefined) {
      this.machine.setGpr(Gpr.rcx, 0);
      this.machine.setGpr(Gpr.rax, value & 0xffffffffn);
      this.machine.setGpr(Gpr.rdx, value >> 32n);
    }
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
  set rip(value: bigint) {
    this.set(Field.GUEST_RIP, value);
  }
  get rsp(): bigint {
    return this.get(Field.GUEST_RSP);
  }
  set rsp(value: bigint) {
    this.set(Field.GUEST_RSP, value);
  }
  get rflags(): bigint {
    return this.get(Field.GUEST_RFLAGS);
  }
  set rflags(value: bigint) {
    this.set(Field.GUEST_RFLAGS, value);
  }
  get cr3(): bigint {
    return this.get(Field.GUEST_CR3);
  }
  set cr3(value: bigint) {
    this.set(Field.GUEST_CR3, value);
  }
  get efer(): bigint {
    return this.get(Field.GUEST_EFER);
  }
  set efer(value: bigint) {
    this.set(Field.GUEST_EFER, value);
  }
  get blocking(): bigint {
    return this.get(Field.INTERRUPTIBILITY);
  }
  set blocking(value: bigint) {
    this.set(Field.INTERRUPTIBILITY, value);
  }
  /** As the guest sees it. */
  get cr0(): bigint {
    return this.get(Field.CR0_SHADOW);
  }
  set cr0(value: bigint) {
    this.set(Field.GUEST_CR0, value | 0x20n);
    this.set(Field.CR0_SHADOW, value);
  }
  /** As the guest sees it. */
  get cr4(): bigint {
    return this.get(Field.CR4_SHADOW);
  }
  set cr4(value: bigint) {
    this.set(Field.GUEST_CR4, value | 0x2040n);
    this.set(Field.CR4_SHADOW, value);
  }
  /** It stays in the CPU. */
  get cr2(): bigint {
    return this.machine.cr2;
  }
  set cr2(value: bigint) {
    this.machine.cr2 = value;
  }
  get gdtr(): TableValue {
    return { base: this.get(Field.GDTR_BASE), limit: Number(this.get(Field.GDTR_LIMIT)) };
  }
  set gdtr({ base, limit }: TableValue) {
    this.set(Field.GDTR_BASE, base);
    this.set(Field.GDTR_LIMIT, limit);
  }
  get idtr(): TableValue {
    return { base: this.get(Field.IDTR_BASE), limit: Number(this.get(Field.IDTR_LIMIT)) };
  }
  set idtr({ base, limit }: TableValue) {
    this.set(Field.IDTR_BASE, base);
    this.set(Field.IDTR_LIMIT, limit);
  }

  get interruptsOn(): boolean {
    return (this.get(Field.GUEST_RFLAGS) & 0x200n) !== 0n;
  }

  set interruptsOn(on: boolean) {
    const flags = this.get(Field.GUEST_RFLAGS);
    this.set(Field.GUEST_RFLAGS, on ? flags | 0x200n : flags & ~0x200n);
  }
}
