/**
 * VT-x with APIC-register virtualization and virtual-interrupt delivery, by SDM Vol. 3C 30: what the CPU does of an x2APIC's registers from the
 * page, without exits, in the mode that root has set; and vCPUs that have such CPUs.
 */
import { Apics } from "./apics.ts";
import type { Injected, Vendor } from "./cpu.ts";
import { Gpr, Next } from "./exit.ts";
import { abi } from "./layout.ts";
import type { FakeMonitor, MonitorOptions } from "./monitor.ts";
import { Field, FakeVtx } from "./vtx.ts";

const X2 = 0x800;
const [TPR, PPR, EOI, ISR, IRR, SELF_IPI] = [0x80, 0xa0, 0xb0, 0x100, 0x200, 0x3f0];
const STATUS = 0x810;
const EOI_EXITS = 0x201c;
export const mode = {
  none: abi("APICMODE_NONE"),
  registers: abi("APICMODE_REGISTERS"),
  interrupts: abi("APICMODE_INTERRUPTS"),
};
export const feature = { tprShadow: 4, registers: 8, interrupts: 16 };

export class VirtualVtx extends FakeVtx {
  /** What root has set. */
  mode = mode.none;
  features = 0;
  /** Modes that it has been in. */
  readonly seen = new Set<number>();
  private monitor!: FakeMonitor;

  constructor(readonly number: number) {
    super();
  }

  override attach(machine: FakeMonitor): void {
    super.attach(machine);
    this.monitor = machine;
  }

  private at(offset: number): number {
    return abi("LAPIC_AREA") + this.number * 4096 + offset;
  }
  private read(offset: number): number {
    return this.monitor.memory.getUint32(this.at(offset), true);
  }
  private write(offset: number, value: number): void {
    this.monitor.memory.setUint32(this.at(offset), value >>> 0, true);
  }
  private change(bank: number, vector: number, on: boolean): void {
    const at = bank + (vector >> 5) * 16;
    const bit = 1 << (vector & 31);
    this.write(at, on ? this.read(at) | bit : this.read(at) & ~bit);
  }
  private highest(bank: number): number {
    for (let vector = 255; vector > 0; vector--)
      if ((this.read(bank + (vector >> 5) * 16) >>> (vector & 31)) & 1) return vector;
    return 0;
  }

  get rvi(): number {
    return Number(this.get(STATUS) & 0xffn);
  }
  get svi(): number {
    return Number(this.get(STATUS) >> 8n);
  }
  private status(rvi: number, svi: number): void {
    this.set(STATUS, rvi | (svi << 8));
  }

  override exit(...args: Parameters<FakeVtx["exit"]>): Next {
    return this.entered(super.exit(...args));
  }

  /** The monitor has been entered by root. */
  returned(next: Next): void {
    this.entered(next);
  }

  /** Root, if it has the CPU now, and the entry that follows. */
  private entered(next: Next): Next {
    if (next === Next.Yield) {
      this.mode = this.monitor.memory.getUint32(this.monitor.vcpu + abi("RUNAREA_APIC_MODE"), true);
      this.seen.add(this.mode);
      if (this.monitor.request === abi("REQUEST_CONTINUE")) return this.monitor.enter();
      return next;
    }
    const wanted = this.monitor.memory.getUint32(this.monitor.vcpu + abi("RUNAREA_APIC_MODE"), true);
    if (wanted !== this.mode) throw new Error("the guest goes on in another mode than the monitor thinks");
    if (this.mode === mode.interrupts) {
      if (this.rvi !== this.highest(IRR) || this.svi !== this.highest(ISR))
        throw new Error(`RVI and SVI ${this.rvi}, ${this.svi} are not the page's`);
      this.virtualizePpr();
    } else if (this.features && Number(this.get(Field.TPR_THRESHOLD)) > this.read(TPR) >> 4) {
      throw new Error("VM entry with a TPR threshold above TPR (27.2.1.1)");
    }
    return next;
  }

  private virtualizePpr(): void {
    const [tpr, svi] = [this.read(TPR), this.svi];
    this.write(PPR, tpr >> 4 >= svi >> 4 ? tpr : svi & 0xf0);
  }

  private virtualizeTpr(): Next {
    if (this.mode === mode.interrupts) this.virtualizePpr();
    else if (this.read(TPR) >> 4 < Number(this.get(Field.TPR_THRESHOLD))) return this.exit(43);
    return Next.Resume;
  }

  private virtualizeEoi(): Next {
    const vector = this.svi;
    this.change(ISR, vector, false);
    this.status(this.rvi, this.highest(ISR));
    this.virtualizePpr();
    const exits = this.get(EOI_EXITS + (vector >> 6) * 2) >> BigInt(vector & 63);
    return exits & 1n ? this.exit(45, { QUALIFICATION: vector }) : Next.Resume;
  }

