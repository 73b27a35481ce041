/**
 * A stopped machine around the debugger, the very module that ships: physical memory behind the debugger's own page tables,
 * a UART with a script, debug registers, and two VMs on VT-x or on AMD-V whose RAM is mapped by nested tables. A VM is meant by
 * its number, and in it vCPU 0 unless told.
 */
import { readFileSync } from "node:fs";
import { abi, moduleFile } from "./layout.ts";
import { PageTables, type PagingMode } from "./paging.ts";
import { PhysicalMemory } from "./physical.ts";
import type { FakeRam } from "./ram.ts";

export type GdbVendor = "VT-x" | "AMD-V";
export const gdbVendors: GdbVendor[] = ["VT-x", "AMD-V"];

export enum Cause {
  Host,
  Waiting,
  Breakpoint,
  Debug,
  Step,
  Watch,
  Caught,
  Ended,
  Finished,
}

/** Numbers of kernel/debug/vm.ts's state, with their places on either vendor. */
const places = {
  rip: [0x681e, 0x578],
  rsp: [0x681c, 0x5d8],
  rflags: [0x6820, 0x570],
  cr0: [0x6800, 0x558],
  cr3: [0x6802, 0x550],
  cr4: [0x6804, 0x548],
  efer: [0x2806, 0x4d0],
  cs: [0x802, 0x410],
  ss: [0x804, 0x420],
  ds: [0x806, 0x430],
  es: [0x800, 0x400],
  fs: [0x808, 0x440],
  gs: [0x80a, 0x450],
  csBase: [0x6808, 0x418],
  fsBase: [0x680e, 0x448],
  gsBase: [0x6810, 0x458],
} as const;
export type GuestState = keyof typeof places;

export const VECTOR_TIMER = abi("VECTOR_TIMER");
export const PORT = 0x2f8;
const PAGE = 0x1000;
const LARGE = 0x200000;

/** Where things are in physical memory. */
export const at = {
  image: 0x200000,
  textEnd: 0x208000,
  readOnlyEnd: 0x210000,
  perCpu: 0x214000,
  tables: 0x300000,
  ownMemory: 0x400000,
  info: 0x500000,
  vms: 0x501000,
  contexts: 0x504000,
  controls: 0x508000,
  log: 0x510000,
  logHead: 0x50f000,
  hostTables: 0x600000,
  host: 0x700000,
  end: 0x4000000,
};
const STRIDE = 160;
export const VMS = 2;
export const homeOf = (vm: number) => 0x800000 + vm * LARGE;
/** Guest RAM: 8 MiB, not where the guest thinks. */
export const ramOf = (vm: number) => 0x1000000 + vm * 0x1000000;
export const RAM = 0x800000;
const nestedOf = (vm: number) => 0x680000 + vm * 0x10000;
const vmcbOf = (vm: number, vcpu = 0) => homeOf(vm) + LARGE - (vcpu + 1) * 2 * PAGE;

/** Polls in a row after which the debugger is taken to wait for ever. */
const PATIENCE = 60000;

/** Thrown when the debugger waits for what is not to come. */
export class Idle extends Error {}

let module: WebAssembly.Module | undefined;

/** A packet, bytes, something to do when all before it has been read, or silence. */
export type Step = string | Uint8Array | (() => void) | typeof silence;
export const silence = Symbol("silence");
const SILENCE = 25000;

const u64 = (v: bigint) => BigInt.asUintN(64, v);
const latin = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** "$contents#checksum". */
export function packet(contents: string | Uint8Array): Uint8Array {
  const bytes = typeof contents === "string" ? latin(contents) : contents;
  const sum = bytes.reduce((a, b) => (a + b) & 255, 0);
  return Uint8Array.from([36, ...bytes, 35, ...latin(sum.toString(16).padStart(2, "0"))]);
}

export const hex = (text: string) => Buffer.from(text, "latin1").toString("hex");
export const unhex = (digits: string) => Buffer.from(digits, "hex").toString("latin1");
/** A value's bytes as digits, the lowest first. */
export function little(value: bigint | number, size = 8): string {
  let text = "";
  for (let i = 0; i < size; i++)
    text += Number((BigInt(value) >> BigInt(i * 8)) & 255n)
      .toString(16)
      .padStart(2, "0");
  return text;
}

