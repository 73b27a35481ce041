/**
 * AMD-V for the monitor under test: a VMCB of words that a monitor may read or write, guests' instructions as the exits that
 * APM Vol. 2 15 describes, and a VMRUN that refuses what the CPU would (vmrun.ts) and goes by the VMCB's clean bits.
 */
import type { GuestCpu, Injected, SegmentValue, TableValue, Violation } from "./cpu.ts";
import { Gpr, Next } from "./exit.ts";
import { type FakeMonitor, hostCpuid } from "./monitor.ts";
import { brokenEvent, brokenState } from "./vmrun.ts";

/** Offsets in the VMCB (APM Vol. 2 Appendix B). */
export const Word = {
  INTERCEPTS: 0x08,
  TSC_OFFSET: 0x50,
  VIRTUAL_INTERRUPT: 0x60,
  SHADOW: 0x68,
  EXIT_CODE: 0x70,
  INFO_1: 0x78,
  INFO_2: 0x80,
  INT_INFO: 0x88,
  EVENT: 0xa8,
  NEXT_RIP: 0xc8,
  CODE: 0xd0,
  CS: 0x410,
  GDTR: 0x460,
  IDTR: 0x480,
  CPL: 0x4c8,
  EFER: 0x4d0,
  CR4: 0x548,
  CR3: 0x550,
  CR0: 0x558,
  DR7: 0x560,
  DR6: 0x568,
  RFLAGS: 0x570,
  RIP: 0x578,
  RSP: 0x5d8,
  RAX: 0x5f8,
  CR2: 0x640,
  PAT: 0x668,
};

/** Exit codes (Appendix C). */
export const Code = {
  READ_CR4: 0x04,
  WRITE_CR4: 0x14,
  READ_CR8: 0x08,
  WRITE_CR8: 0x18,
  EXCEPTION: 0x40,
  INTR: 0x60,
  NMI: 0x61,
  VINTR: 0x64,
  WRITE_CR0: 0x65,
  RDPMC: 0x6f,
  CPUID: 0x72,
  IRET: 0x74,
  INVD: 0x76,
  PAUSE: 0x77,
  HLT: 0x78,
  INVLPGA: 0x7a,
  IOIO: 0x7b,
  MSR: 0x7c,
  FERR_FREEZE: 0x7e,
  SHUTDOWN: 0x7f,
  VMRUN: 0x80,
  VMMCALL: 0x81,
  VMLOAD: 0x82,
  VMSAVE: 0x83,
  STGI: 0x84,
  CLGI: 0x85,
  SKINIT: 0x86,
  ICEBP: 0x88,
  WBINVD: 0x89,
  MONITOR: 0x8a,
  MWAIT: 0x8b,
  MWAIT_ARMED: 0x8c,
  XSETBV: 0x8d,
  RDPRU: 0x8e,
  INVLPGB: 0xa0,
  INVLPGB_ILLEGAL: 0xa1,
  MCOMMIT: 0xa3,
  TLBSYNC: 0xa4,
  NPF: 0x400,
  INVALID: 0xffffffff,
};

const ALL = 0xffffffffffffffffn;
const VALID = 1n << 31n;
const HAS_ERROR = 1n << 11n;
const V_IRQ = 1n << 8n;
const V_INTR_MASKING = 1n << 24n;
const SVME = 1n << 12n;
const MCE = 1n << 6n;
const UNUSABLE = 0x10000;
const SIZE = 0x700;

const within = (offset: number, from: number, to: number) => offset >= from && offset <= to;

/** Words that a monitor may read: vmcb_readable() of kernel/machine/vmcb.h. */
export function isReadable(offset: number): boolean {
  if (offset % 8) return false;
  const information = within(offset, 0x60, 0x88) || within(offset, 0xc8, 0xd8);
  return [0x50, 0xa8].includes(offset) || information || within(offset, 0x400, 0x668);
}

