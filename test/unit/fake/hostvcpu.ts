/**
 * A vCPU that runs on the bare machine, whichever extension its CPU has: to its monitor, to its guest, and back to root, as
 * boot/switch.asm does it.
 */
import { abi } from "./layout.ts";
import type { FakeHost } from "./host.ts";

const pageOf = (va: number) => Number(BigInt.asUintN(48, BigInt(va)) >> 12n);
const linearPage = pageOf(abi("LINEAR_BASE"));
const guestWindowPage = pageOf(abi("GUEST_WINDOW"));
const apicPage = pageOf(abi("APIC_PAGE"));

/** Registers of a guest that root looks at or switches, wherever they are while its monitor runs. */
export type GuestRegister =
  | ("rip" | "rsp" | "cr0" | "cr2" | "dr0" | "dr1" | "dr2" | "dr3" | "dr6" | "dr7" | "xcr0")
  | "injection" // the event that the next entry delivers: not a register, but kept like one
  | ("star" | "lstar" | "cstar" | "fmask" | "kernelGsBase" | "tscAux");

/** SYSCALL's MSRs, KERNEL_GS_BASE and TSC_AUX. */
export const guestMsrs: Partial<Record<GuestRegister, number>> = {
  ...{ star: 0xc0000081, lstar: 0xc0000082, cstar: 0xc0000083, fmask: 0xc0000084 },
  ...{ kernelGsBase: 0xc0000102, tscAux: 0xc0000103 },
};

/** A vCPU that runs, with its monitor: what a test has it do, it does through this. */
export class RunningVcpu {
  constructor(
    readonly host: FakeHost,
    /** Address of the VcpuContext in root's memory. */
    readonly context: number,
    /** The VM's number, and which life of it this is. */
    readonly vm: number,
    readonly life: number,
    /** CR3 of the monitor's space. */
    readonly cr3: bigint,
    /** Physical address of its control structure: the VMCS or the VMCB. */
    readonly control: bigint,
    /** How often this vCPU was run before, in this life. */
    readonly runs: number,
  ) {}

  private monitorAddress(address: number, kind: "load" | "store"): number {
    return (
      this.host.hostAccess(linearPage + (address >> 12), kind, `vm${this.vm}'s monitor`) + (address & 0xfff)
    );
  }

  /** The monitor's linear memory. */
  load(address: number, size = 4): bigint {
    return this.host.memory.load(this.monitorAddress(address, "load"), size);
  }

  store(address: number, size: number, value: bigint | number): void {
    this.host.memory.store(
      this.monitorAddress(address, "store"),
      size,
      BigInt.asUintN(size * 8, BigInt(value)),
    );
  }

  /** Its number among its VM's, and the address of its area in the monitor's memory. */
  get number(): number {
    return (this.area - abi("VCPU_AREA")) / abi("VCPU_AREA_SIZE");
  }
  get area(): number {
    return Number(this.host.context(this.context, "VCPU") & 0xffffffffn);
  }

  setRunArea(field: string, value: bigint | number, size = 4): void {
    this.store(this.area + abi(`RUNAREA_${field}`), size, value);
  }

  /** Starts or wakes another vCPU of its VM. */
  kick(number: number): void {
    this.store(abi("VCPU_AREA") + number * abi("VCPU_AREA_SIZE") + abi("RUNAREA_KICKED"), 4, 1);
  }

  /** Top of the tables that translate the guest's physical addresses. */
  get nestedTop(): bigint {
    return this.host.extension.nestedTop(this.control);
  }

  /** The tag of the guest's translations: VPID or ASID. */
  get tag(): number {
    return this.host.extension.tag(this.control);
  }

  /** The guest's access to its memory: a host-physical address, undefined when its nested tables have none. */
  guestAccess(gpa: number): number | undefined {
    return this.host.extension.guestAccess(this.control, gpa, `vm${this.vm}'s guest`);
  }

  /** The guest's access to a linear address that its own page tables map to `gpa`. */
  guestLinear(address: number, gpa: number): void {
    this.host.tlb.linear(this.tag, address, gpa, `vm${this.vm}'s guest`);
    this.guestAccess(gpa);
  }

  /** What the guest has in a register when it exits. */
  guest(register: GuestRegister): bigint {
    return this.host.extension.guestRegister(this.control, register);
  }

  setGuest(register: GuestRegister, value: bigint): void {
    this.host.extension.setGuestRegister(this.control, register, BigInt.asUintN(64, value));
  }

