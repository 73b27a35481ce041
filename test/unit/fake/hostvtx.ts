/** VT-x of the bare machine, as root sees it: VMCSs, and a vCPU that runs as boot/vmx.asm does it. */
import { type GuestRegister, HostExtension, type RunningVcpu } from "./hostvcpu.ts";

export enum RootField {
  VPID = 0,
  TSC_OFFSET = 0x2010,
  EPT_POINTER = 0x201a,
  TSC_MULTIPLIER = 0x2032,
  SECONDARY_CONTROLS = 0x401e,
  EXIT_REASON = 0x4402,
  ENTRY_INTERRUPTION = 0x4016,
  HOST_CR3 = 0x6c02,
  HOST_RSP = 0x6c14,
  GUEST_CR0 = 0x6800,
  GUEST_DR7 = 0x681a,
  GUEST_RSP = 0x681c,
  GUEST_RIP = 0x681e,
}

const INVALID_GUEST_STATE = 0x80000021n;
const registers: Partial<Record<GuestRegister, RootField>> = {
  ...{ rip: RootField.GUEST_RIP, rsp: RootField.GUEST_RSP, cr0: RootField.GUEST_CR0 },
  ...{ dr7: RootField.GUEST_DR7, injection: RootField.ENTRY_INTERRUPTION },
};

export class HostVtx extends HostExtension {
  readonly vmcs = new Map<bigint, Map<number, bigint>>();
  current: bigint | undefined;
  /** Pages of VMCSs that the CPU may hold in itself: made current and not cleared since. */
  readonly active = new Set<number>();
  private readonly launched = new Set<bigint>();
  /** Of those in `vmcs`, whose memory has been something else since. */
  private readonly wiped = new Set<bigint>();
  private operation = false;

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

  /** VMCLEAR: what is in the structure stays. */
  private clear(vmcs: bigint): number {
    this.requireOperation();
    if (!this.isControl(vmcs)) this.vmcs.set(vmcs, new Map());
    this.wiped.delete(vmcs);
    this.launched.delete(vmcs);
    this.active.delete(Number(vmcs >> 12n));
    if (this.current === vmcs) this.current = undefined;
    return 1;
  }

  /** VMPTRLD. One that fails leaves the current VMCS as it is. */
  private load(vmcs: bigint): number {
    this.requireOperation();
    if (!this.isControl(vmcs) || !this.hasRevision(vmcs)) return 0;
    this.active.add(Number(vmcs >> 12n));
    this.current = vmcs;
    return 1;
  }

  private requireOperation(): void {
    if (!this.operation) throw new Error("a VMX instruction outside of VMX operation: #UD");
  }

  private fieldsOf(control: bigint): Map<number, bigint> {
    return this.vmcs.get(control)!;
  }

  nestedTop(control: bigint): bigint {
    return this.fieldsOf(control).get(RootField.EPT_POINTER)! & ~0xfffn;
  }

  tag(control: bigint): number {
    return Number(this.fieldsOf(control).get(RootField.VPID) ?? 0n);
  }

  guestAccess(control: bigint, gpa: number, who: string): number | undefined {
    return this.host.tlb.nested(this.fieldsOf(control).get(RootField.EPT_POINTER)!, gpa, who);
  }

  refuseEntry(control: bigint): void {
    this.fieldsOf(control).set(RootField.EXIT_REASON, INVALID_GUEST_STATE);
  }

  heldPage(page: number): string | undefined {
    return this.active.has(page) ? "a VMCS that the CPU may hold" : undefined;
  }

  isControl(address: bigint): boolean {
    return this.vmcs.has(address) && !this.wiped.has(address);
  }

  protected structureRegister(control: bigint, register: GuestRegister): bigint | undefined {
    const field = registers[register];
    return field === undefined ? undefined : (this.fieldsOf(control).get(field) ?? 0n);
  }

  protected setStructureRegister(control: bigint, register: GuestRegister, value: bigint): boolean {
    const field = registers[register];
    if (field !== undefined) this.fieldsOf(control).set(field, value);
    return field !== undefined;
  }

  protected start(_context: number, control: bigint): void {
    if (this.current !== control)
      throw new Error("another vCPU's VMCS is current than that of the context that runs");
  }

  /** No VMCS survives that. */
  filled(start: number, length: number): void {
    for (const vmcs of this.vmcs.keys()) {
      if (vmcs < start || vmcs >= start + length) continue;
      this.wiped.add(vmcs);
      this.runs.delete(vmcs);
    }
  }

  /** VMREAD and VMWRITE have no address. */
  protected touchControl(): void {}

  protected left(context: number, control: bigint): void {
    this.host.setContext(context, "LAUNCHED", this.launched.has(control) ? 1 : 0);
  }

  /** VMLAUNCH or VMRESUME, and the exit. */
  protected enter(vcpu: RunningVcpu, refused: boolean): void {
    const { host } = this;
    const fields = this.fields();
    if (fields.get(RootField.HOST_CR3) !== host.cr[3])
      throw new Error("a VM entry under another CR3 than the one that HOST_CR3 names");
    const launched = host.context(vcpu.context, "LAUNCHED") & 0xffffffffn;
    if ((launched !== 0n) !== this.launched.has(vcpu.control))
      throw new Error("VMLAUNCH and VMRESUME mixed up");
    const vpid = fields.get(RootField.SECONDARY_CONTROLS)! & 0x20n ? vcpu.tag : 0;
    if (vpid === 0 && fields.get(RootField.SECONDARY_CONTROLS)! & 0x20n)
      throw new Error("VM entry with VPID 0");
    host.tlb.enterOrExit(vpid);
    if (refused) this.refuseEntry(vcpu.control);
    else this.touchAsGuest(vcpu);
    host.tlb.enterOrExit(vpid);
    host.cr[3] = fields.get(RootField.HOST_CR3)!;
    if (!refused) this.launched.add(vcpu.control);
  }
}