/** The bits of a word that a monitor may set: vmcb_writable(). */
export function writable(offset: number): bigint {
  if (offset % 8) return 0n;
  if (offset === Word.VIRTUAL_INTERRUPT) return 0xff011f0100n;
  if (offset === Word.SHADOW) return 1n;
  if (offset === Word.EVENT) return 0xffffffff80000fffn;
  const tables = within(offset, 0x400, 0x498);
  const registers = within(offset, Word.CR4, Word.RIP) || within(offset, 0x600, Word.CR2);
  const others: number[] = [Word.TSC_OFFSET, Word.INT_INFO, Word.EFER, Word.RSP, Word.PAT];
  return tables || registers || others.includes(offset) ? ALL : 0n;
}

/** The bits that are on in it whatever a monitor writes. */
export const forced = (offset: number): bigint => (offset === Word.VIRTUAL_INTERRUPT ? V_INTR_MASKING : 0n);

/** What a clean bit is about (15.15.3, table 15-8): its number, or undefined for what the CPU reads at every VMRUN. */
export function cleanBit(offset: number): number | undefined {
  if (within(offset, 0, 0x17) || within(offset, 0x38, 0x3f) || within(offset, 0x50, 0x57)) return 0;
  if (within(offset, 0x40, 0x4f)) return 1;
  if (within(offset, 0x58, 0x5b)) return 2;
  if (within(offset, 0x60, 0x67)) return 3;
  if (within(offset, 0x90, 0x97) || within(offset, 0xb0, 0xb7) || within(offset, 0x668, 0x66f)) return 4;
  if (within(offset, 0x4d0, 0x4d7) || within(offset, 0x548, 0x55f)) return 5;
  if (within(offset, 0x560, 0x56f)) return 6;
  if (within(offset, 0x460, 0x46f) || within(offset, 0x480, 0x48f)) return 7;
  if (within(offset, 0x400, 0x43f) || offset === 0x4cb) return 8;
  if (within(offset, 0x640, 0x647)) return 9;
  return undefined;
}

const cached = Array.from({ length: SIZE / 8 }, (_, n) => n * 8)
  .map((offset) => ({ offset, bit: offset === Word.CPL ? 8 : cleanBit(offset)! }))
  .filter(({ bit }) => bit !== undefined);

/** A recent AMD CPU, as far as the monitor looks. */
export function amdCpuid(leaf: number, subleaf: number): [number, number, number, number] {
  const answer = hostCpuid(leaf, subleaf);
  if (leaf === 0 || leaf >>> 0 === 0x80000000) return [answer[0], 0x68747541, 0x444d4163, 0x69746e65];
  return answer;
}

export interface SvmOptions {
  /** Whether the CPU says where the intercepted instruction ends: unless told, it does. */
  nextRip?: boolean;
  /** Whether it tells which register was accessed, and the bytes of an instruction whose access faulted. */
  assists?: boolean;
}

export interface ExitDetails {
  info1?: bigint;
  info2?: bigint;
  /** Length of the intercepted instruction. */
  length?: number;
  /** The event whose delivery was interrupted. */
  during?: Injected;
  /** The guest has not taken the virtual interrupt that it is to take. */
  untaken?: boolean;
  /** Bytes of the instruction that the CPU hands over. */
  code?: Uint8Array;
}

/** Of GDTR and IDTR, which are between the segment registers. */
const segmentAt = (n: number) => 0x400 + (n < 6 ? n : n === 6 ? 7 : 9) * 16;

export class FakeSvm implements GuestCpu {
  readonly vendor = "AMD-V";
  readonly module = "monitor-svm";
  readonly enterExport = "enter";
  flushes = 0;
  /** Of the VMCB. */
  iretIntercept = false;
  virtualIntercept = true;
  /** The guest handles an NMI. */
  handlesNmi = false;
  private readonly words = new BigUint64Array(SIZE / 8);
  /** What the CPU has kept of the VMCB at the last exit. */
  private readonly kept = new BigUint64Array(SIZE / 8);
  private clean = 0;
  private machine!: FakeMonitor;

  constructor(readonly has: SvmOptions = {}) {}

  attach(machine: FakeMonitor): void {
    this.machine = machine;
    // As root makes it, and of what it never changes all that VMRUN looks at.
    this.set(Word.VIRTUAL_INTERRUPT, V_INTR_MASKING);
    this.set(Word.CR0, 0x10n);
    this.set(Word.CR4, MCE);
    this.set(Word.EFER, SVME);
    this.set(Word.DR6, 0xffff0ff0n);
    this.set(Word.DR7, 0x400n);
    this.set(Word.RFLAGS, 2n);
    this.set(Word.PAT, 0x0007040600070406n);
    this.clean = 0;
  }

