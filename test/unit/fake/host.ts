/**
 * A bare machine around root, the very module that ships: physical memory, ports, MSRs, CPUID, a multiboot loader, and a
 * VT-x whose guests do what a test says. The boot ends when root halts the CPU.
 */
import { readFileSync } from "node:fs";
import { hostCpuid } from "./monitor.ts";
import { abi, moduleFile } from "./layout.ts";

const PAGE = 4096;

/** Sparse physical memory. */
export class PhysicalMemory {
  private readonly pages = new Map<number, Uint8Array>();

  private page(address: bigint): Uint8Array {
    const n = Number(address >> 12n);
    let page = this.pages.get(n);
    if (!page) this.pages.set(n, (page = new Uint8Array(PAGE)));
    return page;
  }

  load(address: bigint, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) {
      const at = address + BigInt(i);
      value = (value << 8n) | BigInt(this.pages.get(Number(at >> 12n))?.[Number(at & 0xfffn)] ?? 0);
    }
    return value;
  }

  store(address: bigint, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) {
      const at = address + BigInt(i);
      this.page(at)[Number(at & 0xfffn)] = Number((value >> BigInt(i * 8)) & 0xffn);
    }
  }

  put(address: bigint, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const at = address + BigInt(i);
      this.page(at)[Number(at & 0xfffn)] = byte;
    });
  }

  get(address: bigint, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => Number(this.load(address + BigInt(i), 1)));
  }

  /** Pages that were never touched stay absent: clearing 512 MiB costs nothing. */
  fill(address: bigint, value: number, length: bigint): void {
    for (let at = address; at < address + length;) {
      const offset = Number(at & 0xfffn);
      const part = Math.min(PAGE - offset, Number(address + length - at));
      if (value === 0 && part === PAGE) this.pages.delete(Number(at >> 12n));
      else if (value !== 0 || this.pages.has(Number(at >> 12n)))
        this.page(at).fill(value, offset, offset + part);
      at += BigInt(part);
    }
  }
}

export interface BootModule {
  bytes: Uint8Array;
  text: string;
}

export interface HostOptions {
  commandLine?: string;
  /** RAM regions [base, end); by default 640 KiB and 1 MiB to 512 MiB. */
  ram?: [bigint, bigint][];
  modules?: BootModule[];
  cpuid?: (leaf: number, subleaf: number) => [number, number, number, number];
  msrs?: Record<number, bigint>;
  /** What a vCPU does each time that root runs it: returns a Leave. */
  run?: (vcpu: RunningVcpu) => number;
  multiboot?: 1 | 2;
}

/** What the monitor and its guest look like to root while they run. */
export interface RunningVcpu {
  host: FakeHost;
  /** Address of the VcpuContext in root's memory. */
  context: number;
  /** CR3 of the monitor's space. */
  cr3: bigint;
  vmcs: bigint;
  /** How often this vCPU was run before. */
  runs: number;
}

/** Thrown by cpu.halt: the machine has come to an end. */
class Halted extends Error {}

/** VT-x with everything that the hypervisor wants. A test takes bits away. */
export function vmxMsrs(): Record<number, bigint> {
  const all = 0xffffffff_00000000n;
  return {
    0x1b: 0xfee00900n,
    0x3a: 5n,
    0x277: 0x0007040600070406n,
    0x480: (1n << 55n) | (6n << 50n) | 0x11e57ed0n,
    0x485: 1n << 5n,
    0x486: 0x80000021n,
    0x487: 0xffffffffn,
    0x488: 0x2000n,
    0x489: 0x3767ffn,
    0x48b: all,
    0x48c: 0xf0106734141n,
    0x48d: all | 0x16n,
    0x48e: all | 0x4006172n,
    0x48f: all | 0x36dfbn,
    0x490: all | 0x11fbn,
    0xc0000080: 0xd00n,
  };
}

/** The host's CPUID with VT-x, and no x2APIC so that the APIC's page is in use too. */
export function vtxCpuid(leaf: number, subleaf: number): [number, number, number, number] {
  const answer = hostCpuid(leaf, subleaf);
  if (leaf === 1) answer[2] = (answer[2] | (1 << 5)) & ~(1 << 21);
  if (leaf === 0x15) return [1, 1, 50_000_000, 0];
  return answer;
}

