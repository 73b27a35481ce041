/**
 * The two 8259A interrupt controllers of a PC, cascaded at input 2, with the edge/level registers of later chipsets
 * (Intel 8259A data sheet; 82371AB 4.1.2, ELCR).
 */

/**
 * Of each controller, at offsets 0 and 1:
 *   0  r: IRR or ISR, as OCW3 says, or a poll   w: ICW1, OCW2, OCW3
 *   1  rw IMR (OCW1)                            w: ICW2 to ICW4 during initialisation
 */
@unmanaged
export class Controller {
  irr: u32;
  imr: u32;
  isr: u32;
  /** Inputs that are asserted. */
  lines: u32;
  /** Level-triggered inputs (ELCR). */
  level: u32;
  /** Vector of input 0. */
  base: u32;
  /** Input of the lowest priority is this one minus 1. */
  first: u32;
  /** The initialisation word that is expected next: 2 to 4, or 0. */
  expects: u32;
  needsIcw4: u32;
  single: u32;
  autoEoi: u32;
  rotateOnAutoEoi: u32;
  specialMask: u32;
  fullyNested: u32;
  readIsr: u32;
  poll: u32;

  get isMaster(): bool {
    return changetype<usize>(this) == controllers;
  }

  /** Highest-priority input among `inputs`, counted from `first`, or 8. */
  priority(inputs: u32): u32 {
    const rotated = (((inputs << 8) | inputs) >> this.first) & 0xff;
    return rotated == 0 ? 8 : ctz(rotated);
  }

  /** Inputs in service that hold back others: in special mask mode not those that are masked. */
  get serving(): u32 {
    return this.specialMask ? this.isr & ~this.imr : this.isr;
  }

  /** The input to be served next, or -1. */
  request(): i32 {
    const wanted = this.priority(this.irr & ~this.imr);
    if (wanted == 8) return -1;
    const input = (wanted + this.first) & 7;
    const serving = this.priority(this.serving);
    if (wanted < serving) return input;
    // In special fully nested mode the master takes a second interrupt of the slave while it serves the first.
    return wanted == serving && this.fullyNested && input == CASCADE ? input : -1;
  }

  /** An edge is remembered only as long as its input is up: what comes and goes unserved is no request. */
  set(input: u32, up: bool): void {
    const mask: u32 = 1 << input;
    if (up) {
      if (!(this.lines & mask)) this.irr |= mask;
      this.lines |= mask;
    } else {
      this.irr &= ~mask;
      this.lines &= ~mask;
    }
  }

  /** The processor takes `input`. */
  acknowledge(input: u32): void {
    const mask: u32 = 1 << input;
    if (this.autoEoi) {
      if (this.rotateOnAutoEoi) this.first = (input + 1) & 7;
    } else {
      this.isr |= mask;
    }
    if (!(this.level & mask)) this.irr &= ~mask;
  }

  /** ICW1. Edges are forgotten; LTIM is the ELCR's job here. */
  initialise(icw1: u32): void {
    this.imr = 0;
    this.isr = 0;
    this.irr = this.level & this.lines;
    this.first = 0;
    this.autoEoi = 0;
    this.rotateOnAutoEoi = 0;
    this.specialMask = 0;
    this.fullyNested = 0;
    this.readIsr = 0;
    this.poll = 0;
    this.needsIcw4 = icw1 & 1;
    this.single = icw1 & 2;
    this.expects = 2;
  }

  /** OCW2: end of interrupt and rotation. */
  endOfInterrupt(command: u32): void {
    const operation = command >> 5;
    const specific = (operation & 2) != 0;
    if (operation == 0 || operation == 4) {
      this.rotateOnAutoEoi = operation;
      return;
    }
    if (operation == 2) return;
    if (operation == 6) {
      this.first = (command + 1) & 7;
      return;
    }
    let input = command & 7;
    if (!specific) {
      const serving = this.priority(this.serving);
      if (serving == 8) return;
      input = (serving + this.first) & 7;
    }
    this.isr &= ~(1 << input);
    if (operation & 4) this.first = (input + 1) & 7;
  }

  command(value: u32): void {
    if (value & 0x10) {
      this.initialise(value);
    } else if (value & 0x08) {
      if (value & 2) this.readIsr = value & 1;
      if (value & 0x40) this.specialMask = value & 0x20;
      this.poll = value & 4;
    } else {
      this.endOfInterrupt(value);
    }
  }

