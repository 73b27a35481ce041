/** VT-x of the bare machine, as root sees it: VMCSs, and a vCPU that runs as boot/switch.asm and boot/vmx.asm do it. */
import { abi } from "./layout.ts";
import type { FakeHost } from "./host.ts";

export enum RootField {
  VPID = 0,
  EPT_POINTER = 0x201a,
  SECONDARY_CONTROLS = 0x401e,
  EXIT_REASON = 0x4402,
  HOST_CR3 = 0x6c02,
  HOST_RSP = 0x6c14,
  GUEST_CR0 = 0x6800,
  GUEST_RSP = 0x681c,
  GUEST_RIP = 0x681e,
}

const pageOf = (va: number) => Number(BigInt.asUintN(48, BigInt(va)) >> 12n);
const linearPage = pageOf(abi("LINEAR_BASE"));
const guestWindowPage = pageOf(abi("GUEST_WINDOW"));
const apicPage = pageOf(abi("APIC_PAGE"));

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
    readonly vmcs: bigint,
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

  setRunArea(field: string, value: bigint | number, size = 4): void {
    this.store(abi("VCPU_AREA") + abi(`RUNAREA_${field}`), size, value);
  }

  /** The guest's access to its memory: a host-physical address, undefined when its EPT has none. */
  guestAccess(gpa: number): number | undefined {
    const eptp = this.host.fields().get(RootField.EPT_POINTER)!;
    return this.host.tlb.nested(eptp, gpa, `vm${this.vm}'s guest`);
  }

  /** The guest's access to a linear address that its own page tables map to `gpa`. */
  guestLinear(address: number, gpa: number): void {
    this.host.tlb.linear(this.vpid, address, gpa, `vm${this.vm}'s guest`);
    this.guestAccess(gpa);
  }

  get vpid(): number {
    return Number(this.host.fields().get(RootField.VPID) ?? 0n);
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

export class HostVtx {
  readonly vmcs = new Map<bigint, Map<number, bigint>>();
  current: bigint | undefined;
  /** Pages of VMCSs that the CPU may hold in itself: made current and not cleared since. */
  readonly active = new Set<number>();
  private readonly launched = new Set<bigint>();
  private readonly runs = new Map<bigint, { vm: number; life: number; runs: number }>();
  private readonly lives = new Map<number, number>();
  private operation = false;
  private total = 0;

  constructor(private readonly host: FakeHost) {}

  fields(): Map<number, bigint> {
    const fields = this.current === undefined ? undefined : this.vmcs.get(this.current);
    if (!fields) throw new Error("there is no current VMCS");
    return fields;
  }

  private hasRevision(region: bigint): boolean {
    return BigInt(this.host.memory.load32(Number(region))) === (this.host.msrs[0x480]! & 0x7fffffffn);
  }

  imports(): Record<string, (...args: never[]) => unknown> {
    const u64 = (v: bigint) => BigInt.asUintN(64, v);
    const { host } = this;
    return {
      on: (region: bigint) => {
        this.operation = this.hasRevision(region) && (host.cr[4]! & 0x2000n) !== 0n;
        if (host.options.vmxonFails) this.operation = false;
        return this.operation ? 1 : 0;
      },
      off: () => void (this.operation = false),
      exitStub: () => 0x201000n,
      instructionError: () => 7,
      clear: (vmcs: bigint) => this.clear(u64(vmcs)),
      load: (vmcs: bigint) => this.load(u64(vmcs)),
      read: (field: number) => this.fields().get(field) ?? 0n,
      write: (field: number, value: bigint) => {
        if (this.current === undefined || host.options.lacksField === field) return 0;
        this.fields().set(field, u64(value));
        return 1;
      },
      invalidateEpt: (eptp: bigint) => (host.tlb.invept(u64(eptp)), 1),
      invalidateVpid: (vpid: number) => (host.tlb.invvpid(vpid), 1),
      runVcpu: (context: number) => this.run(context),
    };
  }

  /** VMCLEAR. */
  private clear(vmcs: bigint): number {
    this.requireOperation();
    this.vmcs.set(vmcs, new Map());
    this.launched.delete(vmcs);
    this.runs.delete(vmcs);
    this.active.delete(Number(vmcs >> 12n));
    if (this.current === vmcs) this.current = undefined;
    return 1;
  }

  /** VMPTRLD. One that fails leaves the current VMCS as it is. */
  private load(vmcs: bigint): number {
    this.requireOperation();
    if (!this.vmcs.has(vmcs) || !this.hasRevision(vmcs)) return 0;
    this.active.add(Number(vmcs >> 12n));
    this.current = vmcs;
    return 1;
  }

  private requireOperation(): void {
    if (!this.operation) throw new Error("a VMX instruction outside of VMX operation: #UD");
  }

  /** run_vcpu: to the monitor, to its guest, back to the monitor by a VM exit, back to root. */
  private run(context: number): number {
    const { host } = this;
    if (++this.total > 100_000) throw new Error("the machine does not come to its end");
    const cr3 = host.context(context, "CR3");
    const vmcs = host.context(context, "VMCB");
    if (this.current !== vmcs)
      throw new Error("another vCPU's VMCS is current than that of the context that runs");
    const rootCr3 = host.cr[3]!;
    host.loadCr3(cr3, "enter_monitor");
    const life = this.lifeOf(context, vmcs);
    const vcpu = new RunningVcpu(host, context, life.vm, life.life, cr3, vmcs, life.runs++);
    this.touchAsMonitor(vcpu);
    host.tsc += 10_000n;
    const left = this.enter(vcpu)
      ? (host.options.run?.(vcpu) ?? vcpu.stop("POWERED_OFF"))
      : abi("LEAVE_ENTRY_FAILED");
    if (left !== abi("LEAVE_ENTRY_FAILED")) this.launched.add(vmcs);
    host.setContext(context, "LAUNCHED", this.launched.has(vmcs) ? 1 : 0);
    host.loadCr3(rootCr3, "leave_to_root");
    host.touchAsRoot();
    return left;
  }

  /** A life begins with the first run after root has prepared the VMCS. */
  private lifeOf(context: number, vmcs: bigint) {
    let life = this.runs.get(vmcs);
    if (life) return life;
    const at = linearPage + (abi("VM_INFO") >> 12);
    const vm = this.host.memory.load32(this.host.hostAccess(at, "load", "a new monitor") + abi("VMINFO_ID"));
    const lives = (this.lives.get(vm) ?? 0) + 1;
    this.lives.set(vm, lives);
    this.runs.set(vmcs, (life = { vm, life: lives, runs: 0 }));
    this.host.frameOwners.born(this.host, vm, context, vmcs);
    return life;
  }

  /** VMLAUNCH or VMRESUME, and what every guest touches: its memory's first and last page, by two ways. */
  private enter(vcpu: RunningVcpu): boolean {
    const { host } = this;
    const fields = this.fields();
    if (fields.get(RootField.HOST_CR3) !== host.cr[3])
      throw new Error("a VM entry under another CR3 than the one that HOST_CR3 names");
    const launched = host.context(vcpu.context, "LAUNCHED") & 0xffffffffn;
    if ((launched !== 0n) !== this.launched.has(vcpu.vmcs)) throw new Error("VMLAUNCH and VMRESUME mixed up");
    const vpid = fields.get(RootField.SECONDARY_CONTROLS)! & 0x20n ? vcpu.vpid : 0;
    if (vpid === 0 && fields.get(RootField.SECONDARY_CONTROLS)! & 0x20n)
      throw new Error("VM entry with VPID 0");
    host.tlb.enterOrExit(vpid);
    const last = Number(host.context(vcpu.context, "RAM_LOW")) - 4096;
    for (const gpa of [0, 0x100000, last])
      if (vcpu.guestAccess(gpa) === undefined)
        throw new Error(`an EPT violation in RAM, at ${gpa.toString(16)}`);
    // A guest of each life maps this page elsewhere.
    vcpu.guestLinear(0x400000, 0x1000 * (1 + ((vcpu.life + 16 * vcpu.vm) % 256)));
    host.tlb.enterOrExit(vpid);
    host.cr[3] = fields.get(RootField.HOST_CR3)!;
    return true;
  }

  /** What every monitor touches: text, its CPU's block, its memory, its stack, its guest's memory. */
  private touchAsMonitor({ context, vm }: RunningVcpu): void {
    const { host } = this;
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
  }
}