export class FakeHost {
  readonly memory = new PhysicalMemory();
  readonly msrs: Record<number, bigint>;
  /** What was sent to COM1 and COM2. */
  readonly serial = ["", ""];
  readonly vmcs = new Map<bigint, Map<number, bigint>>();
  currentVmcs: bigint | undefined;
  tsc = 1000n;
  cr = [0x80010033n, 0n, 0n, 0n, 0x20n];
  /** Translations that the CPU has cached by EPTP and by VPID and that root has not invalidated. */
  readonly cachedEpts = new Set<bigint>();
  readonly ports = new Map<number, number>();
  private readonly instance: WebAssembly.Instance;
  private readonly linear: DataView;
  private readonly runs = new Map<number, number>();
  private pmReads = 0;
  private readonly info: bigint;
  private pciAddress = 0;

  constructor(readonly options: HostOptions = {}) {
    this.msrs = { ...vmxMsrs(), ...options.msrs };
    this.instance = new WebAssembly.Instance(compiled(), this.imports());
    this.linear = new DataView((this.instance.exports["memory"] as WebAssembly.Memory).buffer);
    this.info = this.loadByMultiboot();
  }

  /** Boots until root halts the CPU; returns the log without its prefixes. */
  boot(): string[] {
    const magic = this.options.multiboot === 1 ? 0x2badb002 : 0x36d76289;
    try {
      (this.instance.exports["start"] as (magic: number, info: number) => void)(magic, Number(this.info));
    } catch (error) {
      if (!(error instanceof Halted)) throw error;
    }
    return this.log;
  }

  get log(): string[] {
    return this.serial[0]!.split("\r\n")
      .filter((line) => line.startsWith("(tv) "))
      .map((line) => line.slice(5));
  }

  /** Lays out modules and a Multiboot 1 or 2 information structure as GRUB does. */
  private loadByMultiboot(): bigint {
    const ram = this.options.ram ?? [
      [0n, 0xa0000n],
      [0x100000n, 512n << 20n],
    ];
    let next = 0x1000000n;
    const placed = (this.options.modules ?? []).map((m) => {
      const start = next;
      this.memory.put(start, m.bytes);
      next = (start + BigInt(m.bytes.length) + 0xfffn) & ~0xfffn;
      return { start, end: start + BigInt(m.bytes.length), text: m.text };
    });
    const command = this.options.commandLine ?? "";
    return this.options.multiboot === 1
      ? this.multiboot1(ram, placed, command)
      : this.multiboot2(ram, placed, command);
  }

  private text(at: bigint, s: string): void {
    this.memory.put(at, new TextEncoder().encode(`${s}\0`));
  }

  private multiboot1(ram: [bigint, bigint][], placed: Placed[], command: string): bigint {
    const info = 0x10000n;
    const list = 0x11000n;
    const map = 0x12000n;
    let texts = 0x13000n;
    this.memory.store(info, 4, 0x4cn);
    this.text(texts, command);
    this.memory.store(info + 16n, 4, texts);
    texts += BigInt(command.length + 1);
    this.memory.store(info + 20n, 4, BigInt(placed.length));
    this.memory.store(info + 24n, 4, list);
    placed.forEach((m, i) => {
      const at = list + BigInt(i * 16);
      this.memory.store(at, 4, m.start);
      this.memory.store(at + 4n, 4, m.end);
      this.memory.store(at + 8n, 4, texts);
      this.text(texts, m.text);
      texts += BigInt(m.text.length + 1);
    });
    this.memory.store(info + 44n, 4, BigInt(ram.length * 24));
    this.memory.store(info + 48n, 4, map);
    ram.forEach(([base, end], i) => {
      const at = map + BigInt(i * 24);
      this.memory.store(at, 4, 20n);
      this.memory.store(at + 4n, 8, base);
      this.memory.store(at + 12n, 8, end - base);
      this.memory.store(at + 20n, 4, 1n);
    });
    return info;
  }

