/**
 * A bare machine around root, the very module that ships: physical memory behind root's own page tables and a TLB, ports,
 * MSRs, CPUID, interrupts, a multiboot loader, and a VT-x or an AMD-V whose guests do what a test says. The boot ends when
 * root halts the CPU.
 */
import { readFileSync } from "node:fs";
import { atomics } from "./atomic.ts";
import { FrameOwners } from "./frameowners.ts";
import { HostApic } from "./hostapic.ts";
import { type Vendor, cpuidOf, image, svmMsrs, switchedMsrs, vmxMsrs } from "./hostcpu.ts";
import { HostMemory } from "./hostmemory.ts";
import { HostPorts, type PortOptions } from "./hostports.ts";
import { HostSvm } from "./hostsvm.ts";
import type { HostExtension, RunningVcpu } from "./hostvcpu.ts";
import { HostVtx } from "./hostvtx.ts";
import { abi, moduleFile } from "./layout.ts";
import {
  type BootInfo,
  type BootModule,
  type Framebuffer,
  INFO,
  multiboot1,
  multiboot2,
  placeModules,
  tagsOf,
} from "./loader.ts";
import { type MappedPage, PhysicalMemory, leaves, walk } from "./physical.ts";
import { type Invalidation, Tlb } from "./tlb.ts";

export {
  type Vendor,
  amdCpuid,
  cpuidOf,
  image,
  svmFeatures,
  svmMsrs,
  vendors,
  vmxMsrs,
  vtxCpuid,
} from "./hostcpu.ts";
export type { BootModule } from "./loader.ts";
export type { RunningVcpu } from "./hostvcpu.ts";

export interface HostOptions extends Partial<PortOptions> {
  /** Whose CPU it is; unless told, one with VT-x. `cpuid` and `msrs` change what it has. */
  vendor?: Vendor;
  commandLine?: string;
  /** RAM regions [base, end); by default 640 KiB and 1 MiB to 512 MiB. */
  ram?: [bigint, bigint][];
  modules?: BootModule[];
  cpuid?: (leaf: number, subleaf: number) => [number, number, number, number];
  msrs?: Record<number, bigint>;
  /** What a vCPU does each time that root runs it: returns a Leave. Unless told, it powers off. */
  run?: (vcpu: RunningVcpu) => number;
  /** What the monitor returns without having entered its guest; `undefined` when it enters it. */
  monitor?: (vcpu: RunningVcpu) => number | undefined;
  /** Whether the CPU refuses the guest's state, for no reason that it tells. */
  refuses?: (vcpu: RunningVcpu) => boolean;
  multiboot?: 1 | 2;
  /** The loader's information: it may change it, write its own and return its magic number, or do both. */
  loader?: (info: BootInfo, host: FakeHost) => number | void;
  /** What firmware has put into memory, and registers that it has left. */
  firmware?: (host: FakeHost) => void;
  /** What the loader tells of the screen, and is there; nothing unless told. */
  framebuffer?: Framebuffer;
  /** Inputs of the I/O APIC at its usual address; there is none unless told. */
  ioapicInputs?: number;
  /** Counts of the APIC's timer a TSC tick, as a fraction. */
  apicTimer?: [bigint, bigint];
  /** Invalidations that this CPU ignores. */
  ignores?: Invalidation[];
  vmxonFails?: boolean;
  /** A VMCS field that this CPU does not have. */
  lacksField?: number;
  /** What the debugger does when root enters it. */
  debugger?: (host: FakeHost) => void;
  /** Runs when root waits for an interrupt, after the timer has been armed; false when nothing will ever come. */
  idle?: (host: FakeHost) => boolean | void;
}

export interface Cr3Load {
  value: bigint;
  by: "root" | "enter_monitor" | "leave_to_root";
}

/** Thrown by cpu.halt: the machine has come to an end. */
class Halted extends Error {}

const pageOf = (va: number) => Number(BigInt.asUintN(48, BigInt(va)) >> 12n);
const linearPage = pageOf(abi("LINEAR_BASE"));