  /** Between instructions: delivers what is due (30.2.2, Virtual-Interrupt Delivery). */
  deliver(): Injected | undefined {
    if (this.mode !== mode.interrupts || !this.interruptsOn || this.interruptWindow) return undefined;
    if (this.get(Field.INTERRUPTIBILITY) & 3n || this.rvi >> 4 <= this.read(PPR) >> 4) return undefined;
    const vector = this.rvi;
    this.change(ISR, vector, true);
    this.change(IRR, vector, false);
    this.status(this.highest(IRR), vector);
    this.write(PPR, vector & 0xf0);
    return { vector, type: 0 };
  }

  private gp(): Next {
    this.set(Field.ENTRY_INTERRUPTION, 0x80000b0d);
    return Next.Resume;
  }

  /** The MSR bitmap of the mode. */
  private reads(n: number): boolean {
    if (this.mode === mode.none) return false;
    if (n === 0x08) return true;
    if (!(this.features & feature.registers)) return false;
    if (n === 0x0a) return this.mode === mode.interrupts;
    return [2, 3, 0xd, 0xf, 0x3e].includes(n) || (n >= 0x10 && n <= 0x28) || (n >= 0x32 && n <= 0x38);
  }

  override rdmsr(index: number): Next {
    const n = index - X2;
    if (n < 0 || n > 0xff || !this.reads(n)) return super.rdmsr(index);
    this.monitor.setGpr(Gpr.rax, this.read(n << 4));
    this.monitor.setGpr(Gpr.rdx, this.read((n << 4) + 4));
    return Next.Resume;
  }

  override wrmsr(index: number, value: bigint): Next {
    const offset = (index - X2) << 4;
    if (offset === TPR && this.mode !== mode.none) {
      if (value >> 8n) return this.gp();
      this.write(TPR, Number(value));
      return this.virtualizeTpr();
    }
    if (offset === EOI && this.mode === mode.interrupts) {
      if (value) return this.gp();
      this.write(EOI, 0);
      return this.virtualizeEoi();
    }
    if (offset === SELF_IPI && this.mode === mode.interrupts) {
      if (value >> 8n) return this.gp();
      const vector = Number(value);
      this.write(SELF_IPI, vector);
      if (vector < 16) return this.exit(56, { QUALIFICATION: SELF_IPI });
      this.change(IRR, vector, true);
      this.status(Math.max(this.rvi, vector), this.svi);
      return Next.Resume;
    }
    return super.wrmsr(index, value);
  }

  get cr8(): number {
    return this.read(TPR) >> 4;
  }
  set cr8(value: number) {
    this.write(TPR, value << 4);
    this.virtualizeTpr();
  }
}

export class VirtualApics extends Apics {
  constructor(
    count: number,
    vendor: Vendor = "VT-x",
    options: MonitorOptions = {},
    features = feature.tprShadow | feature.registers | feature.interrupts,
  ) {
    super(count, vendor, options, (n) => new VirtualVtx(n));
    const at = abi("VM_INFO") + abi("VMINFO_FEATURES");
    this.machine.memory.setUint32(at, this.machine.memory.getUint32(at, true) | features, true);
    for (let n = 0; n < count; n++) this.virtual(n).features = features;
  }

  virtual(n: number): VirtualVtx {
    return this.cpus[n] as VirtualVtx;
  }

  override readCr8(n: number): number {
    return this.virtual(n).cr8;
  }

  override writeCr8(n: number, value: bigint): boolean {
    if (value > 15n) return false;
    this.on(n, (cpu) => ((cpu as VirtualVtx).cr8 = Number(value)));
    return true;
  }

  /** Behind what the vCPU has done with interrupts on. */
  private takes(cpu: VirtualVtx): Injected | undefined {
    if (!cpu.injecting && cpu.interruptWindow) cpu.windowOpens();
    const taken = cpu.takeInjected() ?? cpu.deliver();
    cpu.interruptsOn = false;
    return taken;
  }

  override open(n: number, what: (cpu: VirtualVtx) => void): Injected | undefined {
    return this.on(n, (cpu) => {
      cpu.interruptsOn = true;
      what(cpu as VirtualVtx);
      return this.takes(cpu as VirtualVtx);
    });
  }

  override openExternal(n: number): Injected | undefined {
    return this.open(n, (cpu) => cpu.exit(1));
  }

  override take(n: number): Injected | undefined {
    return this.open(n, (cpu) => cpu.cpuid(0));
  }
}
