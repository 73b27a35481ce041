/**
 * AMD-V of the bare machine, as root sees it: VMCBs in memory, and a vCPU that runs as boot/svm.asm does it (APM Vol. 2 15.5,
 * VMRUN Instruction; 15.6, #VMEXIT). The CPU keeps what it may keep: of a VMCB, what is said to be clean, and translations
 * by ASID.
 */
import { abi } from "./layout.ts";
import { image, svmOf } from "./hostcpu.ts";
import { type GuestRegister, HostExtension, type RunningVcpu } from "./hostvcpu.ts";
import { Vmcb, cleanGroups, vmloadState } from "./vmcb.ts";
import { brokenVmrunRules, vmrunCpu } from "./vmrunrules.ts";

const EFER = 0xc0000080;
const VM_HSAVE_PA = 0xc0010117;
const PAGE = 4096n;
const INTR = 0x60n;
const INVALID = (1n << 64n) - 1n;
const hex = (n: bigint | number) => n.toString(16);

/** Where the VMCB has what else is in the CPU. CR2 is in both (docs/machines.md). */
const registers: Partial<Record<GuestRegister, number>> = {
  ...{ rip: Vmcb.RIP, rsp: Vmcb.RSP, cr0: Vmcb.CR0, cr2: Vmcb.CR2, dr6: Vmcb.DR6 },
  ...{ dr7: Vmcb.DR7, injection: Vmcb.EVENT_INJECTION },
  ...{ star: Vmcb.STAR, lstar: Vmcb.LSTAR, cstar: Vmcb.CSTAR, fmask: Vmcb.SFMASK },
  kernelGsBase: Vmcb.KERNEL_GS_BASE,
};

export class HostSvm extends HostExtension {
  /** TLB_CONTROL that monitors flush their guests' translations with. */
  flush = 0;
  /** TLB_CONTROL of each VMRUN, and the ASID that it ran with. */
  readonly entries: { control: number; asid: number }[] = [];
  /** Those that flushed something. */
  get flushes(): { control: number; asid: number }[] {
    return this.entries.filter(({ control }) => control !== 0);
  }

  /** What the CPU holds of VMCBs, by address: it may use it as long as the clean bits allow it. */
  private readonly held = new Map<bigint, Uint8Array>();
  /** Pages that root has filled with zeros each for itself, as it does with what becomes a VMCB. */
  private readonly zeroed = new Set<number>();

  imports(): Record<string, (...args: never[]) => unknown> {
    return {
      setFlush: (control: number) => void (this.flush = control),
      runVcpu: (context: number) => this.run(context),
    };
  }

  /** vmcb_flush of kernel/machine/vmcb.h: TLB_CONTROL is never kept by the CPU, so no clean bit is about it. */
  flushGuest(control: bigint): void {
    const at = control + BigInt(Vmcb.TLB_CONTROL);
    if (this.host.memory.load(at, 1) === 0n) this.host.memory.store(at, 1, BigInt(this.flush));
  }

  private get cpu() {
    return svmOf(this.host.cpuid);
  }

  load(control: bigint, offset: number, size = 8): bigint {
    return this.host.memory.load(control + BigInt(offset), size);
  }

  /** A store of the CPU's, or a monitor's, that takes the clean bits back. */
  store(control: bigint, offset: number, value: bigint, size = 8): void {
    this.host.memory.store(control + BigInt(offset), size, value);
    this.host.memory.store(control + BigInt(Vmcb.CLEAN), 4, 0n);
  }

  nestedTop(control: bigint): bigint {
    return this.load(control, Vmcb.NESTED_CR3);
  }

  tag(control: bigint): number {
    return Number(this.load(control, Vmcb.ASID, 4));
  }

  guestAccess(control: bigint, gpa: number, who: string): number | undefined {
    return this.host.tlb.nestedOfAsid(this.tag(control), this.nestedTop(control), gpa, who);
  }

  refuseEntry(control: bigint): void {
    this.store(control, Vmcb.EXIT_CODE, INVALID);
  }

  /** While root runs, no VMCB is in use. */
  heldPage(): undefined {
    return undefined;
  }

  isControl(address: bigint): boolean {
    return this.zeroed.has(Number(address));
  }

  filled(start: number, length: number): void {
    if (length > 4096)
      for (const page of this.zeroed) if (page >= start && page < start + length) this.zeroed.delete(page);
    for (const control of this.runs.keys())
      if (Number(control) >= start && Number(control) < start + length) this.runs.delete(control);
    if (length === 4096) this.zeroed.add(start);
  }

  protected structureRegister(control: bigint, register: GuestRegister): bigint | undefined {
    const offset = registers[register];
    return offset === undefined ? undefined : this.load(control, offset);
  }

  protected setStructureRegister(control: bigint, register: GuestRegister, value: bigint): boolean {
    const offset = registers[register];
    if (offset !== undefined) this.store(control, offset, value);
    if (register === "cr2") this.host.cr2 = value;
    return offset !== undefined;
  }

  /** VMSAVE of the host's state to the page behind the VMCB. */
  protected start(_context: number, control: bigint): void {
    if (!(this.host.msrs[EFER]! & 0x1000n)) throw new Error("VMSAVE without EFER.SVME: #UD");
    if (control % PAGE !== 0n || !this.isControl(control))
      throw new Error(`${hex(control)} is no VMCB of root's`);
    for (const [offset, bytes] of vmloadState)
      this.host.memory.put(control + PAGE + BigInt(offset), new Uint8Array(bytes).fill(0xb5));
  }