export class FakeHost {
  readonly memory = new PhysicalMemory();
  readonly msrs: Record<number, bigint>;
  readonly ports: HostPorts;
  readonly apic: HostApic;
  readonly tlb: Tlb;
  readonly frameOwners = new FrameOwners();
  readonly vendor: Vendor;
  readonly vtx = new HostVtx(this);
  readonly svm = new HostSvm(this);
  /** What the boot CPU has sent to others, by their APIC ids. Nobody answers: there is one CPU. */
  readonly ipis: { to: number; command: number; tsc: bigint }[] = [];
  /** MSRs that root has written, in order. */
  readonly msrWrites: number[] = [];
  private readonly physical = new HostMemory(this);
  tsc = 1000n;
  cr = [0x80010033n, 0n, 0n, 0n, 0x20n];
  xcr0 = 1n;
  dr = [0n, 0n, 0n, 0n, 0n, 0n, 0xffff0ff0n];
  cr2 = 0n;
  /** Every explicit load of CR3. A VM exit's is none: with VPID it drops no translation. */
  readonly cr3Loads: Cr3Load[] = [];
  /** The extended state that is in the CPU; its first bytes stand for all of it. */
  extended: Uint8Array = new Uint8Array(64);
  nmis = 0;
  /** The crash record of this CPU, which the fault stubs write. */
  readonly crashRecord = new Uint8Array(abi("CRASHRECORD_BYTES"));
  readonly cpuid: (leaf: number, subleaf: number) => [number, number, number, number];
  private readonly instance: WebAssembly.Instance;
  private readonly linear: DataView;
  private readonly magic: number;
  private waits = 0;
  readonly ram: [number, number][];
  private readonly keep: { start: bigint; end: bigint; what: string }[] = [];

  constructor(readonly options: HostOptions = {}) {
    const { tscHz = 50_000_000n, ioapicInputs = 0 } = options;
    this.vendor = options.vendor ?? "VT-x";
    this.cpuid = options.cpuid ?? cpuidOf(this.vendor);
    const own = this.vendor === "VT-x" ? vmxMsrs() : svmMsrs();
    this.msrs = { ...switchedMsrs(), ...own, ...options.msrs };
    const bits = this.cpuid(0x80000008, 0)[0] & 0xff;
    this.tlb = new Tlb(
      this.memory,
      bits === 0 ? 36 : bits,
      options.ignores,
      this.vendor === "VT-x" ? "VPID" : "ASID",
    );
    this.apic = new HostApic(this, ioapicInputs, options.apicTimer);
    this.ports = new HostPorts({ portTicks: tscHz / 50_000n, ...options, tscHz }, this, (irq) =>
      this.apic.edge(irq),
    );
    this.instance = new WebAssembly.Instance(compiled(), this.imports());
    this.linear = new DataView((this.instance.exports["memory"] as WebAssembly.Memory).buffer);
    const ram = options.ram ?? [
      [0n, 0xa0000n],
      [0x100000n, 512n << 20n],
    ];
    this.ram = ram.map(([base, end]) => [Number(base), Number(end)]);
    this.magic = this.load(ram);
    options.firmware?.(this);
  }

  /** Boots until root halts the CPU; returns the log without its prefixes. */
  boot(): string[] {
    try {
      (this.instance.exports["start"] as (magic: number, info: number) => void)(this.magic, Number(INFO));
    } catch (error) {
      if (!(error instanceof Halted)) throw error;
    }
    return this.log;
  }

  /** As boot/percpu.asm does after a fault in root: the crash record is filled already. */
  trapInRoot(): void {
    const roots = this.cr3Loads.filter((load) => load.by === "root");
    this.cr[3] = roots[roots.length - 1]!.value;
    (this.instance.exports["trap"] as () => void)();
  }

  /** What was sent to COM1 and COM2. */
  get serial(): [string, string] {
    return [this.ports.uarts[0].sent, this.ports.uarts[1].sent];
  }

