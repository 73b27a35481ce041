/**
 * The guests' consoles on the host's UART. With one VM bytes pass as they are; with several each line starts with the
 * VM's name. What a VM's rings say is not trusted: indices are masked and differences bounded.
 */
import { CONSOLE_RING } from "../abi/address";
import {
  CONSOLE_IN_OFFSET,
  CONSOLE_IN_SIZE,
  CONSOLE_OUT_OFFSET,
  CONSOLE_OUT_SIZE,
  ConsoleRings,
} from "../abi/console";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import { options } from "./options";
import { NONE, settings } from "./log";
import { Uart, uart } from "./uart";
import { State, Vm, table, vm } from "./vm";

/** Rounds after which a UART that always has something to say must wait for the next interrupt. */
const PATIENCE: u32 = 32;
/** Bytes taken from a UART in a round: one that always has another is broken. */
const RECEIVED_MAX: u32 = 256;
/** Room in a UART's ring that guests leave to the log: that of some reports. */
const LOG_ROOM: u32 = 16384;


@unmanaged
class Console {
  /** 1 + the VM that wrote last. */
  open: u32;
}

const state = changetype<Console>(memory.data(4));

function field(v: Vm, offset: u32): Hpa {
  return v.linear(CONSOLE_RING + offset);
}

function put(u: Uart, v: Vm, byte: u32): void {
  if (table.count > 1) {
    if (u.last != 10 && state.open != v.id + 1) newline(u);
    if (u.last == 10) prefix(u, v.id);
    state.open = v.id + 1;
  }
  u.put(byte);
}

function newline(u: Uart): void {
  u.put(13);
  u.put(10);
}

function prefix(u: Uart, id: u32): void {
  u.put(118);
  u.put(109);
  if (id >= 10) u.put(48 + id / 10);
  u.put(48 + (id % 10));
  u.put(58);
  u.put(32);
}

/** Moves what the VM has written to the UART, as far as there is room. Without a UART it is thrown away. */
export function drain(v: Vm): void {
  const head = phys.load32(field(v, offsetof<ConsoleRings>("outHead")));
  let tail = phys.load32(field(v, offsetof<ConsoleRings>("outTail")));
  if (head == tail) return;
  if (head - tail > CONSOLE_OUT_SIZE) tail = head - CONSOLE_OUT_SIZE;
  if (options.guestConsole == NONE) {
    tail = head;
  } else {
    const u = uart(options.guestConsole);
    // A byte may become a prefix, a line's end and itself.
    for (; tail != head && u.space > LOG_ROOM + 16; tail++) {
      put(u, v, phys.load8(field(v, CONSOLE_OUT_OFFSET + (tail & (CONSOLE_OUT_SIZE - 1)))));
    }
    u.send();
  }
  phys.store32(field(v, offsetof<ConsoleRings>("outTail")), tail);
}

/** The VM that input goes to: the first that is alive. */
function focus(): u32 {
  for (let i: u32 = 0; i < table.count; i++) if (vm(i).alive) return i;
  return NONE;
}

/**
 * Serves the UARTs: moves what came in to the VM in focus, and sends on. Interrupts are edges: a UART is served until it
 * has no cause left, or it would never interrupt again.
 */
export function serve(): void {
  const log = settings.uart != options.guestConsole ? settings.uart : NONE;
  for (let i: u32 = 0; i < PATIENCE; i++) {
    let more: bool = false;
    if (options.guestConsole != NONE) more = serveGuests(uart(options.guestConsole));
    if (log != NONE) more = serveLog(uart(log)) || more;
    if (!more) return;
  }
}

function serveGuests(u: Uart): bool {
  const id = focus();
  for (let i: u32 = 0; i < RECEIVED_MAX; i++) {
    const byte = u.receive();
    if (byte < 0) break;
    if (id != NONE) give(vm(id), byte);
  }
  u.send();
  for (let i: u32 = 0; i < table.count; i++) if (vm(i).alive) drain(vm(i));
  return u.interrupted();
}

/** The log takes no input. */
function serveLog(u: Uart): bool {
  for (let i: u32 = 0; i < RECEIVED_MAX && u.receive() >= 0; i++);
  u.send();
  return u.interrupted();
}

function give(v: Vm, byte: u32): void {
  const head = phys.load32(field(v, offsetof<ConsoleRings>("inHead")));
  const tail = phys.load32(field(v, offsetof<ConsoleRings>("inTail")));
  if (head - tail >= CONSOLE_IN_SIZE) return;
  phys.store8(field(v, CONSOLE_IN_OFFSET + (head & (CONSOLE_IN_SIZE - 1))), byte);
  phys.store32(field(v, offsetof<ConsoleRings>("inHead")), head + 1);
  if (v.state == State.Halted) v.state = State.Ready;
}