  imports(): WebAssembly.Imports {
    return {
      vmcb: {
        read: (offset: number) => this.read(offset),
        write: (offset: number, value: bigint) => this.write(offset, BigInt.asUintN(64, value)),
        interceptVirtual: (on: number) => {
          this.virtualIntercept = on !== 0;
          this.clean &= ~1;
        },
        interceptIret: (on: number) => {
          this.iretIntercept = on !== 0;
          this.clean &= ~1;
        },
        flush: () => void this.flushes++,
      },
    };
  }

  /** What is in the VMCB, which is also what the CPU has while the guest runs. */
  get(word: number): bigint {
    return this.words[word / 8]!;
  }

  set(word: number, value: bigint | number): void {
    this.words[word / 8] = this.kept[word / 8] = BigInt.asUintN(64, BigInt(value));
  }

  private change(word: number, value: bigint): void {
    this.words[word / 8] = value;
    const bit = cleanBit(word);
    if (bit !== undefined) this.clean &= ~(1 << bit);
  }

  private read(offset: number): bigint {
    if (!isReadable(offset)) throw new Error(`reading ${offset.toString(16)} is off the allow list`);
    return this.get(offset);
  }

  private write(offset: number, value: bigint): void {
    const mask = writable(offset);
    if (mask === 0n || value & ~mask)
      throw new Error(`writing ${value.toString(16)} to ${offset.toString(16)} is off the allow list`);
    this.change(offset, value | forced(offset));
  }

  /** What the next entry would fail by: rules of 15.5.1 and 15.20, and words that the CPU would not look at. */
  get problems(): string[] {
    const get = (word: number) => this.get(word);
    const stale = cached
      .filter(({ offset, bit }) => (this.clean >> bit) & 1 && this.get(offset) !== this.kept[offset / 8])
      .map(({ offset }) => `VMCB + ${offset.toString(16)}h: changed, and said to be clean`);
    return [...brokenState(get), ...brokenEvent(get, this.handlesNmi), ...stale];
  }

  /** The monitor has returned: an entry that VMRUN refuses is an error. */
  returned(next: Next): void {
    if (next === Next.Resume && this.problems.length > 0) throw new Error(this.problems.join("; "));
  }

  /** At the next entry, as far as the guest can take it. */
  get injecting(): boolean {
    return this.event !== undefined;
  }

  private get hasVirtual(): boolean {
    return (this.get(Word.VIRTUAL_INTERRUPT) & V_IRQ) !== 0n;
  }

  private get event(): Injected | undefined {
    const event = this.get(Word.EVENT);
    if (!(event & VALID)) {
      if (!this.hasVirtual || this.virtualIntercept) return undefined;
      return { type: 0, vector: Number((this.get(Word.VIRTUAL_INTERRUPT) >> 32n) & 0xffn) };
    }
    const injected: Injected = { vector: Number(event & 0xffn), type: Number((event >> 8n) & 7n) };
    if (event & HAS_ERROR) injected.error = Number(event >> 32n);
    return injected;
  }

  /** As the CPU does, an exit clears the field. */
  takeInjected(): Injected | undefined {
    const injected = this.event;
    if (injected?.type === 2) this.handlesNmi = true;
    if (this.get(Word.EVENT) & VALID) this.set(Word.EVENT, this.get(Word.EVENT) & ~VALID);
    else if (injected) this.set(Word.VIRTUAL_INTERRUPT, this.get(Word.VIRTUAL_INTERRUPT) & ~V_IRQ);
    return injected;
  }

  takeStep(): boolean {
    const { event } = this;
    const dr6 = this.get(Word.DR6);
    if (event?.type !== 3 || event.vector !== 1 || !(dr6 & 0x4000n)) return false;
    this.takeInjected();
    this.set(Word.DR6, dr6 & ~0x4000n);
    return true;
  }

