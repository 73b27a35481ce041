/**
 * The guests' consoles on the host's UART and on its screen and keyboard. With one VM bytes pass as they are; with several each line starts with the
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
import { keyboard } from "./keyboard/keyboard";
import { takeKey } from "./operator";
import { Kind } from "./screen/display";
import { screen } from "./screen/screen";
import { sequence } from "./screen/sequence";
import { UARTS, Uart, uart } from "./uart";
import { Vm, table, vm } from "./vm";

/** Rounds after which a UART that always has something to say must wait for the next interrupt. */
const PATIENCE: u32 = 32;
/** Milliseconds: nobody types faster; 16 bytes at 115200 baud take 1.4. */
const INPUT_TICK: u32 = 10;
const OUTPUT_TICK: u32 = 2;
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

/** In the place of a UART's number. */
const SCREEN: u32 = UARTS;

function lastOf(to: u32): u32 {
  return to == SCREEN ? screen.last : uart(to).last;
}

function send(to: u32, byte: u32): void {
  if (to == SCREEN) screen.put(byte);
  else uart(to).put(byte);
}

function put(to: u32, v: Vm, byte: u32): void {
  if (table.count > 1) {
    if (lastOf(to) != 10 && state.open != v.id + 1) newline(to);
    if (lastOf(to) == 10) prefix(to, v.id);
  }
  send(to, byte);
}

function newline(to: u32): void {
  send(to, 13);
  send(to, 10);
}

function prefix(to: u32, id: u32): void {
  send(to, 118);
  send(to, 109);
  if (id >= 10) send(to, 48 + id / 10);
  send(to, 48 + (id % 10));
  send(to, 58);
  send(to, 32);
}

/** Whether guests are on a UART that is there, and on a screen. */
function onUart(): bool {
  return options.guestConsole != NONE && uart(options.guestConsole).enabled;
}

function onScreen(): bool {
  return options.guestScreen && screen.kind != Kind.None;
}

/** What the screen's terminal answers goes to who has asked; where there is a UART's terminal too, that one answers. */
function answer(v: Vm): void {
  for (let i: u32 = 0; i < sequence.answers && !onUart(); i++) give(v, sequence.answerAt(i));
  sequence.answers = 0;
}

/** Moves what the VM has written to where guests' consoles are, as far as a UART has room. Without any it is thrown away. */
export function drain(v: Vm): void {
  const head = phys.load32(field(v, offsetof<ConsoleRings>("outHead")));
  let tail = phys.load32(field(v, offsetof<ConsoleRings>("outTail")));
  if (head == tail) return;
  if (head - tail > CONSOLE_OUT_SIZE) tail = head - CONSOLE_OUT_SIZE;
  const toUart = onUart();
  const toScreen = onScreen();
  // A byte may become a prefix, a line's end and itself.
  for (; tail != head && (!toUart || uart(options.guestConsole).space > LOG_ROOM + 16); tail++) {
    const byte = phys.load8(field(v, CONSOLE_OUT_OFFSET + (tail & (CONSOLE_OUT_SIZE - 1))));
    if (toUart) put(options.guestConsole, v, byte);
    if (toScreen) put(SCREEN, v, byte);
    state.open = v.id + 1;
  }
  if (toUart) uart(options.guestConsole).send();
  if (toScreen) {
    answer(v);
    screen.refresh();
  }
  phys.store32(field(v, offsetof<ConsoleRings>("outTail")), tail);
}

/** The VM that input goes to: the first that is alive. */
function focus(): u32 {
  for (let i: u32 = 0; i < table.count; i++) if (vm(i).alive) return i;
  return NONE;
}

/**
 * Serves the UARTs, the keyboard and the screen: moves what came in to the VM in focus, and sends on. Interrupts are edges: a UART is served until it
 * has no cause left, or it would never interrupt again.
 */
export function serve(): void {
  serveKeyboard();
  screen.refresh();
  const log = settings.uart != options.guestConsole ? settings.uart : NONE;
  for (let i: u32 = 0; i < PATIENCE; i++) {
    let more: bool = false;
    if (options.guestConsole != NONE) more = serveGuests(uart(options.guestConsole));
    if (log != NONE) more = serveLog(uart(log)) || more;
    if (!more) return;
  }
}

/** Milliseconds until consoles are to be looked at again that nobody interrupts for: less when something waits to be sent. 0: there are none. */
export function pollTime(): u32 {
  let time: u32 = keyboard.isPolled ? INPUT_TICK : 0;
  for (let n: u32 = 0; n < UARTS; n++) {
    if ((n != settings.uart && n != options.guestConsole) || !uart(n).isPolled) continue;
    if (uart(n).waiting) return OUTPUT_TICK;
    time = INPUT_TICK;
  }
  return time;
}

/** A byte of input: the operator's, or that of the VM in focus. */
function input(byte: u32): void {
  const id = focus();
  if (id != NONE && !takeKey(vm(id), byte)) give(vm(id), byte);
}

function serveKeyboard(): void {
  for (let i: u32 = 0; i < RECEIVED_MAX && keyboard.receive(); i++)
    for (let n: u32 = 0; n < keyboard.typed; n++) input(keyboard.typedAt(n));
}

function serveGuests(u: Uart): bool {
  for (let i: u32 = 0; i < RECEIVED_MAX; i++) {
    const byte = u.receive();
    if (byte < 0) break;
    input(byte);
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
  // Its first vCPU sees to devices.
  v.vcpu(0).makeReady();
}