  private multiboot2(ram: [bigint, bigint][], placed: Placed[], command: string): bigint {
    const info = 0x10000n;
    let at = info + 8n;
    const tag = (kind: number, size: number, fill: (body: bigint) => void) => {
      this.memory.store(at, 4, BigInt(kind));
      this.memory.store(at + 4n, 4, BigInt(size + 8));
      fill(at + 8n);
      at = (at + BigInt(size + 8) + 7n) & ~7n;
    };
    tag(1, command.length + 1, (body) => this.text(body, command));
    for (const m of placed) {
      tag(3, 8 + m.text.length + 1, (body) => {
        this.memory.store(body, 4, m.start);
        this.memory.store(body + 4n, 4, m.end);
        this.text(body + 8n, m.text);
      });
    }
    tag(6, 8 + ram.length * 24, (body) => {
      this.memory.store(body, 4, 24n);
      ram.forEach(([base, end], i) => {
        const entry = body + 8n + BigInt(i * 24);
        this.memory.store(entry, 8, base);
        this.memory.store(entry + 8n, 8, end - base);
        this.memory.store(entry + 16n, 4, 1n);
      });
    });
    tag(0, 0, () => {});
    this.memory.store(info, 4, at - info);
    return info;
  }

  private in(port: number, size: number): number {
    const uart = port - 0x3f8 < 8 && port >= 0x3f8 ? 0 : port - 0x2f8 < 8 && port >= 0x2f8 ? 1 : -1;
    if (uart >= 0) {
      const register = port & 7;
      if (register === 5) return 0x60;
      if (register === 2) return 1;
      return this.ports.get(port) ?? 0;
    }
    if (port === 0x61) return 0x20 | (this.ports.get(0x61) ?? 0);
    if (port === 0x71)
      return [0, 0, 0, 0, 0x12, 0, 0, 1, 1, 0x24, 0x26, 2][this.ports.get(0x70)! & 0x7f] ?? 0;
    if (port === 0x608) return (this.pmReads += 1000);
    if (port === 0xcfc && this.pciAddress === 0x80000800) return 0x12378086;
    return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
  }

  private out(port: number, value: number): void {
    if (port === 0x3f8 && !(this.ports.get(0x3fb)! & 0x80))
      this.serial[0] += String.fromCharCode(value & 255);
    else if (port === 0x2f8 && !(this.ports.get(0x2fb)! & 0x80))
      this.serial[1] += String.fromCharCode(value & 255);
    if (port === 0xcf8) this.pciAddress = value >>> 0;
    this.ports.set(port, value);
  }

  /** The fields of the current VMCS. */
  fields(): Map<number, bigint> {
    const fields = this.currentVmcs === undefined ? undefined : this.vmcs.get(this.currentVmcs);
    if (!fields) throw new Error("there is no current VMCS");
    return fields;
  }

  context(at: number, field: string): bigint {
    return this.linear.getBigUint64(at + abi(`VCPUCONTEXT_${field}`), true);
  }

  /** Follows a host or nested page table; undefined where nothing is mapped. */
  translate(top: bigint, address: bigint): { hpa: bigint; flags: bigint; size: bigint } | undefined {
    let table = top;
    for (let level = 4; level > 0; level--) {
      const shift = BigInt(12 + 9 * (level - 1));
      const entry = this.memory.load(table + ((address >> shift) & 511n) * 8n, 8);
      if (entry === 0n) return undefined;
      const base = entry & 0x000ffffffffff000n;
      if (level === 1 || entry & 0x80n) {
        const size = 1n << shift;
        return { hpa: (base & ~(size - 1n)) + (address & (size - 1n)), flags: entry, size };
      }
      table = base;
    }
    return undefined;
  }