  /** What the CPU does, and then the exit stub (boot/svm.asm). */
  leave(code: number, { info1, info2, length, during, untaken, code: bytes }: ExitDetails = {}): void {
    if (!untaken) this.takeInjected();
    if (during?.type === 2) this.handlesNmi = false;
    this.set(Word.EXIT_CODE, code);
    this.set(Word.INFO_1, info1 ?? 0n);
    this.set(Word.INFO_2, info2 ?? 0n);
    this.set(Word.INT_INFO, during ? eventWord(during) : 0n);
    this.set(Word.NEXT_RIP, length && this.has.nextRip !== false ? this.behind(length) : 0n);
    const line = new Uint8Array(16);
    if (bytes && this.has.assists) line.set([bytes.length, ...bytes]);
    const view = new DataView(line.buffer);
    this.set(Word.CODE, view.getBigUint64(0, true));
    this.set(Word.CODE + 8, view.getBigUint64(8, true));
    this.clean = ~0;
    this.kept.set(this.words);
  }

  exit(code: number, details: ExitDetails = {}): Next {
    this.leave(code, details);
    const next: Next = this.machine.exports.exit(this.machine.vcpu, code | 0);
    this.returned(next);
    return next;
  }

  private get is64(): boolean {
    return (this.get(Word.EFER) & 0x400n) !== 0n && (this.get(Word.CS) & (1n << 25n)) !== 0n;
  }

  /** The address behind an instruction at RIP. */
  private behind(length: number): bigint {
    const next = this.rip + BigInt(length);
    return BigInt.asUintN(this.is64 ? 64 : 32, next);
  }

  /** Where a linear address is mapped to, if it is, in any paging mode and whatever the rights. */
  physical(linear: bigint): bigint | undefined {
    if (!(this.cr0 & 0x80000000n)) return linear;
    const wide = (this.cr4 & 0x20n) !== 0n;
    const long = (this.efer & 0x400n) !== 0n;
    const shifts = wide ? (long ? [39n, 30n, 21n, 12n] : [30n, 21n, 12n]) : [22n, 12n];
    const [bits, size] = wide ? [9n, 8] : [10n, 4];
    let entry = this.cr3 & ~0x1fn;
    for (const shift of shifts) {
      const base = shift === 30n && !long ? entry : entry & 0xffffffffff000n;
      const index = (linear >> shift) & ((1n << bits) - 1n);
      entry = this.machine.ram.load(base + index * BigInt(size), size);
      if (!(entry & 1n)) return undefined;
      const offsets = (1n << shift) - 1n;
      if (shift === 12n || (shift < 39n && entry & 0x80n))
        return (entry & 0xffffffffff000n & ~offsets) | (linear & offsets);
    }
    return undefined;
  }

  /** Where the byte at CS:RIP + n is in RAM. */
  private codeAt(n: number): bigint | undefined {
    const linear = this.is64
      ? this.rip + BigInt(n)
      : BigInt.asUintN(32, this.segment(1).base + this.rip + BigInt(n));
    const gpa = this.physical(BigInt.asUintN(64, linear));
    return gpa !== undefined && this.machine.ram.contains(gpa, 1n) ? gpa : undefined;
  }

  /** What the CPU has fetched of the instruction at RIP, up to the end of what is mapped. */
  private fetched(): Uint8Array {
    const bytes: number[] = [];
    for (let n = 0; n < 15; n++) {
      const gpa = this.codeAt(n);
      if (gpa === undefined) break;
      bytes.push(Number(this.machine.ram.load(gpa, 1)));
    }
    return Uint8Array.from(bytes);
  }

  /** An instruction is intercepted. A monitor that is not told its length finds its bytes where they are. */
  instruction(code: number, bytes: readonly number[], details: ExitDetails = {}): Next {
    bytes.forEach((byte, n) => {
      const gpa = this.has.nextRip === false ? this.codeAt(n) : undefined;
      if (gpa !== undefined) this.machine.ram.store(gpa, 1, BigInt(byte));
    });
    return this.exit(code, { length: bytes.length, ...details });
  }

  cpuid(leaf: number, subleaf = 0): Next {
    this.machine.setGpr(Gpr.rax, leaf >>> 0);
    this.machine.setGpr(Gpr.rcx, subleaf);
    return this.instruction(Code.CPUID, [0x0f, 0xa2]);
  }