  get log(): string[] {
    return logOf(this.serial[0]);
  }

  /** Addresses that root has loaded from and where nothing is. */
  get strays(): readonly string[] {
    return this.physical.strays;
  }

  /** Ticks that root has written to the framebuffer for. */
  get painted(): number {
    return this.physical.painted;
  }

  /** The extension that the CPU has. */
  get extension(): HostExtension {
    return this.vendor === "VT-x" ? this.vtx : this.svm;
  }

  get vmcs(): Map<bigint, Map<number, bigint>> {
    return this.vtx.vmcs;
  }

  /** The fields of the current VMCS. */
  fields(): Map<number, bigint> {
    return this.vtx.fields();
  }

  get x2apic(): boolean {
    return (this.cpuid(1, 0)[2] & (1 << 21)) !== 0;
  }

  /** Puts modules and information into memory as a loader does; returns its magic number. */
  private load(ram: [bigint, bigint][]): number {
    const { modules = [], commandLine = "", multiboot = 2, loader } = this.options;
    const info: BootInfo = {
      commandLine,
      regions: ram.map(([base, end]) => ({ base, length: end - base, kind: 1 })),
      modules: placeModules(this.memory, modules),
    };
    if (this.options.framebuffer) info.framebuffer = this.options.framebuffer;
    const magic = loader?.(info, this) ?? undefined;
    for (const { start, end, text } of info.modules) this.keep.push({ start, end, what: `module "${text}"` });
    if (magic !== undefined) return magic;
    if (multiboot === 1) multiboot1(this.memory, info);
    else multiboot2(this.memory, tagsOf(info));
    return multiboot === 1 ? 0x2badb002 : 0x36d76289;
  }

  /** What is in use from the start, or root's own: no VM's memory, and nothing that root may store into as memory. */
  taken(): { start: bigint; end: bigint; what: string }[] {
    const own = { start: image.start, end: image.end, what: "the image" };
    const low = { start: 0n, end: 0x100000n, what: "firmware's memory" };
    return [own, low, ...this.keep.filter((m) => m.end > m.start)];
  }

  context(at: number, field: string): bigint {
    const offset = abi(field === "CR3" ? "VCPUCONTEXT_CR3" : `RUNNING_${field}`);
    return this.linear.getBigUint64(at + offset, true);
  }

  setContext(at: number, field: string, value: number): void {
    this.linear.setUint32(at + abi(`RUNNING_${field}`), value, true);
  }

  /** Bytes of root's own memory, by their physical address. */
  rootMemory(at: bigint, length: number): Uint8Array {
    return new Uint8Array(this.linear.buffer, Number(at - image.rootMemory), length);
  }

  /** Follows a host or nested page table; undefined where nothing is mapped. */
  translate(top: bigint, address: bigint): { hpa: bigint; flags: bigint; size: bigint } | undefined {
    const leaf = walk(this.memory, Number(top), Number(BigInt.asUintN(48, address)));
    return (
      leaf && { hpa: BigInt(leaf.hpa), flags: this.memory.load(leaf.entryAt, 8), size: BigInt(leaf.size) }
    );
  }

  /** Every leaf of a table tree: the virtual address, what it maps, the entry. */
  leaves(top: bigint): Generator<MappedPage> {
    return leaves(this.memory, top);
  }

  /** MOV to CR3, by root's TypeScript or by a stub of boot/switch.asm. */
  loadCr3(value: bigint, by: Cr3Load["by"]): void {
    this.cr[3] = value;
    this.cr3Loads.push({ value, by });
    this.tlb.moveToCr3((this.cr[4]! & 0x80n) !== 0n);
  }

  /** An access under the current CR3; `page` is bits 47:12 of the address. Returns the frame's address. */
  hostAccess(page: number, kind: "load" | "store" | "fetch", who: string): number {
    const { hpa } = this.tlb.host(Number(this.cr[3]), page, kind, who);
    return hpa - (hpa % 4096);
  }

