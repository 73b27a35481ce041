/**
 * Several vCPUs of one monitor, each on a virtual CPU of its own, and their local APICs as software reaches them. One runs at a time;
 * a kick is what the test makes of it: the others look at their mailboxes when `kick()` says so.
 */
import type { GuestCpu, Injected, Vendor } from "./cpu.ts";
import { Gpr, Next } from "./exit.ts";
import { fakeCpu, startOn } from "./guest.ts";
import { abi } from "./layout.ts";
import type { FakeCpu, FakeMonitor, MonitorOptions } from "./monitor.ts";
import { FakeSvm } from "./svm.ts";
import { FakeVtx } from "./vtx.ts";

const AREA = abi("VCPU_AREA");
const SIZE = abi("VCPU_AREA_SIZE");
const CODE = 0x300000;
export const LAPIC = 0xfee00000;
export const IOAPIC = 0xfec00000;

/** Whose virtual CPU the monitor's instructions are about changes with the vCPU that runs. */
class Several implements FakeCpu {
  readonly enterExport = "enter";
  current = 0;

  constructor(readonly cpus: GuestCpu[]) {}

  get module(): string {
    return this.cpus[0]!.module;
  }

  imports(machine: FakeMonitor): WebAssembly.Imports {
    type Calls = Record<string, Record<string, (...values: never[]) => unknown>>;
    const all = this.cpus.map((cpu) => cpu.imports(machine) as Calls);
    return Object.fromEntries(
      Object.entries(all[0]!).map(([module, calls]) => [
        module,
        Object.fromEntries(
          Object.keys(calls).map((name) => [
            name,
            (...values: never[]) => all[this.current]![module]![name]!(...values),
          ]),
        ),
      ]),
    );
  }

  attach(machine: FakeMonitor): void {
    for (const cpu of this.cpus) cpu.attach(machine);
  }

  returned(next: Next): void {
    this.cpus[this.current]!.returned?.(next);
  }
}

export class Apics {
  readonly machine: FakeMonitor;
  private readonly several: Several;
  /** TSC value at which each vCPU wants to be woken. */
  readonly deadlines: bigint[];

  constructor(
    readonly count: number,
    readonly vendor: Vendor = "VT-x",
    options: MonitorOptions = {},
    make: (n: number) => GuestCpu = () => fakeCpu(vendor),
  ) {
    this.several = new Several(Array.from({ length: count }, (_, n) => make(n)));
    ({ machine: this.machine } = startOn(this.several as unknown as GuestCpu, { ...options, vcpus: count }));
    this.deadlines = new Array<bigint>(count).fill(2n ** 64n - 1n);
    this.deadlines[0] = this.machine.deadline;
    this.cpus.forEach((cpu, n) => {
      cpu.interruptsOn = false;
      if (n > 0) this.copy(n);
    });
  }

  get cpus(): GuestCpu[] {
    return this.several.cpus;
  }

  get cpu(): GuestCpu {
    return this.cpus[this.several.current]!;
  }

  /** A vCPU that has not been started gets the registers of the first one, as if it had come so far. */
  private copy(n: number): void {
    const [first, cpu] = [this.cpus[0]!, this.cpus[n]!];
    for (const name of ["rip", "rsp", "rflags", "cr0", "cr3", "cr4", "efer", "gdtr", "idtr"] as const)
      Object.assign(cpu, { [name]: first[name] });
    for (let segment = 0; segment < 8; segment++) cpu.setSegment(segment, first.segment(segment));
    this.machine.memory.setUint32(AREA + n * SIZE + this.halted(n), 0, true);
  }

  /** Where in a vCPU's area it says that it waits for a SIPI: found, for it is no part of the ABI. */
  private halted(n: number): number {
    const { memory } = this.machine;
    for (let at = 0; at < 512; at += 4) {
      if (memory.getUint32(AREA + n * SIZE + at, true) === 2) return at;
    }
    throw new Error("the vCPU does not wait for a SIPI");
  }

  /** vCPU n does something. */
  on<T>(n: number, what: (cpu: GuestCpu) => T): T {
    this.several.current = n;
    this.machine.vcpu = AREA + n * SIZE;
    this.machine.deadline = this.deadlines[n]!;
    const result = what(this.cpus[n]!);
    this.deadlines[n] = this.machine.deadline;
    return result;
  }

  /** The host's timer, or another CPU's kick. */
  external(n: number): Next {
    return this.on(n, (cpu) => {
      const next = cpu instanceof FakeVtx ? cpu.exit(1) : (cpu as FakeSvm).exit(0x60);
      this.fault(cpu);
      return next;
    });
  }

  /** All but vCPU n look at their mailboxes. */
  kick(n: number): void {
    for (let i = 0; i < this.count; i++) if (i !== n) this.external(i);
  }

