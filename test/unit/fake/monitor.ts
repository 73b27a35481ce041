/**
 * A monitor, the very module that ships, with a machine around it that a test controls: guest RAM, time, the console's
 * rings, and a virtual CPU of one vendor (vtx.ts, svm.ts) that turns "the guest executes CPUID" into an exit.
 */
import { readFileSync } from "node:fs";
import { atomics } from "./atomic.ts";
import { Gpr, Next } from "./exit.ts";
import { abi, moduleFile } from "./layout.ts";
import { FakeRam } from "./ram.ts";

/** What a vendor's fake CPU adds: its imports, and how an exit reaches the monitor. */
export interface FakeCpu {
  readonly module: string;
  readonly enterExport: "enter";
  imports(machine: FakeMonitor): WebAssembly.Imports;
  attach(machine: FakeMonitor): void;
  /** The monitor was entered by root and has returned. */
  returned?(next: Next): void;
}

export interface MonitorOptions {
  ram?: number;
  /** Where RAM above 4 GiB ends; there is none in the fake, but the monitor is told. */
  ramHigh?: bigint;
  tscHz?: bigint;
  /** Of the guest's TSC, the host's unless told. */
  guestTscHz?: bigint;
  commandLine?: string;
  /** The kernel's file and the initrd, put where root would put them. */
  kernel?: Uint8Array;
  initrd?: Uint8Array;
  bootTime?: bigint;
  /** How many vCPUs the monitor is told of: one, unless told. */
  vcpus?: number;
  /** The host's CPUID: EAX, EBX, ECX, EDX of a leaf. */
  cpuid?: (leaf: number, subleaf: number) => [number, number, number, number];
}

const compiled = new Map<string, WebAssembly.Module>();

function compile(name: string): WebAssembly.Module {
  let module = compiled.get(name);
  if (!module) compiled.set(name, (module = new WebAssembly.Module(readFileSync(moduleFile(name)))));
  return module;
}