  /** EXITINFO1 and EXITINFO2 of an I/O instruction (15.10.2). */
  private io(port: number, size: number, flags: number, length: number): Next {
    const info1 = BigInt(port * 65536 + (size << 4) + flags + (this.is64 ? 0x200 : 0x100));
    return this.exit(Code.IOIO, { info1, info2: this.behind(length) });
  }

  in(port: number, size = 1): Next {
    return this.io(port, size, 1, 1);
  }

  out(port: number, value: number, size = 1): Next {
    this.machine.setGpr(Gpr.rax, value >>> 0);
    return this.io(port, size, 0, 1);
  }

  stringPort(port: number, size: number, isIn: boolean, repeat = false): Next {
    return this.io(port, size, (isIn ? 5 : 4) | (repeat ? 8 : 0), repeat ? 2 : 1);
  }

  hlt(): Next {
    this.blocking = 1n;
    return this.instruction(Code.HLT, [0xf4]);
  }

  rdmsr(index: number): Next {
    this.machine.setGpr(Gpr.rcx, index >>> 0);
    return this.instruction(Code.MSR, [0x0f, 0x32], { info1: 0n });
  }

  wrmsr(index: number, value: bigint): Next {
    this.machine.setGpr(Gpr.rcx, index >>> 0);
    this.machine.setGpr(Gpr.rax, value & 0xffffffffn);
    this.machine.setGpr(Gpr.rdx, value >> 32n);
    return this.instruction(Code.MSR, [0x0f, 0x30], { info1: 1n });
  }

  xsetbv(value?: bigint): Next {
    if (value !== undefined) {
      this.machine.setGpr(Gpr.rcx, 0);
      this.machine.setGpr(Gpr.rax, value & 0xffffffffn);
      this.machine.setGpr(Gpr.rdx, value >> 32n);
    }
    return this.instruction(Code.XSETBV, [0x0f, 0x01, 0xd1]);
  }

  rdpmc(): Next {
    return this.instruction(Code.RDPMC, [0x0f, 0x33]);
  }

  invd(): Next {
    return this.instruction(Code.INVD, [0x0f, 0x08]);
  }

  wbinvd(): Next {
    return this.instruction(Code.WBINVD, [0x0f, 0x09]);
  }

  wbnoinvd(): Next {
    return this.instruction(Code.WBINVD, [0xf3, 0x0f, 0x09]);
  }

  vmcall(): Next {
    return this.instruction(Code.VMMCALL, [0x0f, 0x01, 0xd9]);
  }

  /** A nested page fault (15.25.6): not present, and as all accesses of a guest a user's. */
  violation(gpa: bigint, { write, execute, walk, event }: Violation = {}): Next {
    // The CPU's own accesses to a guest's page tables count as writes.
    const kind = (execute ? 0x10n : 0n) | (write || walk ? 2n : 0n) | 4n;
    const info1 = kind | (1n << (walk ? 33n : 32n));
    const code = execute ? new Uint8Array(0) : this.fetched();
    return this.exit(Code.NPF, { info1, info2: gpa, during: event, code });
  }

  exception(vector: number, during?: Injected): Next {
    return this.exit(Code.EXCEPTION + vector, { during });
  }

  /** IRET is about to be executed, and exits if that is asked for. */
  iret(): Next {
    return this.iretIntercept ? this.exit(Code.IRET) : Next.Resume;
  }

  /** It is executed. */
  returnTo(rip: bigint): void {
    this.handlesNmi = false;
    this.rip = rip;
  }

  /** The host has an interrupt: root has the CPU, and gives it back to the monitor. */
  hostInterrupt(during?: Injected, untaken = false): Next {
    this.leave(Code.INTR, { during, untaken });
    return this.machine.enter();
  }

  windowOpens(): Next {
    if (!this.interruptWindow || !this.interruptsOn || this.blocking) throw new Error("no window opens");
    return this.exit(Code.VINTR);
  }

  get interruptWindow(): boolean {
    return this.hasVirtual && this.virtualIntercept;
  }