  /** RDMSR; undefined for #GP. */
  rdmsr(n: number, index: number): bigint | undefined {
    return this.on(n, (cpu) => {
      cpu.rdmsr(index);
      if (this.fault(cpu)) return undefined;
      const low = this.machine.gpr(Gpr.rax) & 0xffffffffn;
      return low | (this.machine.gpr(Gpr.rdx) << 32n);
    });
  }

  /** WRMSR; whether it was taken. */
  wrmsr(n: number, index: number, value: bigint): boolean {
    return this.on(n, (cpu) => {
      cpu.wrmsr(index, value);
      return !this.fault(cpu);
    });
  }

  /** The #GP of the instruction that has exited. */
  private fault(cpu: GuestCpu): boolean {
    if (!cpu.injecting || cpu.interruptsOn) return false;
    const injected = cpu.takeInjected()!;
    if (injected.type === 3 && injected.vector === 13) return true;
    if (injected.type !== 2) throw new Error(`injected: ${JSON.stringify(injected)}`);
    this.nmis[this.several.current]!++;
    return false;
  }

  /** NMIs that came. */
  readonly nmis = new Array<number>(16).fill(0);

  /** MOV EAX from the address. */
  load(n: number, address: number): number {
    return this.on(n, (cpu) => {
      this.put(cpu, [0xa1], address);
      this.machine.setGpr(Gpr.rax, 0);
      cpu.violation(BigInt(address), { linear: BigInt(address) });
      this.fault(cpu);
      return Number(this.machine.gpr(Gpr.rax) & 0xffffffffn);
    });
  }

  /** MOV EAX to the address. */
  store(n: number, address: number, value: number): void {
    this.on(n, (cpu) => {
      this.put(cpu, [0xa3], address);
      this.machine.setGpr(Gpr.rax, value >>> 0);
      cpu.violation(BigInt(address), { linear: BigInt(address), write: true });
      this.fault(cpu);
    });
  }

  private put(cpu: GuestCpu, opcode: number[], address: number): void {
    const bytes = [0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff);
    this.machine.ram.put(CODE, [...opcode, ...bytes, 0, 0, 0, 0]);
    cpu.rip = BigInt(CODE);
  }

  /** MOV from or to CR8, by RCX. */
  readCr8(n: number): number {
    return this.on(n, (cpu) => {
      this.exitCr8(cpu, true);
      return Number(this.machine.gpr(Gpr.rcx));
    });
  }

  writeCr8(n: number, value: bigint): boolean {
    return this.on(n, (cpu) => {
      this.machine.setGpr(Gpr.rcx, value);
      this.exitCr8(cpu, false);
      return !this.fault(cpu);
    });
  }

  private exitCr8(cpu: GuestCpu, read: boolean): void {
    this.machine.ram.put(CODE, [0x44, 0x0f, read ? 0x20 : 0x22, 0xc1]);
    cpu.rip = BigInt(CODE);
    if (cpu instanceof FakeVtx)
      cpu.exit(28, { EXIT_LENGTH: 4, QUALIFICATION: 8 | (read ? 0x10 : 0) | (1 << 8) });
    else (cpu as FakeSvm).exit(read ? 8 : 0x18);
  }

  /** vCPU n does something with interrupts on: the interrupt that it takes behind that, if any. */
  open(n: number, what: (cpu: GuestCpu) => void): Injected | undefined {
    return this.on(n, (cpu) => {
      cpu.interruptsOn = true;
      what(cpu);
      const taken = cpu.takeInjected();
      cpu.interruptsOn = false;
      return taken;
    });
  }

  /** The host's timer, or another CPU's kick, while interrupts are on. */
  openExternal(n: number): Injected | undefined {
    return this.open(n, (cpu) => (cpu instanceof FakeVtx ? cpu.exit(1) : (cpu as FakeSvm).exit(0x60)));
  }

  /** Takes an interrupt or an NMI, if there is one. */
  take(n: number): Injected | undefined {
    return this.on(n, (cpu) => {
      cpu.interruptsOn = true;
      this.machine.ram.put(CODE, [0x0f, 0xa2]);
      cpu.rip = BigInt(CODE);
      cpu.cpuid(0);
      const taken = cpu.takeInjected();
      cpu.interruptsOn = false;
      return taken;
    });
  }

  /** Takes an interrupt if there is one: its vector. */
  interrupt(n: number): number | undefined {
    const taken = this.take(n);
    return taken?.type === 0 ? taken.vector : undefined;
  }

  /** Switches vCPU n's APIC to x2APIC mode, and has its software enable it. */
  x2(n: number): void {
    this.wrmsr(n, 0x1b, 0xfee00c00n | (n === 0 ? 0x100n : 0n));
    this.wrmsr(n, 0x80f, 0x1ffn);
  }

  x2All(): void {
    for (let n = 0; n < this.count; n++) this.x2(n);
  }
}
