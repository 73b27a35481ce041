/** The local APIC, the I/O APIC and the host's interrupt stubs (boot/percpu.asm) of the bare machine. */
import { abi } from "./layout.ts";

const never = (1n << 64n) - 1n;

export class HostApic {
  /** TSC value at which the timer's interrupt comes. */
  armed = never;
  /** Vectors that wait for the CPU to let them in, and device vectors that wait for their end of interrupt. */
  readonly requested = new Set<number>();
  readonly inService: number[] = [];
  /** Redirection entries, low and high words, by input; undefined when the machine has no I/O APIC. */
  readonly redirections: number[] = [];
  attention = false;
  /** What an end of interrupt found nothing in service for. */
  strayEnds = 0;
  private readonly marked = [0n, 0n, 0n, 0n];
  /** The 8259s' masks when LINT0, which their output is at, was last programmed. */
  picMasksAtLint0: number[] = [];
  private ioapicIndex = 0;
  private counterStart = 0n;
  private readonly registers = new Map<number, number>();

  constructor(
    private readonly clock: { tsc: bigint; ports: { picMasks: readonly number[] } },
    /** Inputs of the I/O APIC; 0 for none. */
    private readonly inputs: number,
    /** Counts of the timer a TSC tick, as a fraction. */
    private readonly timer: [counts: bigint, ticks: bigint] = [1n, 1n],
  ) {
    for (let i = 0; i < inputs; i++) this.redirections.push(1 << 16, 0);
  }

  /** An edge at an input of the I/O APIC. */
  edge(input: number): void {
    const low = this.redirections[input * 2];
    if (low !== undefined && !(low & (1 << 16))) this.requested.add(low & 0xff);
  }

  /** STI: the stubs mark what comes. Devices share a priority class, so one in service keeps the others waiting. */
  letIn(): void {
    if (this.clock.tsc >= this.armed) {
      this.armed = never;
      this.mark(abi("VECTOR_TIMER"));
    }
    for (const vector of [...this.requested].sort((a, b) => b - a)) {
      if (this.inService.some((n) => n >> 4 >= vector >> 4)) continue;
      this.requested.delete(vector);
      this.inService.push(vector);
      this.mark(vector);
    }
  }

  mark(vector: number): void {
    this.marked[vector >> 6]! |= 1n << BigInt(vector & 63);
    this.attention = true;
  }

  takeMarks(group: number): bigint {
    const marks = this.marked[group]!;
    this.marked[group] = 0n;
    return marks;
  }

  /** By the register's number in x2APIC mode; its address in xAPIC mode is 16 times that. */
  read(register: number): number {
    if (register !== 0x39) return this.registers.get(register) ?? 0;
    const initial = this.registers.get(0x38) ?? 0;
    const counted = ((this.clock.tsc - this.counterStart) * this.timer[0]) / this.timer[1];
    return counted > BigInt(initial) ? 0 : initial - Number(counted);
  }

  write(register: number, value: number): void {
    this.registers.set(register, value >>> 0);
    if (register === 0x35) this.picMasksAtLint0 = [...this.clock.ports.picMasks];
    if (register === 0x38) this.counterStart = this.clock.tsc;
    if (register === 0x0b && this.inService.pop() === undefined) this.strayEnds++;
  }

  /** The I/O APIC's window: IOREGSEL at 0, IOWIN at 10h (82093AA 3.1). */
  ioapicRead(offset: number): number {
    if (offset === 0) return this.ioapicIndex;
    if (this.inputs === 0) return 0xffffffff;
    if (this.ioapicIndex === 1) return ((this.inputs - 1) << 16) | 0x20;
    return this.redirections[this.ioapicIndex - 0x10] ?? 0;
  }

  ioapicWrite(offset: number, value: number): void {
    if (offset === 0) this.ioapicIndex = value & 0xff;
    else if (this.ioapicIndex >= 0x10 && this.ioapicIndex - 0x10 < this.redirections.length)
      this.redirections[this.ioapicIndex - 0x10] = value >>> 0;
  }
}