  /** Every leaf of a table tree: the virtual address, what it maps, the entry. */
  *leaves(top: bigint): Generator<{ address: bigint; hpa: bigint; size: bigint; flags: bigint }> {
    const level = [top];
    const stack: { table: bigint; level: number; address: bigint }[] = [
      { table: level[0]!, level: 4, address: 0n },
    ];
    while (stack.length > 0) {
      const { table, level, address } = stack.pop()!;
      const size = 1n << BigInt(12 + 9 * (level - 1));
      for (let i = 0n; i < 512n; i++) {
        const entry = this.memory.load(table + i * 8n, 8);
        if (entry === 0n) continue;
        let at = address + i * size;
        if (level === 4 && i >= 256n) at |= 0xffff000000000000n;
        const base = entry & 0x000ffffffffff000n;
        if (level === 1 || entry & 0x80n) yield { address: at, hpa: base & ~(size - 1n), size, flags: entry };
        else stack.push({ table: base, level: level - 1, address: at });
      }
    }
  }

  private imports(): WebAssembly.Imports {
    const memory = this.memory;
    const u64 = (v: bigint) => BigInt.asUintN(64, v);
    const load = (size: number) => (at: bigint) => {
      const value = memory.load(u64(at), size);
      return size === 8 ? value : Number(value);
    };
    const store = (size: number) => (at: bigint, value: bigint | number) =>
      memory.store(u64(at), size, u64(BigInt(value)) & ((1n << BigInt(size * 8)) - 1n));
    const bytes = (at: number, length: number) => new Uint8Array(this.linear.buffer, at, length);
    const copy = (to: bigint, from: bigint, length: bigint) => {
      if (length > 0n) memory.put(u64(to), memory.get(u64(from), Number(length)));
    };
    const image = {
      start: 0x200000n,
      textEnd: 0x210000n,
      readOnlyEnd: 0x214000n,
      perCpuEnd: 0x21a000n,
      dataEnd: 0x22c000n,
      end: 0x600000n,
      stackGuard: 0x220000n,
      rootMemory: 0x400000n,
      perCpu: 0x214000n,
      gdt: 0x214400n,
      tss: 0x214500n,
      idt: 0x215000n,
    };
    return {
      env: {
        abort: (message: number, file: number, line: number) => {
          const text = (at: number) =>
            Buffer.from(bytes(at, this.linear.getUint32(at - 4, true))).toString("utf16le");
          throw new Error(`root: ${text(message)} at ${text(file)}:${line}`);
        },
      },
      cpuid: {
        query: (leaf: number, subleaf: number, out: number) => {
          const answer = (this.options.cpuid ?? vtxCpuid)(leaf >>> 0, subleaf);
          answer.forEach((value, i) => this.linear.setUint32(out + i * 4, value >>> 0, true));
        },
      },
      time: { tsc: () => (this.tsc += 100n) },
      phys: {
        load8: load(1),
        load16: load(2),
        load32: load(4),
        load64: load(8),
        store8: store(1),
        store16: store(2),
        store32: store(4),
        store64: store(8),
        copy,
        fill: (at: bigint, value: number, length: bigint) => memory.fill(u64(at), value, length),
        read: (at: bigint, to: number, length: number) => bytes(to, length).set(memory.get(u64(at), length)),
        write: (at: bigint, from: number, length: number) => memory.put(u64(at), bytes(from, length).slice()),
        loadDevice32: (at: bigint) => Number(this.device(u64(at))),
        storeDevice32: () => {},
      },
      port: {
        in8: (port: number) => this.in(port, 1),
        in16: (port: number) => this.in(port, 2),
        in32: (port: number) => this.in(port, 4),
        out8: (p: number, v: number) => this.out(p, v),
        out16: (p: number, v: number) => this.out(p, v),
        out32: (p: number, v: number) => this.out(p, v),
      },
      msr: {
        read: (index: number) => {
          const value = this.msrs[index >>> 0] ?? this.x2apic(index);
          if (value === undefined) throw new Error(`RDMSR of ${(index >>> 0).toString(16)}: #GP`);
          return value;
        },
        exists: (index: number) => ((this.msrs[index >>> 0] ?? this.x2apic(index)) === undefined ? 0 : 1),
        write: (index: number, value: bigint) => void (this.msrs[index >>> 0] = u64(value)),
      },
      cpu: {
        readCr0: () => this.cr[0],
        readCr3: () => this.cr[3],
        readCr4: () => this.cr[4],
        writeCr0: (v: bigint) => void (this.cr[0] = v),
        writeCr3: (v: bigint) => void (this.cr[3] = u64(v)),
        writeCr4: (v: bigint) => void (this.cr[4] = v),
        invalidatePage: () => {},
        openInterrupts: () => {},
        waitForInterrupt: () => void (this.tsc += 10_000_000n),
        takePending: () => 0n,
        clearAttention: () => {},
        nmis: () => 0,
        pause: () => {},
        crash: () => {},
        configureTimer: () => {},
        armTimer: () => {},
        halt: () => {
          throw new Halted();
        },
      },
      state: {
        saveExtended: () => {},
        restoreExtended: () => {},
        readXcr0: () => 1n,
        writeXcr0: () => {},
        readDr: () => 0n,
        writeDr: () => {},
        readCr2: () => 0n,
        writeCr2: () => {},
      },
      image: {
        ...Object.fromEntries(Object.entries(image).map(([name, value]) => [name, () => value])),
        version: (n: number) => "test".charCodeAt(n) || 0,
        buildId: () => 0x12345678,
        monitorPages: () => 4,
        monitorSegments: () => 1,
        segmentOffset: () => 0x10000,
        segmentLength: () => 16,
        segmentAddress: () => 0x211000n,
      },
      vmx: {
        on: () => 1,
        off: () => {},
        exitStub: () => 0x201000n,
        instructionError: () => 7,
        clear: (vmcs: bigint) => (this.vmcs.delete(u64(vmcs)), this.vmcs.set(u64(vmcs), new Map()), 1),
        load: (vmcs: bigint) => {
          if (!this.vmcs.has(u64(vmcs))) return 0;
          this.currentVmcs = u64(vmcs);
          return 1;
        },
        read: (field: number) => this.fields().get(field) ?? 0n,
        write: (field: number, value: bigint) => (this.fields().set(field, u64(value)), 1),
        invalidateEpt: (eptp: bigint) => (this.cachedEpts.delete(u64(eptp)), 1),
        invalidateVpid: () => 1,
        runVcpu: (context: number) => this.run(context),
      },
    };
  }