  get rip(): bigint {
    return this.get(Word.RIP);
  }
  set rip(value: bigint) {
    this.set(Word.RIP, value);
  }
  get rsp(): bigint {
    return this.get(Word.RSP);
  }
  set rsp(value: bigint) {
    this.set(Word.RSP, value);
  }
  get rflags(): bigint {
    return this.get(Word.RFLAGS);
  }
  set rflags(value: bigint) {
    this.set(Word.RFLAGS, value);
  }
  get cr0(): bigint {
    return this.get(Word.CR0);
  }
  set cr0(value: bigint) {
    this.set(Word.CR0, value);
  }
  get cr2(): bigint {
    return this.get(Word.CR2);
  }
  set cr2(value: bigint) {
    this.set(Word.CR2, value);
  }
  get cr3(): bigint {
    return this.get(Word.CR3);
  }
  set cr3(value: bigint) {
    this.set(Word.CR3, value);
  }
  /** As the guest sees it. */
  get cr4(): bigint {
    return this.get(Word.CR4) & ~MCE;
  }
  set cr4(value: bigint) {
    this.set(Word.CR4, value | MCE);
  }
  /** As the guest sees it. */
  get efer(): bigint {
    return this.get(Word.EFER) & ~SVME;
  }
  set efer(value: bigint) {
    this.set(Word.EFER, value | SVME);
  }
  get dr6(): bigint {
    return this.get(Word.DR6);
  }
  set dr6(value: bigint) {
    this.set(Word.DR6, value);
  }
  get dr7(): bigint {
    return this.get(Word.DR7);
  }
  set dr7(value: bigint) {
    this.set(Word.DR7, value);
  }
  get gdtr(): TableValue {
    return { base: this.get(Word.GDTR + 8), limit: Number(this.get(Word.GDTR) >> 32n) };
  }
  set gdtr({ base, limit }: TableValue) {
    this.set(Word.GDTR, BigInt(limit) << 32n);
    this.set(Word.GDTR + 8, base);
  }
  get idtr(): TableValue {
    return { base: this.get(Word.IDTR + 8), limit: Number(this.get(Word.IDTR) >> 32n) };
  }
  set idtr({ base, limit }: TableValue) {
    this.set(Word.IDTR, BigInt(limit) << 32n);
    this.set(Word.IDTR + 8, base);
  }
  get blocking(): bigint {
    return this.get(Word.SHADOW) & 1n;
  }
  set blocking(value: bigint) {
    this.set(Word.SHADOW, value & 3n ? 1n : 0n);
  }
  get interruptsOn(): boolean {
    return (this.rflags & 0x200n) !== 0n;
  }
  set interruptsOn(on: boolean) {
    this.rflags = on ? this.rflags | 0x200n : this.rflags & ~0x200n;
  }

  segment(n: number): SegmentValue {
    const word = this.get(segmentAt(n));
    const attributes = Number((word >> 16n) & 0xfffn);
    const rights = (attributes & 0xff) | ((attributes & 0xf00) << 4);
    return {
      selector: Number(word & 0xffffn),
      base: this.get(segmentAt(n) + 8),
      limit: Number(word >> 32n),
      rights: rights & 0x80 ? rights : UNUSABLE,
    };
  }

  /** The CPL, which SS's rights have under VT-x, has a field of its own. */
  setSegment(n: number, value: Partial<SegmentValue>): void {
    const { selector, base, limit, rights } = { ...this.segment(n), ...value };
    const attributes = rights & UNUSABLE ? 0 : (rights & 0xff) | ((rights >> 4) & 0xf00);
    this.set(segmentAt(n), BigInt(selector) | (BigInt(attributes) << 16n) | (BigInt(limit) << 32n));
    this.set(segmentAt(n) + 8, base);
    if (n === 2 && value.rights !== undefined) this.cpl = (rights >> 5) & 3;
  }

  get cpl(): number {
    return Number(this.get(Word.CPL) >> 24n) & 3;
  }
  set cpl(value: number) {
    this.set(Word.CPL, BigInt(value) << 24n);
  }

  /** There are none: with nested paging the CPU reads them like any other entry (15.25.10). */
  setPdptes(): void {}
}

/** An event as EVENTINJ and EXITINTINFO have it: an exception that an instruction is for is one of type 3. */
function eventWord({ vector, type, error }: Injected): bigint {
  const word = VALID | (BigInt(type > 4 ? 3 : type) << 8n) | BigInt(vector);
  return error === undefined ? word : word | HAS_ERROR | (BigInt(error) << 32n);
}