export class GdbMachine {
  readonly memory = new PhysicalMemory();
  readonly vmcs = new Map<number, Map<number, bigint>>();
  current = 0;
  dr = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff0ff0n];
  cr2 = 0n;
  tsc = 0n;
  /** What the debugger has sent. */
  sent: number[] = [];
  script: Step[] = [];
  private bytes: Uint8Array = new Uint8Array();
  private next = 0;
  private polls = 0;
  private silent = 0;
  /** Gives input when the script has come to its end; nothing, unless told. */
  more: (() => Uint8Array | undefined) | undefined;
  transmitterStuck = false;
  private readonly instance: WebAssembly.Instance;
  private readonly linear: ArrayBuffer;
  readonly guests: PageTables[] = [];

  /** `vcpus`: of each VM. */
  constructor(
    readonly vendor: GdbVendor = "VT-x",
    private readonly vcpus: number[] = Array(VMS).fill(1),
  ) {
    module ??= new WebAssembly.Module(readFileSync(moduleFile("debug")));
    this.instance = new WebAssembly.Instance(module, this.imports());
    this.linear = (this.instance.exports["memory"] as WebAssembly.Memory).buffer;
    this.build();
  }

  get svm(): boolean {
    return this.vendor === "AMD-V";
  }

  private nextTable = 0;

  /** Maps a page in a four-level tree; tables are taken from behind its top. */
  map(top: number, address: bigint, hpa: number, size: number, flags: bigint, table = 3n): void {
    const level = size === PAGE ? 1 : size === LARGE ? 2 : 3;
    let place = top;
    for (let l = 4; ; l--) {
      const entry = place + Number((address >> BigInt(12 + 9 * (l - 1))) & 511n) * 8;
      if (l === level) {
        this.memory.store(entry, 8, BigInt(hpa) | flags | (level > 1 ? 0x80n : 0n));
        return;
      }
      let value = this.memory.load(entry, 8);
      if (value === 0n) {
        // 16 pages from the top's own on.
        const block = Math.floor(top / 0x10000) * 0x10000;
        let free = block + PAGE;
        while (this.memory.has(free)) free += PAGE;
        this.memory.store(free, 8, 0n);
        value = BigInt(free) | table;
        this.memory.store(entry, 8, value);
      }
      place = Number(value & 0xffffffffff000n);
    }
  }

  private build(): void {
    const { memory } = this;
    const window = 0xffffc00000000000n;
    memory.store(at.tables, 8, 0n);
    for (let hpa = 0; hpa < at.end; hpa += LARGE) {
      if (hpa !== at.image) this.map(at.tables, window + BigInt(hpa), hpa, LARGE, (1n << 63n) | 3n);
    }
    for (let hpa = at.image; hpa < at.image + LARGE; hpa += PAGE) {
      const flags = hpa < at.readOnlyEnd ? 1n : 3n;
      this.map(at.tables, window + BigInt(hpa), hpa, PAGE, (1n << 63n) | flags);
    }
    for (let i = 1; i < 64; i++)
      this.map(at.tables, BigInt(abi("LINEAR_BASE") + i * PAGE), at.ownMemory + i * PAGE, PAGE, 3n);
    // What the hypervisor sees where it stopped: text, its data at a high address.
    memory.store(at.hostTables, 8, 0n);
    for (let hpa = at.image; hpa < at.readOnlyEnd; hpa += PAGE)
      this.map(at.hostTables, BigInt(hpa), hpa, PAGE, 1n);
    this.map(at.hostTables, 0x40000000n, at.host, PAGE, 3n);
    this.map(at.hostTables, 0x40001000n, at.host + 0x3000, PAGE, 3n);
    this.map(at.hostTables, 0xffffc00000000000n, 0, 0x40000000, 3n);
    memory.store(at.perCpu + abi("PERCPU_DEBUG_CR3"), 8, BigInt(at.tables));
    memory.store(at.perCpu + abi("PERCPU_HOST_DR7"), 8, 0x400n);
    memory.store(at.info + abi("DEBUGINFO_PORT"), 4, BigInt(PORT));
    memory.store(at.info + abi("DEBUGINFO_EXTENSION"), 4, this.svm ? 1n : 0n);
    memory.store(at.info + abi("DEBUGINFO_VMS"), 8, BigInt(at.vms));
    memory.store(at.info + abi("DEBUGINFO_VM_COUNT"), 4, BigInt(VMS));
    memory.store(at.info + abi("DEBUGINFO_VM_STRIDE"), 4, BigInt(STRIDE));
    memory.store(at.info + abi("DEBUGINFO_CONTEXTS"), 8, BigInt(at.contexts));
    memory.store(at.info + abi("DEBUGINFO_CONTROLS"), 8, BigInt(at.controls));
    memory.store(at.info + abi("DEBUGINFO_LOG"), 8, BigInt(at.log));
    memory.store(at.info + abi("DEBUGINFO_LOG_SIZE"), 4, 4096n);
    memory.store(at.info + abi("DEBUGINFO_LOG_HEAD"), 8, BigInt(at.logHead));
    this.setCrash("CR3", BigInt(at.hostTables));
    this.setCrash("RIP", 0x201000n);
    this.setCrash("RFLAGS", 2n);
    this.setCrash("CS", 8n);
    for (let vm = 0; vm < VMS; vm++) this.buildVm(vm);
    this.setRunning(0);
  }

  private buildVm(vm: number): void {
    const { memory } = this;
    const record = at.vms + vm * STRIDE;
    memory.store(record, 4, BigInt(vm));
    memory.store(record + abi("VMRECORD_STATE"), 4, 1n);
    memory.store(record + abi("VMRECORD_MEMORY"), 8, BigInt(RAM));
    memory.store(record + abi("VMRECORD_HOME"), 8, BigInt(homeOf(vm)));
    memory.store(record + abi("VMRECORD_NESTED_TOP"), 8, BigInt(nestedOf(vm)));
    const vcpus = this.vcpus[vm]!;
    const first = this.vcpus.slice(0, vm).reduce((a, b) => a + b, 0);
    memory.store(record + abi("VMRECORD_FIRST"), 4, BigInt(first));
    memory.store(record + abi("VMRECORD_VCPUS"), 4, BigInt(vcpus));
    for (let n = 0; n < vcpus; n++) {
      const context = at.contexts + (first + n) * abi("VCPUCONTEXT_BYTES");
      memory.store(context + abi("RUNNING_VMCB"), 8, BigInt(vmcbOf(vm, n)));
    }
    memory.store(this.control(vm) + abi("DEBUGCONTROL_CATCH_FROM"), 8, ~0n & (2n ** 64n - 1n));
    memory.store(nestedOf(vm), 8, 0n);
    const flags = this.svm ? 7n : 0x37n;
    const table = 7n;
    // The first 2 MiB in small pages, two of which are in each other's place.
    for (let gpa = 0; gpa < LARGE; gpa += PAGE)
      this.map(nestedOf(vm), BigInt(gpa), this.hpa(vm, gpa), PAGE, flags, table);
    for (let gpa = LARGE; gpa < RAM; gpa += LARGE)
      this.map(nestedOf(vm), BigInt(gpa), this.hpa(vm, gpa), LARGE, flags, table);
    for (let n = 0; n < vcpus; n++) {
      this.vmcs.set(vmcbOf(vm, n), new Map());
      this.setGuest(vm, { rip: 0x100000n, rsp: 0x9000n, rflags: 2n, cr0: 0x60000010n, cs: 8n }, n);
    }
  }

  /** Where a guest-physical address is. */
  hpa(vm: number, gpa: number): number {
    const swapped =
      gpa - (gpa % PAGE) === 0x5000 ? gpa + PAGE : gpa - (gpa % PAGE) === 0x6000 ? gpa - PAGE : gpa;
    return ramOf(vm) + swapped;
  }

  /** Guest RAM as fake/paging.ts wants it. */
  guestRam(vm: number): FakeRam {
    return {
      load: (gpa: bigint, size: number) => this.memory.load(this.hpa(vm, Number(gpa)), size),
      store: (gpa: bigint, size: number, value: bigint) =>
        this.memory.store(this.hpa(vm, Number(gpa)), size, value),
    } as unknown as FakeRam;
  }

  /** Turns the guest's paging on, with tables at guest-physical 3 MiB. */
  page(vm: number, mode: PagingMode, cr4 = 0n, vcpu = 0): PageTables | undefined {
    const pae = mode === "PAE" || mode === "4-level";
    const registers = {
      cr0: mode === "none" ? 0x60000011n : 0xe0000011n,
      cr3: 0x300000n,
      cr4: (pae ? 0x20n : 0n) | cr4,
      efer: mode === "4-level" ? 0x500n : 0n,
    };
    this.setGuest(vm, registers, vcpu);
    return mode === "none" ? undefined : new PageTables(this.guestRam(vm), mode, 0x300000);
  }

  getGuest(vm: number, what: GuestState, vcpu = 0): bigint {
    const [field, offset] = places[what];
    if (this.svm) return this.memory.load(vmcbOf(vm, vcpu) + offset, what.length === 2 ? 2 : 8);
    return this.vmcs.get(vmcbOf(vm, vcpu))!.get(field) ?? 0n;
  }

  setGuest(vm: number, values: Partial<Record<GuestState, bigint>>, vcpu = 0): void {
    for (const [name, value] of Object.entries(values)) {
      const [field, offset] = places[name as GuestState];
      if (this.svm) this.memory.store(vmcbOf(vm, vcpu) + offset, name.length === 2 ? 2 : 8, value);
      else this.vmcs.get(vmcbOf(vm, vcpu))!.set(field, value);
    }
  }

  /** A word of the VMCB, by its offset, or a VMCS field. */
  structure(vm: number, place: number, value?: bigint): bigint {
    if (value !== undefined) {
      if (this.svm) this.memory.store(vmcbOf(vm) + place, 8, value);
      else this.vmcs.get(vmcbOf(vm))!.set(place, value);
    }
    return this.svm ? this.memory.load(vmcbOf(vm) + place, 8) : (this.vmcs.get(vmcbOf(vm))!.get(place) ?? 0n);
  }

  /** Address of a vCPU's saved general register n, in the order of kernel/abi/gprs.ts. */
  gprAt(vm: number, n: number, vcpu = 0): number {
    return this.areaOf(vm, vcpu) + n * 8;
  }

  areaOf(vm: number, vcpu = 0): number {
    return homeOf(vm) + abi("VCPU_AREA") + vcpu * abi("VCPU_AREA_SIZE");
  }

  setCrash(field: string, value: bigint, size = 8): void {
    this.memory.store(at.perCpu + abi("PERCPU_CRASH") + abi(`CRASHRECORD_${field}`), size, value);
  }

  getCrash(field: string): bigint {
    return this.memory.load(at.perCpu + abi("PERCPU_CRASH") + abi(`CRASHRECORD_${field}`), 8);
  }

  percpu(field: string, size = 8): bigint {
    return this.memory.load(at.perCpu + abi(`PERCPU_${field}`), size);
  }

  /** Which vCPU ran last. */
  setRunning(vm: number, inMonitor = false, vcpu = 0): void {
    this.memory.store(at.perCpu + abi("RUNNING_VMCB"), 8, BigInt(vmcbOf(vm, vcpu)));
    this.memory.store(at.perCpu + abi("PERCPU_IN_MONITOR"), 4, inMonitor ? 1n : 0n);
    this.current = vmcbOf(vm, vcpu);
  }

  vmcbOf(vm: number): number {
    return vmcbOf(vm);
  }

  setVmState(vm: number, state: number): void {
    this.memory.store(at.vms + vm * STRIDE + abi("VMRECORD_STATE"), 4, BigInt(state));
  }

  control(vm: number): number {
    return at.controls + vm * (abi("DEBUGCONTROL_BYTES") + 8 * abi("WATCHRANGE_BYTES"));
  }

  wish(vm: number, field: string): bigint {
    const size = ["STEPS", "HELD", "KILL"].includes(field) ? 4 : 8;
    return this.memory.load(this.control(vm) + abi(`DEBUGCONTROL_${field}`), size);
  }

  get answer(): number {
    return Number(this.memory.load(at.info + abi("DEBUGINFO_ANSWER"), 4));
  }

  /** Stops the machine. True when it goes on again, false when the debugger waits for more packets. */
  stop(cause: Cause, { vm = 0, vcpu = 0, detail = 0n, access = 0, vector = 0 } = {}): boolean {
    const { memory } = this;
    memory.store(at.info + abi("DEBUGINFO_CAUSE"), 4, BigInt(cause));
    memory.store(at.info + abi("DEBUGINFO_VM"), 4, BigInt(vm));
    memory.store(at.info + abi("DEBUGINFO_VCPU"), 4, BigInt(vcpu));
    memory.store(at.info + abi("DEBUGINFO_DETAIL"), 8, detail);
    memory.store(at.info + abi("DEBUGINFO_ACCESS"), 4, BigInt(access));
    memory.store(at.info + abi("DEBUGINFO_ANSWER"), 4, 77n);
    this.setCrash("VECTOR", BigInt(vector), 4);
    this.polls = 0;
    try {
      (this.instance.exports["stop"] as (at: bigint) => void)(BigInt(at.info));
    } catch (error) {
      if (!(error instanceof Idle)) throw error;
      // Given up half-way: what it would have put in order is not.
      this.current = Number(memory.load(at.perCpu + abi("RUNNING_VMCB"), 8));
      return false;
    }
    if (memory.load(at.info + abi("DEBUGINFO_CAUSE"), 4) !== 0n) throw new Error("the cause is not cleared");
    if (!this.svm && this.current !== Number(memory.load(at.perCpu + abi("RUNNING_VMCB"), 8)))
      throw new Error("another VMCS is current than before");
    return true;
  }

  /** Feeds packets to a stopped machine and returns what it answers, acknowledgements left out. */
  talk(steps: Step[], cause = Cause.Waiting, about: Parameters<GdbMachine["stop"]>[1] = {}): string[] {
    this.sent = [];
    // Who says hello waits for the answer.
    this.script = steps.flatMap((s) =>
      typeof s === "string" && s.startsWith("qSupported") ? [s, silence] : [s],
    );
    this.stop(cause, about);
    this.reset();
    return this.replies();
  }

  /** Forgets what has not been read. */
  reset(): void {
    this.bytes = new Uint8Array();
    this.next = 0;
    this.silent = 0;
    this.script = [];
  }

  /** The packets among what was sent; their checksums must be right. */
  replies(): string[] {
    const text = String.fromCharCode(...this.sent);
    const found: string[] = [];
    for (let from = text.indexOf("$"); from >= 0; from = text.indexOf("$", from)) {
      const end = text.indexOf("#", from);
      if (end < 0 || end + 3 > text.length) break;
      const contents = text.slice(from + 1, end);
      if (String.fromCharCode(...packet(contents)) !== text.slice(from, end + 3))
        throw new Error(`checksum: ${contents}`);
      found.push(contents);
      from = end + 3;
    }
    return found;
  }

  private acknowledged = 0;

  /** GDB's "+" to what has been sent, where the script has nothing else to say to it. */
  private acknowledge(): Uint8Array | undefined {
    const { sent } = this;
    if (this.more || sent.length === this.acknowledged || sent[sent.length - 3] !== 35) return undefined;
    this.acknowledged = sent.length;
    return Uint8Array.of(43);
  }

  /** How much had been sent when the last byte was read. */
  private mark = 0;

  private get hasAnswered(): boolean {
    return this.sent.length > this.mark && this.sent[this.sent.length - 3] === 35;
  }

  private available(): boolean {
    while (this.next >= this.bytes.length) {
      if (this.silent > 0) {
        this.silent--;
        return false;
      }
      // What has been read is done when it has been answered.
      if (typeof this.script[0] === "function" && !this.hasAnswered) return false;
      const step = this.script.shift() ?? this.more?.() ?? this.acknowledge();
      if (step === undefined) return false;
      if (typeof step === "function") step();
      else if (typeof step === "symbol") this.silent = SILENCE;
      else {
        this.bytes = typeof step === "string" ? packet(step) : step;
        this.next = 0;
      }
    }
    return true;
  }

  private in(port: number): number {
    if (port === PORT + 5) {
      const data = this.available();
      if (data) this.polls = 0;
      else if (!this.transmitterStuck && ++this.polls > PATIENCE) throw new Idle();
      return (data ? 1 : 0) | (this.transmitterStuck ? 0 : 0x60);
    }
    if (port !== PORT) throw new Error(`IN from port ${port.toString(16)}`);
    if (!this.available()) throw new Error("the receive buffer is read without data");
    this.mark = this.sent.length;
    return this.bytes[this.next++]!;
  }

  private out(port: number, value: number): void {
    if (port !== PORT) throw new Error(`OUT to port ${port.toString(16)}`);
    this.polls = 0;
    this.sent.push(value & 255);
  }

  private check(hpa: bigint, length: number, kind: "load" | "store"): number {
    const address = Number(u64(hpa));
    if (address + length > at.end) throw new Error(`${kind} at ${address.toString(16)}: no memory`);
    if (kind === "store" && this.isOurs(address, length)) throw new Error(`store at ${address.toString(16)}`);
    return address;
  }

  /** What the debugger lives on, and what is read-only. */
  private isOurs(address: number, length: number): boolean {
    const end = address + length;
    return (
      (address < at.readOnlyEnd && end > at.image) ||
      (address < at.tables + 0x10000 && end > at.tables) ||
      (address < at.ownMemory + 0x40000 && end > at.ownMemory + PAGE)
    );
  }

  private fields(): Map<number, bigint> {
    const fields = this.vmcs.get(this.current);
    if (!fields) throw new Error("no VMCS is current");
    return fields;
  }

  private imports(): WebAssembly.Imports {
    const load = (size: number) => (hpa: bigint) => {
      const address = this.check(hpa, size, "load");
      if (address % size) throw new Error(`unaligned load at ${address.toString(16)}`);
      const value = this.memory.load(address, size);
      return size === 8 ? value : Number(value);
    };
    const store = (size: number) => (hpa: bigint, value: bigint | number) => {
      const address = this.check(hpa, size, "store");
      if (address % size) throw new Error(`unaligned store at ${address.toString(16)}`);
      this.memory.store(address, size, BigInt.asUintN(size * 8, BigInt(value)));
    };
    const bytes = (from: number, length: number) => new Uint8Array(this.linear, from, length);
    return {
      env: {
        abort: () => {
          throw new Error("assertion failed");
        },
      },
      image: {
        start: () => BigInt(at.image),
        textEnd: () => BigInt(at.textEnd),
        readOnlyEnd: () => BigInt(at.readOnlyEnd),
        perCpu: () => BigInt(at.perCpu),
        memoryPages: () => 4,
        version: (n: number) => "1.2.3".charCodeAt(n) || 0,
        buildId: () => 0x12345678,
      },
      time: { tsc: () => (this.tsc += 100_000n) },
      phys: {
        load8: load(1),
        load16: load(2),
        load32: load(4),
        load64: load(8),
        store8: store(1),
        store16: store(2),
        store32: store(4),
        store64: store(8),
        read: (hpa: bigint, to: number, length: number) =>
          bytes(to, length).set(this.memory.get(this.check(hpa, length, "load"), length)),
        write: (hpa: bigint, from: number, length: number) =>
          this.memory.put(this.check(hpa, length, "store"), bytes(from, length).slice()),
      },
      port: {
        in8: (port: number) => this.in(port),
        out8: (port: number, value: number) => this.out(port, value),
      },
      state: {
        readDr: (n: number) => this.dr[n]!,
        writeDr: (n: number, value: bigint) => void (this.dr[n] = u64(value)),
        readCr2: () => this.cr2,
      },
      vmx: {
        load: (vmcs: bigint) => {
          if (this.svm) throw new Error("VMPTRLD on AMD-V");
          const address = this.check(vmcs, PAGE, "load");
          if (!this.vmcs.has(address)) return 0;
          this.current = address;
          return 1;
        },
        read: (field: number) => this.fields().get(field) ?? 0n,
        write: (field: number, value: bigint) => {
          this.fields().set(field, u64(value));
          return 1;
        },
      },
    };
  }
}