  /** AMD-V: the monitor wants its guest's translations dropped. */
  flush(): void {
    this.host.svm.flushGuest(this.control);
  }

  /** The CPU has refused the guest's state. */
  refuseEntry(): number {
    this.host.extension.refuseEntry(this.control);
    return this.stop("ENTRY_REFUSED");
  }

  /** Ends the VM for a StopReason. */
  stop(reason: string, detail: bigint | number = 0): number {
    this.setRunArea("STOP_REASON", abi(`STOPREASON_${reason}`));
    this.setRunArea("STOP_DETAIL", detail, 8);
    return abi("LEAVE_STOP");
  }

  /** Asks root for something. */
  yield(request: string): number {
    this.setRunArea("REQUEST", abi(`REQUEST_${request}`));
    return abi("LEAVE_YIELD");
  }

  /** HLT: run again at a TSC value, or never but for input. */
  haltUntil(wake = (1n << 64n) - 1n): number {
    this.setRunArea("WAKE", wake, 8);
    return this.yield("HALT");
  }

  /** Runs until its slice is over. */
  useSlice(): number {
    const end = this.sliceEnd;
    if (this.host.tsc < end) this.host.tsc = end;
    return abi("LEAVE_INTERRUPT");
  }

  get sliceEnd(): bigint {
    return this.host.context(this.context, "SLICE_END");
  }

  private ring(field: string): number {
    return abi("CONSOLE_RING") + abi(`CONSOLERINGS_${field}`);
  }

  /** Puts text into the ring for root to drain. */
  print(text: string): number {
    let head = Number(this.load(this.ring("OUT_HEAD")));
    for (const byte of Buffer.from(text, "latin1")) {
      const at = abi("CONSOLE_RING") + abi("CONSOLE_OUT_OFFSET") + (head % abi("CONSOLE_OUT_SIZE"));
      this.store(at, 1, byte);
      head = (head + 1) >>> 0;
    }
    this.store(this.ring("OUT_HEAD"), 4, head);
    return this.yield("CONSOLE");
  }

  /** Takes what root has put into the ring. */
  input(): string {
    const head = Number(this.load(this.ring("IN_HEAD")));
    let tail = Number(this.load(this.ring("IN_TAIL")));
    const from = abi("CONSOLE_RING") + abi("CONSOLE_IN_OFFSET");
    let text = "";
    for (; tail !== head; tail = (tail + 1) >>> 0)
      text += String.fromCharCode(Number(this.load(from + (tail % abi("CONSOLE_IN_SIZE")), 1)));
    this.store(this.ring("IN_TAIL"), 4, tail);
    return text;
  }

  /** Sets a counter of exits. */
  count(exit: string, n: bigint | number): void {
    this.store(abi("VCPU_AREA") + abi("EXIT_COUNTERS") + abi(`EXIT_${exit}`) * 8, 8, n);
  }
}

interface Life {
  vm: number;
  life: number;
  runs: number;
}

/** What VT-x and AMD-V have in common. Control structures are known by their physical addresses. */
export abstract class HostExtension {
  protected readonly runs = new Map<bigint, Life>();
  private readonly lives = new Map<number, number>();
  private total = 0;

  constructor(protected readonly host: FakeHost) {}

  abstract nestedTop(control: bigint): bigint;
  abstract tag(control: bigint): number;
  abstract guestAccess(control: bigint, gpa: number, who: string): number | undefined;
  abstract refuseEntry(control: bigint): void;
  /** What the page is, if root may not store into it now. */
  abstract heldPage(page: number): string | undefined;
  /** Whether the page at this address is a living VM's control structure. */
  abstract isControl(address: bigint): boolean;
  /** What run_vcpu needs and does before it goes to the monitor. */
  protected abstract start(context: number, control: bigint): void;
  /** Into the guest, and out of it by a host interrupt; or the CPU refuses its state. */
  protected abstract enter(vcpu: RunningVcpu, refused: boolean): void;
  /** The first access of a monitor to its own control structure. */
  protected abstract touchControl(vcpu: RunningVcpu): void;
  protected abstract structureRegister(control: bigint, register: GuestRegister): bigint | undefined;
  protected abstract setStructureRegister(control: bigint, register: GuestRegister, value: bigint): boolean;

  /** Root has filled memory with zeros. */
  abstract filled(start: number, length: number): void;