  data(value: u32): void {
    if (this.expects == 2) {
      this.base = value & 0xf8;
      this.expects = this.single ? (this.needsIcw4 ? 4 : 0) : 3;
    } else if (this.expects == 3) {
      this.expects = this.needsIcw4 ? 4 : 0;
    } else if (this.expects == 4) {
      this.autoEoi = value & 2;
      this.fullyNested = this.isMaster ? value & 0x10 : 0;
      this.expects = 0;
    } else {
      this.imr = value;
    }
  }

  status(): u32 {
    return this.readIsr ? this.isr : this.irr;
  }
}

const CASCADE: u32 = 2;
/** Inputs whose trigger mode cannot be changed: timer, keyboard, cascade; clock. */
const EDGE_ONLY_MASTER: u32 = 0x07;
const EDGE_ONLY_SLAVE: u32 = 0x21;


@unmanaged
class Output {
  /** Nonzero: the processor is asked for an interrupt. */
  asserted: u32;
}

const controllers = memory.data(128, 4);
const output = changetype<Output>(memory.data(4));

function controller(n: u32): Controller {
  return changetype<Controller>(controllers + <usize>n * offsetof<Controller>());
}

/** As firmware leaves them: everything masked, the real mode's vectors, and the ACPI interrupt level-triggered. */
export function resetPic(sciIrq: u32): void {
  controller(0).base = 0x08;
  controller(1).base = 0x70;
  controller(0).imr = 0xff;
  controller(1).imr = 0xff;
  controller(sciIrq >> 3).level = 1 << (sciIrq & 7);
}

/** The slave's output is the master's input 2, and the master's is the processor's. */
function settle(): void {
  controller(0).set(CASCADE, controller(1).request() >= 0);
  output.asserted = controller(0).request() >= 0 ? 1 : 0;
}

/** The slave's output falls while it is acknowledged: another request is a new edge for the master. */
function acknowledgeSlave(input: u32): void {
  controller(1).acknowledge(input);
  controller(0).set(CASCADE, false);
}

/** Whether the processor is asked for an interrupt. */
export function picOutput(): bool {
  return output.asserted != 0;
}

/** Asserts or releases input 0 to 15; whether that is a change. */
export function setLine(irq: u32, up: bool): bool {
  const c = controller(irq >> 3);
  if (((c.lines >> (irq & 7)) & 1) == <u32>up) return false;
  c.set(irq & 7, up);
  settle();
  return true;
}

/** Acknowledges what a controller asks for: its input. A request that is gone by now is input 7's, and not in service. */
function acknowledge(n: u32): u32 {
  const c = controller(n);
  const input = c.request();
  if (input < 0) return 7;
  if (n == 0) c.acknowledge(input);
  else acknowledgeSlave(input);
  return input;
}

/** The processor's acknowledgement: the vector to deliver. */
export function acknowledgeInterrupt(): u32 {
  let n: u32 = 0;
  let input = acknowledge(0);
  if (input == CASCADE) {
    n = 1;
    input = acknowledge(1);
  }
  settle();
  return controller(n).base + input;
}

/** Whether the next read is the one that a poll command asked for, whatever its offset. */
export function isPolled(slave: u32): bool {
  return controller(slave).poll != 0;
}

/** That read: it acknowledges. */
export function pollPic(slave: u32): u32 {
  const c = controller(slave);
  c.poll = 0;
  if (c.request() < 0) return 0;
  const input = acknowledge(slave);
  settle();
  return 0x80 | input;
}

/** Ports 20h, 21h (master), A0h, A1h (slave). */
export function readPic(slave: u32, offset: u32): u32 {
  const c = controller(slave);
  return offset ? c.imr : c.status();
}

export function writePic(slave: u32, offset: u32, value: u32): void {
  const c = controller(slave);
  if (offset) c.data(value);
  else c.command(value);
  settle();
}

/** Ports 4D0h, 4D1h. */
export function readEdgeLevel(slave: u32): u32 {
  return controller(slave).level;
}

/** An input whose trigger changes forgets its edge; a level that is there is a request. */
export function writeEdgeLevel(slave: u32, value: u32): void {
  const c = controller(slave);
  const level = value & ~(slave ? EDGE_ONLY_SLAVE : EDGE_ONLY_MASTER);
  const changed = level ^ c.level;
  c.irr = (c.irr & ~changed) | (c.lines & level & changed);
  c.level = level;
  settle();
}

/** Where its state is, for the debugger. */
export function picState(): usize {
  return controllers;
}