  /** What root touches whenever it runs: text, its CPU's block, its linear memory and stack. */
  touchAsRoot(): void {
    this.hostAccess(0x202, "fetch", "root");
    this.hostAccess(0x214, "store", "root");
    this.hostAccess(0x221, "store", "root");
    for (const address of [0, abi("VM_INFO"), abi("CONSOLE_RING"), abi("VCPU_AREA"), abi("MONITOR_DATA")])
      this.hostAccess(linearPage + (address >> 12), "store", "root");
  }

  private imports(): WebAssembly.Imports {
    const { apic, ports } = this;
    const u64 = (v: bigint) => BigInt.asUintN(64, v);
    const bytes = (at: number, length: number) => new Uint8Array(this.linear.buffer, at, length);
    return {
      atomic: atomics(() => this.linear),
      env: {
        abort: (message: number, file: number, line: number) => {
          const text = (at: number) =>
            Buffer.from(bytes(at, this.linear.getUint32(at - 4, true))).toString("utf16le");
          throw new Error(`root: ${text(message)} at ${text(file)}:${line}`);
        },
      },
      cpuid: {
        query: (leaf: number, subleaf: number, out: number) =>
          this.cpuid(leaf >>> 0, subleaf).forEach((v, i) =>
            this.linear.setUint32(out + i * 4, v >>> 0, true),
          ),
      },
      time: { tsc: () => (this.tsc += 100n) },
      phys: this.physical.imports(bytes),
      port: {
        in8: (port: number) => ports.in(port & 0xffff, 1),
        in16: (port: number) => ports.in(port & 0xffff, 2),
        in32: (port: number) => ports.in(port & 0xffff, 4),
        out8: (port: number, value: number) => ports.out(port & 0xffff, value & 0xff, 1),
        out16: (port: number, value: number) => ports.out(port & 0xffff, value & 0xffff, 2),
        out32: (port: number, value: number) => ports.out(port & 0xffff, value, 4),
      },
      ipi: {
        send: (to: number, command: number) => void this.ipis.push({ to, command, tsc: this.tsc }),
      },
      msr: {
        read: (index: number) => {
          const value = this.readMsr(index >>> 0);
          if (value === undefined) throw new Error(`RDMSR of ${(index >>> 0).toString(16)}: #GP`);
          return value;
        },
        exists: (index: number) => (this.readMsr(index >>> 0) === undefined ? 0 : 1),
        write: (index: number, value: bigint) => this.writeMsr(index >>> 0, u64(value)),
      },
      cpu: {
        readCr0: () => this.cr[0],
        readCr3: () => this.cr[3],
        readCr4: () => this.cr[4],
        writeCr0: (v: bigint) => void (this.cr[0] = v),
        writeCr3: (v: bigint) => this.loadCr3(u64(v), "root"),
        writeCr4: (v: bigint) => {
          if ((this.cr[4]! ^ v) & 0x80n) this.tlb.changeOfPge();
          this.cr[4] = v;
        },
        invalidatePage: () => {},
        openInterrupts: () => {
          ports.poll();
          apic.letIn();
        },
        waitForInterrupt: () => this.waitForInterrupt(),
        takePending: (group: number) => apic.takeMarks(group),
        clearAttention: () => void (apic.attention = false),
        number: () => 0,
        nmis: () => this.nmis,
        stop: () => {
          if (!this.options.debugger) throw new Error("the debugger is entered, and there is none");
          this.options.debugger(this);
        },
        pause: () => {},
        crash: (out: number) => bytes(out, this.crashRecord.length).set(this.crashRecord),
        armTimer: (at: bigint) => void (apic.armed = u64(at)),
        halt: () => {
          throw new Halted();
        },
      },
      state: {
        saveExtended: (at: bigint) => this.memory.put(this.extendedArea(u64(at)), this.extended),
        restoreExtended: (at: bigint) =>
          void (this.extended = this.memory.get(this.extendedArea(u64(at)), 64)),
        readXcr0: () => this.xcr0,
        writeXcr0: (value: bigint) => void (this.xcr0 = u64(value)),
        readDr: (n: number) => this.dr[this.ownDr(n)],
        writeDr: (n: number, value: bigint) => void (this.dr[this.ownDr(n)] = u64(value)),
        readCr2: () => this.cr2,
        writeCr2: (value: bigint) => void (this.cr2 = u64(value)),
      },
      image: {
        ...Object.fromEntries(Object.entries(image).map(([name, value]) => [name, () => value])),
        version: (n: number) => "test".charCodeAt(n) || 0,
        buildId: () => 0x12345678,
        memoryPages: (which: number) => this.monitorOf(which, 4),
        segments: (which: number) => this.monitorOf(which, 1),
        segmentOffset: () => 0x10000,
        segmentLength: () => 16,
        segmentAddress: () => 0x211000n,
      },
      svm: this.svm.imports(),
      vmx: this.vtx.imports(),
    };
  }