  guestRegister(control: bigint, register: GuestRegister): bigint {
    const { host } = this;
    const inStructure = this.structureRegister(control, register);
    if (inStructure !== undefined) return inStructure;
    const msr = guestMsrs[register];
    if (msr !== undefined) return host.msrs[msr]!;
    if (register === "cr2") return host.cr2;
    if (register === "xcr0") return host.xcr0;
    return host.dr[Number(register.slice(2))]!;
  }

  setGuestRegister(control: bigint, register: GuestRegister, value: bigint): void {
    const { host } = this;
    if (this.setStructureRegister(control, register, value)) return;
    const msr = guestMsrs[register];
    if (msr !== undefined) host.msrs[msr] = value;
    else if (register === "cr2") host.cr2 = value;
    else if (register === "xcr0") host.xcr0 = value;
    else host.dr[Number(register.slice(2))] = value;
  }

  /** run_vcpu: to the monitor, to its guest, back to the monitor by a VM exit, back to root. */
  protected run(context: number): number {
    const { host } = this;
    if (++this.total > 100_000) throw new Error("the machine does not come to its end");
    const cr3 = host.context(context, "CR3");
    const control = host.context(context, "VMCB");
    this.start(context, control);
    const rootCr3 = host.cr[3]!;
    host.loadCr3(cr3, "enter_monitor");
    const life = this.lifeOf(context, control);
    const vcpu = new RunningVcpu(host, context, life.vm, life.life, cr3, control, life.runs++);
    this.touchAsMonitor(vcpu);
    host.tsc += 10_000n;
    const early = host.options.monitor?.(vcpu);
    const refused = early === undefined && (host.options.refuses?.(vcpu) ?? false);
    if (early === undefined) this.enter(vcpu, refused);
    const left =
      early ??
      (refused ? vcpu.stop("ENTRY_REFUSED") : (host.options.run?.(vcpu) ?? vcpu.stop("POWERED_OFF")));
    this.left(context, control);
    host.loadCr3(rootCr3, "leave_to_root");
    host.touchAsRoot();
    return left;
  }

  /** On the way back to root. */
  protected abstract left(context: number, control: bigint): void;

  /** A vCPU's life begins with the first run after root has prepared the control structure, a VM's with that of its first. */
  private lifeOf(context: number, control: bigint): Life {
    let life = this.runs.get(control);
    if (life) return life;
    const at = linearPage + (abi("VM_INFO") >> 12);
    const vm = this.host.memory.load32(this.host.hostAccess(at, "load", "a new monitor") + abi("VMINFO_ID"));
    const isFirst = Number(this.host.context(context, "VCPU") & 0xffffffffn) === abi("VCPU_AREA");
    const lives = (this.lives.get(vm) ?? 0) + (isFirst ? 1 : 0);
    this.lives.set(vm, lives);
    this.runs.set(control, (life = { vm, life: lives, runs: 0 }));
    this.host.frameOwners.born(this.host, vm, context, control);
    return life;
  }

  /** What every guest touches: its memory's first and last page, by two ways. */
  protected touchAsGuest(vcpu: RunningVcpu): void {
    const last = Number(this.host.context(vcpu.context, "RAM_LOW")) - 4096;
    for (const gpa of [0, 0x100000, last])
      if (vcpu.guestAccess(gpa) === undefined)
        throw new Error(`an exit for a missing translation of RAM, at ${gpa.toString(16)}`);
    // A guest of each life maps this page elsewhere.
    vcpu.guestLinear(0x400000, 0x1000 * (1 + ((vcpu.life + 16 * vcpu.vm) % 256)));
  }

  /** What every monitor touches: text, its CPU's block, its memory, its stack, its guest's memory. */
  private touchAsMonitor(vcpu: RunningVcpu): void {
    const { host } = this;
    const { context, vm } = vcpu;
    const who = `vm${vm}'s monitor`;
    const touch = (page: number, kind: "load" | "store" | "fetch") => host.hostAccess(page, kind, who);
    touch(0x201, "fetch");
    touch(0x211, "load");
    touch(0x214, "store");
    for (const address of [abi("VM_INFO"), abi("CONSOLE_RING"), abi("VCPU_AREA"), abi("MONITOR_DATA")])
      touch(linearPage + (address >> 12), "store");
    touch(pageOf(Number(BigInt.asIntN(64, host.context(context, "STACK")))) - 1, "store");
    const last = Math.floor(Number(host.context(context, "RAM_LOW")) / 4096) - 1;
    for (const page of [0, 0x100, last]) touch(guestWindowPage + page, "store");
    if (!host.x2apic) touch(apicPage, "store");
    this.touchControl(vcpu);
  }
}
