/** What tests of a monitor use of its virtual CPU, whosever virtualization extension it has. */
import type { Next } from "./exit.ts";
import type { FakeCpu } from "./monitor.ts";

/** What a fake CPU is of: for `describe.each(vendors)("On %s", (vendor) => ...)`. */
export type Vendor = "VT-x" | "AMD-V";
export const vendors: Vendor[] = ["VT-x", "AMD-V"];

/** An event that an entry delivers. */
export interface Injected {
  vector: number;
  type: number;
  error?: number;
  /** Of software interrupts and exceptions under VT-x: the instruction's. */
  length?: number;
}

/** Types of events (SDM Vol. 3C 25.8.3): AMD-V has no others, and of the software ones only INT n's. */
export const EventType = {
  Interrupt: 0,
  Nmi: 2,
  Exception: 3,
  SoftwareInterrupt: 4,
  PrivilegedException: 5,
  SoftwareException: 6,
};

/** What blocks events, as the VMCS says it; AMD-V does not tell STI and MOV SS apart. */
export const STI = 1n;
export const MOV_SS = 2n;

/** What an EPT violation, or a nested page fault, was about. */
export interface Violation {
  /** AMD-V does not tell it. */
  linear?: bigint;
  write?: boolean;
  execute?: boolean;
  walk?: boolean;
  /** The event whose delivery it interrupted. */
  event?: Injected;
  /** It was IRET's, which has unblocked NMIs (VT-x). */
  unblocked?: boolean;
}

/** `rights` is in the VMCS's format. */
export interface SegmentValue {
  selector: number;
  base: bigint;
  limit: number;
  rights: number;
}

/** GDTR or IDTR. */
export interface TableValue {
  base: bigint;
  limit: number;
}

/** What a guest does. */
export interface GuestActions {
  cpuid(leaf: number, subleaf?: number): Next;
  in(port: number, size?: number): Next;
  out(port: number, value: number, size?: number): Next;
  /** INS or OUTS at RIP, whose bytes are in RAM. The port is in DX for the guest; here it is given. */
  stringPort(port: number, size: number, isIn: boolean, repeat?: boolean): Next;
  hlt(): Next;
  rdmsr(index: number): Next;
  wrmsr(index: number, value: bigint): Next;
  /** Of register 0, XCR0; without a value, of what the registers say. */
  xsetbv(value?: bigint): Next;
  rdpmc(): Next;
  invd(): Next;
  wbinvd(): Next;
  /** With REP: WBINVD to CPUs without it. */
  wbnoinvd(): Next;
  /** VMCALL or VMMCALL: that of the other vendor's hypervisors. */
  vmcall(): Next;
  /** An access to memory that no RAM is at, or the walk of a paging structure there. */
  violation(gpa: bigint, access?: Violation): Next;
  /** #DB or #AC, with DR6 as its handler is to see it, perhaps in the delivery of another event. */
  exception(vector: number, during?: Injected): Next;
  /** The window for interrupts opens. */
  windowOpens(): Next;
}

/** The guest's registers, as the guest sees them. */
export interface GuestRegisters {
  rip: bigint;
  rsp: bigint;
  rflags: bigint;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  efer: bigint;
  gdtr: TableValue;
  idtr: TableValue;
  /** RFLAGS.IF. */
  interruptsOn: boolean;
  /** STI or MOV_SS, or 0. */
  blocking: bigint;
  /** A segment register by its number: ES, CS, SS, DS, FS, GS, LDTR, TR. */
  segment(n: number): SegmentValue;
  setSegment(n: number, value: Partial<SegmentValue>): void;
  /** What MOV to CR3 does under PAE paging, where the CPU has registers for it. */
  setPdptes(entries: bigint[]): void;
}

export interface GuestCpu extends FakeCpu, GuestActions, GuestRegisters {
  readonly vendor: Vendor;
  /** Whether the guest is to exit when it can take an interrupt. */
  readonly interruptWindow: boolean;
  /** Whether an event waits for the next entry. */
  readonly injecting: boolean;
  /** What the next entry would fail by. */
  readonly problems: string[];
  /** How often the guest's translations were dropped. */
  readonly flushes: number;
  /** The event that the next entry delivers, which it now has. */
  takeInjected(): Injected | undefined;
  /** Whether the next entry delivers the #DB of a single step, which it now has. */
  takeStep(): boolean;
}