/** A recent Intel CPU, as far as the monitor looks. */
export function hostCpuid(leaf: number, subleaf: number): [number, number, number, number] {
  switch (leaf >>> 0) {
    case 0:
      return [0x16, 0x756e6547, 0x6c65746e, 0x49656e69];
    case 1:
      return [0x306d4, 0x00100800, 0x7ffafbff | 0, 0xbfebfbff | 0];
    case 7:
      return subleaf === 0 ? [0, 0x021c27ab, 4, 0] : [0, 0, 0, 0];
    case 0xd:
      if (subleaf === 0) return [7, 832, 832, 0];
      if (subleaf === 1) return [1, 0, 0, 0];
      if (subleaf === 2) return [256, 576, 0, 0];
      return [0, 0, 0, 0];
    case 0x80000000:
      return [0x80000008 | 0, 0, 0, 0];
    case 0x80000001:
      return [0, 0, 0x121, 0x2c100800];
    case 0x80000007:
      return [0, 0, 0, 0x100];
    case 0x80000008:
      return [0x3027, 0, 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}

/** A trap of the monitor: a failed assertion, with its place in the TypeScript. */
export class MonitorTrap extends Error {}

/** Who has read the TSC so often in one exit waits for it. */
const PATIENCE = 64;

export class FakeMonitor {
  readonly ram: FakeRam;
  readonly memory: DataView;
  readonly exports: { enter(vcpu: number): number; exit(vcpu: number, reason: number): number };
  /** The area of the vCPU that runs. */
  vcpu = abi("VCPU_AREA");
  /** The host's TSC. A test moves it; a monitor that waits for it to move sees it do so. */
  tsc = 1_000_000n;
  private reads = 0;
  /** TSC value at which the monitor wants to be woken. */
  deadline = ~0n & 0xffffffffffffffffn;
  xcr0 = 1n;
  dr6 = 0xffff0ff0n;
  cr2 = 0n;
  /** How often another CPU will be quicker at changing a page-table entry. */
  races = 0;
  /** The CPU is halted by the monitor: what happens meanwhile. Undefined: other vCPUs live on it. */
  halting: (() => void) | undefined;
  private readonly wasmMemory: WebAssembly.Memory;

  constructor(
    readonly cpu: FakeCpu,
    readonly options: MonitorOptions = {},
  ) {
    this.ram = new FakeRam(options.ram ?? 16 << 20);
    const instance = new WebAssembly.Instance(compile(cpu.module), {
      ...this.imports(),
      ...cpu.imports(this),
    });
    const { enter, exit } = instance.exports as unknown as FakeMonitor["exports"];
    const fresh =
      <T extends number[]>(call: (...args: T) => number) =>
      (...args: T) => {
        this.reads = 0;
        return call(...args);
      };
    this.exports = { enter: fresh(enter), exit: fresh(exit) };
    this.wasmMemory = instance.exports["memory"] as WebAssembly.Memory;
    this.memory = new DataView(this.wasmMemory.buffer);
    cpu.attach(this);
    this.tell();
  }

  private get tscHz(): bigint {
    return this.options.tscHz ?? 1_000_000_000n;
  }

  /** The TSC multiplier, as root tells it the CPU. */
  private get multiplier(): bigint {
    return ((this.options.guestTscHz ?? this.tscHz) << 48n) / this.tscHz;
  }

  /** What TSC scaling makes of a TSC value (SDM Vol. 3C 26.3, RDTSC). */
  scaled(tsc: bigint): bigint {
    return (tsc * this.multiplier) >> 48n;
  }

  /** Kicks that other vCPUs' CPUs have got, by the vCPUs' numbers. */
  readonly interrupts: number[] = [];

  private imports(): WebAssembly.Imports {
    const ram = this.ram;
    const load = (size: number) => (gpa: bigint) => {
      const value = ram.load(BigInt.asUintN(64, gpa), size);
      return size === 8 ? value : Number(value);
    };
    const store = (size: number) => (gpa: bigint, value: bigint | number) =>
      ram.store(BigInt.asUintN(64, gpa), size, BigInt.asUintN(64, BigInt(value)));
    const inside = (gpa: bigint, length: bigint) =>
      ram.contains(BigInt.asUintN(64, gpa), BigInt.asUintN(64, length));
    const writable = (gpa: bigint, length: bigint) =>
      ram.holds(BigInt.asUintN(64, gpa), BigInt.asUintN(64, length));
    return {
      vcpus: { interrupt: (n: number) => void this.interrupts.push(n) },
      atomic: atomics(() => this.memory),
      env: {
        abort: (message: number, file: number, line: number, column: number) => {
          throw new MonitorTrap(`${this.text(message)} at ${this.text(file)}:${line}:${column}`);
        },
      },
      cpuid: {
        query: (leaf: number, subleaf: number, out: number) => {
          const answer = (this.options.cpuid ?? hostCpuid)(leaf >>> 0, subleaf);
          answer.forEach((value, i) => this.memory.setUint32(out + i * 4, value >>> 0, true));
        },
      },
      time: {
        tsc: () => (++this.reads > PATIENCE ? (this.tsc += 1n) : this.tsc),
        deadline: (at: bigint) => void (this.deadline = BigInt.asUintN(64, at)),
        halt: () => {
          this.halting?.();
          return this.halting ? 1 : 0;
        },
      },
      fpu: { xcr0: () => this.xcr0, setXcr0: (value: bigint) => void (this.xcr0 = value) },
      registers: {
        dr6: () => this.dr6,
        setDr6: (value: bigint) => void (this.dr6 = value),
        setCr2: (value: bigint) => void (this.cr2 = BigInt.asUintN(64, value)),
      },
      guest: {
        contains: (gpa: bigint, length: bigint) => (inside(gpa, length) ? 1 : 0),
        load8: load(1),
        load16: load(2),
        load32: load(4),
        load64: load(8),
        store8: store(1),
        store16: store(2),
        store32: store(4),
        store64: store(8),
        replace32: (gpa: bigint, from: number, to: number) => {
          if (this.races > 0 && this.races--) return 0;
          if (!inside(gpa, 4n) || ram.load(BigInt.asUintN(64, gpa), 4) !== BigInt(from >>> 0)) return 0;
          ram.store(BigInt.asUintN(64, gpa), 4, BigInt(to >>> 0));
          return 1;
        },
        read: (gpa: bigint, to: number, length: number) => {
          if (!inside(gpa, BigInt(length))) return 0;
          this.bytes(to, length).set(ram.bytes.subarray(Number(gpa), Number(gpa) + length));
          return 1;
        },
        write: (gpa: bigint, from: number, length: number) => {
          if (!writable(gpa, BigInt(length))) return 0;
          ram.bytes.set(this.bytes(from, length), Number(gpa));
          return 1;
        },
        move: (to: bigint, from: bigint, length: bigint) => {
          if (!writable(to, length) || !inside(from, length)) return 0;
          ram.bytes.copyWithin(Number(to), Number(from), Number(from + length));
          return 1;
        },
        fill: (gpa: bigint, value: number, length: bigint) => {
          if (!writable(gpa, length)) return 0;
          ram.bytes.fill(value, Number(gpa), Number(gpa + length));
          return 1;
        },
      },
    };
  }

  /** What root tells a monitor: kernel and initrd in place, the VmInfo page filled. */
  private tell(): void {
    const { kernel, initrd, commandLine = "" } = this.options;
    const at = abi("VM_INFO");
    const set = (field: string, value: bigint) =>
      this.memory.setBigUint64(at + abi(`VMINFO_${field}`), value, true);
    const size = this.ram.bytes.length;
    const initrdAt = (size - (initrd?.length ?? 0)) & ~0xfff;
    const kernelAt = (initrdAt - (kernel?.length ?? 0)) & ~0xfff;
    if (initrd) this.ram.put(initrdAt, initrd);
    if (kernel) this.ram.put(kernelAt, kernel);
    this.memory.setUint32(at + abi("VMINFO_VCPUS"), this.options.vcpus ?? 1, true);
    set("RAM_LOW", BigInt(size));
    set("RAM_HIGH", this.options.ramHigh ?? 1n << 32n);
    set("TSC_HZ", this.tscHz);
    set("GUEST_TSC_HZ", this.options.guestTscHz ?? this.tscHz);
    set("TSC_MULTIPLIER", this.options.guestTscHz === undefined ? 0n : this.multiplier);
    // Rounded up.
    set(
      "TSC_INVERSE",
      this.options.guestTscHz === undefined ? 0n : ((1n << 96n) + this.multiplier - 1n) / this.multiplier,
    );
    set("TSC_BASE", this.tsc);
    set("BOOT_TIME", this.options.bootTime ?? 1_700_000_000n);
    set("KERNEL_ADDRESS", BigInt(kernelAt));
    set("KERNEL_SIZE", BigInt(kernel?.length ?? 0));
    set("INITRD_ADDRESS", BigInt(initrdAt));
    set("INITRD_SIZE", BigInt(initrd?.length ?? 0));
    this.memory.setUint32(at + abi("VMINFO_COMMAND_LINE_LENGTH"), commandLine.length, true);
    this.bytes(at + abi("COMMAND_LINE_OFFSET"), commandLine.length).set(
      new TextEncoder().encode(commandLine),
    );
  }

  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.wasmMemory.buffer, at, length);
  }

  /** An AssemblyScript string. */
  text(at: number): string {
    const length = this.memory.getUint32(at - 4, true);
    return Buffer.from(this.bytes(at, length)).toString("utf16le");
  }

  gpr(n: Gpr): bigint {
    return this.memory.getBigUint64(this.vcpu + n * 8, true);
  }

  setGpr(n: Gpr, value: bigint | number): void {
    this.memory.setBigUint64(this.vcpu + n * 8, BigInt.asUintN(64, BigInt(value)), true);
  }

  private word(field: string): number {
    return this.memory.getUint32(this.vcpu + abi(`RUNAREA_${field}`), true);
  }

  /** Why the VM stopped: a StopReason and its detail. */
  get stop(): { reason: number; detail: bigint } {
    const detail = this.memory.getBigUint64(this.vcpu + abi("RUNAREA_STOP_DETAIL"), true);
    return { reason: this.word("STOP_REASON"), detail };
  }

  get request(): number {
    return this.word("REQUEST");
  }

  get wake(): bigint {
    return this.memory.getBigUint64(this.vcpu + abi("RUNAREA_WAKE"), true);
  }

  /** How often an exit (EXIT_CPUID, ...) has been counted. */
  exits(name: string): bigint {
    return this.memory.getBigUint64(this.vcpu + abi("EXIT_COUNTERS") + abi(`EXIT_${name}`) * 8, true);
  }

  refusals(name: string): bigint {
    return this.memory.getBigUint64(this.vcpu + abi("REFUSAL_COUNTERS") + abi(`REFUSAL_${name}`) * 8, true);
  }

  enter(): Next {
    const next: Next = this.exports.enter(this.vcpu);
    this.cpu.returned?.(next);
    return next;
  }

  private ring(field: string): number {
    return abi("CONSOLE_RING") + abi(`CONSOLERINGS_${field}`);
  }

  /** Takes what the guest has sent, as root's drain does. */
  takeOutput(): string {
    const head = this.memory.getUint32(this.ring("OUT_HEAD"), true);
    let tail = this.memory.getUint32(this.ring("OUT_TAIL"), true);
    const bytes: number[] = [];
    const from = abi("CONSOLE_RING") + abi("CONSOLE_OUT_OFFSET");
    for (; tail !== head; tail = (tail + 1) >>> 0)
      bytes.push(this.memory.getUint8(from + (tail % abi("CONSOLE_OUT_SIZE"))));
    this.memory.setUint32(this.ring("OUT_TAIL"), tail, true);
    return Buffer.from(bytes).toString("latin1");
  }

  /** Puts input where root puts it. */
  giveInput(text: string): void {
    let head = this.memory.getUint32(this.ring("IN_HEAD"), true);
    const to = abi("CONSOLE_RING") + abi("CONSOLE_IN_OFFSET");
    for (const byte of Buffer.from(text, "latin1")) {
      this.memory.setUint8(to + (head % abi("CONSOLE_IN_SIZE")), byte);
      head = (head + 1) >>> 0;
    }
    this.memory.setUint32(this.ring("IN_HEAD"), head, true);
  }
}