  /** On AMD-V a VMCB has the guest's DR6: that in the CPU is nobody's. */
  private ownDr(n: number): number {
    if (this.vendor === "AMD-V" && n > 3) throw new Error(`root switches DR${n}, which the VMCB has`);
    return n;
  }

  /** What the image has of the monitor module of a number: it is the vendor's, or a mistake. */
  private monitorOf(which: number, value: number): number {
    const debug = which === 2;
    if (!debug && which !== (this.vendor === "VT-x" ? 0 : 1))
      throw new Error("the other vendor's monitor module");
    return value;
  }

  /** Extended state is kept in the home of a VM that lives: below its control structure. */
  private extendedArea(at: bigint): bigint {
    if (at % 64n !== 0n || !this.extension.isControl(at + 0x4000n))
      throw new Error(`extended state at ${at.toString(16)}: no VM's`);
    return at;
  }

  private readMsr(index: number): bigint | undefined {
    if (index >= 0x800 && index < 0x840)
      return this.msrs[0x1b]! & 0x400n ? BigInt(this.apic.read(index - 0x800)) : undefined;
    return this.msrs[index];
  }

  private writeMsr(index: number, value: bigint): void {
    this.msrWrites.push(index);
    if (this.readMsr(index) === undefined) throw new Error(`WRMSR of ${index.toString(16)}: #GP`);
    if (index >= 0x800 && index < 0x840) this.apic.write(index - 0x800, Number(value & 0xffffffffn));
    else this.msrs[index] = value;
  }

  /** A field of the CPU's block, of 8 bytes. */
  private block(field: string): bigint {
    return this.memory.load(Number(image.perCpu) + abi(`PERCPU_${field}`), 8);
  }
  /** Counts of the APIC's timer a TSC tick, 32.32. */
  get timerScale(): bigint {
    return this.block("TIMER_SCALE");
  }
  /** TSC ticks that the watchdog gives a monitor: it looks so often before it acts (boot/percpu.asm). */
  get watchdog(): bigint {
    return this.block("WATCHDOG") * BigInt(abi("STRIKES"));
  }

  /** HLT with interrupts on: until the timer's, or one that a test brings about. */
  private waitForInterrupt(): void {
    const { apic } = this;
    if (apic.attention) return;
    if (++this.waits > 100_000) throw new Error("root waits for ever");
    const more = this.options.idle?.(this);
    if (apic.requested.size === 0) {
      if (more === false) throw new Halted();
      const device = this.ports.next;
      const next = device !== undefined && device < apic.armed ? device : apic.armed;
      if (next > this.tsc) this.tsc = next;
    }
    this.ports.poll();
    apic.letIn();
    if (!apic.attention) throw new Error("root waits for an interrupt, and none will come");
  }
}

/** The lines that root has logged, without their prefix. */
export function logOf(serial: string): string[] {
  return serial
    .split("\r\n")
    .filter((line) => line.startsWith("(tv) "))
    .map((line) => line.slice(5));
}

let module: WebAssembly.Module | undefined;
function compiled(): WebAssembly.Module {
  return (module ??= new WebAssembly.Module(readFileSync(moduleFile("root"))));
}