  /** The local APIC's MSRs. */
  private x2apic(index: number): bigint | undefined {
    return index >= 0x800 && index < 0x840 ? BigInt(this.device(BigInt(index - 0x800) << 4n)) : undefined;
  }

  /** The local APIC's page: a counter that counts. */
  private device(at: bigint): number {
    return (at & 0xfffn) === 0x390n ? 0xffffffff - Number(this.tsc % 0xffffffffn) : 0;
  }

  private run(context: number): number {
    const vmcs = this.currentVmcs!;
    const eptp = this.fields().get(0x201a)!;
    if (this.cachedEpts.has(eptp) && !this.runs.has(context)) {
      throw new Error("a new VM runs with translations cached for the EPTP of an old one");
    }
    this.cachedEpts.add(eptp);
    const runs = this.runs.get(context) ?? 0;
    this.runs.set(context, runs + 1);
    this.tsc += 10_000n;
    const cr3 = this.context(context, "CR3");
    const left = this.options.run?.({ host: this, context, cr3, vmcs, runs }) ?? abi("LEAVE_STOP");
    if (left === abi("LEAVE_STOP") || left >= abi("LEAVE_TRAP")) this.runs.delete(context);
    return left;
  }

  /** Writes a field of the vCPU's run area, as its monitor would. */
  setRunArea(cr3: bigint, field: string, value: bigint, size = 4): void {
    const at = this.translate(cr3, BigInt(abi("LINEAR_BASE") + abi("VCPU_AREA") + abi(`RUNAREA_${field}`)));
    this.memory.store(at!.hpa, size, value);
  }
}

interface Placed {
  start: bigint;
  end: bigint;
  text: string;
}

let module: WebAssembly.Module | undefined;
function compiled(): WebAssembly.Module {
  return (module ??= new WebAssembly.Module(readFileSync(moduleFile("root"))));
}