  protected left(): void {}

  /** The monitor has the VMCB where the context says, and writes to it there. */
  protected touchControl({ host, context, vm, control }: RunningVcpu): void {
    const at = host.context(context, "CONTROL");
    const page = Number(BigInt.asUintN(48, at) >> 12n);
    const frame = host.hostAccess(page, "store", `vm${vm}'s monitor`);
    if (at % PAGE !== 0n || BigInt(frame) !== control)
      throw new Error(`vm${vm}'s monitor has ${hex(frame)} in the place of its VMCB`);
  }

  /** VMLOAD, VMRUN, the exit, VMSAVE, and what the stub then does. */
  protected enter(vcpu: RunningVcpu, refused: boolean): void {
    const { host } = this;
    const { control } = vcpu;
    if (host.cr[3] !== vcpu.cr3) throw new Error("VMRUN under another CR3 than the monitor's");
    this.checkControls(control);
    this.useClean(control);
    if (host.cr2 !== this.load(control, Vmcb.CR2))
      throw new Error("VMRUN with another CR2 than the VMCB's: Bochs does not load it");
    const broken = brokenVmrunRules((offset, size) => this.load(control, offset, size), {
      ...vmrunCpu,
      asids: this.cpu.asids,
    });
    if (broken.length > 0) throw new Error(`VMRUN refuses what root has prepared: ${broken.join(", ")}`);
    // A refused entry has flushed nothing: the manual does not say that it does. KVM writes 32 bits of its exit's code.
    if (!refused) {
      this.flushTlb(control);
      this.touchAsGuest(vcpu);
    }
    for (const [offset, bytes] of vmloadState) {
      const saved = host.memory.get(control + PAGE + BigInt(offset), bytes);
      if (saved.some((byte) => byte !== 0xb5)) throw new Error("the host's saved state has changed");
    }
    host.memory.store(control + BigInt(Vmcb.EXIT_CODE), 8, refused ? 0xffffffffn : INTR);
    host.memory.store(control + BigInt(Vmcb.TLB_CONTROL), 1, 0n);
    host.memory.store(control + BigInt(Vmcb.CLEAN), 4, 0xffffffffn);
    this.held.set(control, host.memory.get(control, 4096).slice());
  }

  /** What only root sets: VMRUN checks it, or the machine would not be safe. */
  private checkControls(control: bigint): void {
    const { host } = this;
    const must = (holds: boolean, what: string) => {
      if (!holds) throw new Error(`VMRUN of ${hex(control)}: ${what}`);
    };
    const save = host.msrs[VM_HSAVE_PA]!;
    must(save !== 0n && save % PAGE === 0n, "VM_HSAVE_PA is no page");
    must((this.load(control, Vmcb.INTERCEPT_2, 4) & 1n) === 1n, "VMRUN is not intercepted");
    const maps = [
      { at: this.load(control, Vmcb.IOPM_BASE), size: 3n * PAGE },
      { at: this.load(control, Vmcb.MSRPM_BASE), size: 2n * PAGE },
    ];
    for (const { at, size } of maps) {
      const inside = at >= image.rootMemory && at + size <= image.rootMemory + BigInt(abi("ROOT_MEMORY"));
      must(at % PAGE === 0n && inside, `a permission map at ${hex(at)}`);
    }
    const [first, second] = [...maps].sort((a, b) => Number(a.at - b.at));
    must(first!.at + first!.size <= second!.at, "the permission maps overlap");
    must((this.load(control, Vmcb.NESTED_CONTROL) & 1n) === 1n, "nested paging is off");
    const top = this.nestedTop(control);
    must(top !== 0n && top % PAGE === 0n && top >> 39n === 0n, `N_CR3 is ${hex(top)}`);
    const flush = Number(this.load(control, Vmcb.TLB_CONTROL, 1));
    const known = this.cpu.features & (1 << 6) ? [0, 1, 3, 7] : [0, 1];
    must(known.includes(flush), `TLB_CONTROL is ${flush}`);
    for (const offset of [0x5d, 0x5e, 0x5f])
      must(this.load(control, offset, 1) === 0n, "a reserved byte beside TLB_CONTROL");
  }

  /** The CPU uses what it holds, where the VMCB says that it is clean: so it must be. */
  private useClean(control: bigint): void {
    const clean = this.load(control, Vmcb.CLEAN, 4);
    if (!(this.cpu.features & (1 << 5))) return;
    const held = this.held.get(control);
    if (!held && clean !== 0n) throw new Error("a new VMCB is said to be clean");
    cleanGroups.forEach((group, n) => {
      if (!((clean >> BigInt(n)) & 1n)) return;
      for (const [offset, bytes] of group) {
        const now = this.host.memory.get(control + BigInt(offset), bytes);
        if (now.some((byte, i) => byte !== held![offset + i]))
          throw new Error(`VMCB offset ${hex(offset)} has changed, and clean bit ${n} is set`);
      }
    });
  }

  private flushTlb(control: bigint): void {
    const how = Number(this.load(control, Vmcb.TLB_CONTROL, 1));
    const asid = this.tag(control);
    this.entries.push({ control: how, asid });
    if (how === 1) this.host.tlb.flushAll();
    else if (how !== 0) this.host.tlb.flushAsid(asid);
  }
}
