/** Where the log and the guests are: UARTs, the screen and the keyboard, opened as the command line says and the machine has them. */
import { VECTOR_DEVICE } from "../abi/vector";
import { Text } from "../lib/text";
import { routeIrq } from "./apic";
import { judgeDisplay } from "./boot";
import { keyboard } from "./keyboard/keyboard";
import { NONE, info, say, settings, warning } from "./log";
import { options } from "./options";
import { Kind, display } from "./screen/display";
import { screen } from "./screen/screen";
import { describePort, findPort, serialPort } from "./serialport";
import { NO_IRQ, OTHER, Stride, comIrq, comPort, uart } from "./uart";

const KEYBOARD_IRQ: u32 = 1;
const TROUBLE: u32 = 240;
/** What of the screen is not used, and why. */
const trouble = changetype<Text>(memory.data(16));
const troubleBuffer = memory.data(240);

function openUart(n: u32): bool {
  if (n == NONE) return false;
  if (n != OTHER) return uart(n).open(comPort(n), Stride.Port, comIrq(n), options.baud);
  return findPort() && uart(n).open(serialPort.base, serialPort.stride, NO_IRQ, options.baud);
}

/** Opens what the command line names, before anything is said: nothing interrupts yet, and pixels cannot be reached. */
export function openConsoles(): void {
  settings.level = options.level;
  settings.uart = openUart(options.console) ? options.console : NONE;
  // Better the log somewhere than nowhere.
  if (options.console == OTHER && settings.uart == NONE && openUart(0)) settings.uart = 0;
  if (options.guestConsole != options.console) openUart(options.guestConsole);
  judgeDisplay(trouble.over(troubleBuffer, TROUBLE));
  if (!options.screen && !options.guestScreen) display.kind = Kind.None;
  screen.open();
  settings.screen = options.screen && screen.kind != Kind.None;
}

/** Says which port it is that is neither COM1 nor COM2, if one is wanted. */
function sayPort(): void {
  if (!serialPort.isWanted) return;
  if (uart(OTHER).enabled) say(describePort(info().str("serial port: ")).str(", served by the timer"));
  else say(describePort(warning().str("serial port: ")).str(": no 16550 there"));
}

/** Says what there is of screen and keyboard, where the command line wants them. */
function sayScreen(): void {
  if (!options.screen && !options.guestScreen) return;
  if (trouble.length > 0) say(warning().bytes(trouble.start, trouble.length).str(": not used"));
  else if (screen.kind == Kind.None) say(info().str("screen: none: the boot loader tells of no framebuffer"));
  else if (screen.kind == Kind.Text) say(info().str("screen: text"));
  else {
    const text = info().str("screen: ").dec(display.width).str(" x ").dec(display.height).str(" pixels of ");
    say(text.dec(display.depth).str(" bits"));
  }
}

/** Where guests are on the screen they have the keyboard. */
function openKeyboard(): void {
  if (!options.guestScreen || screen.kind == Kind.None) return;
  const what = keyboard.open();
  if (what != null) {
    say(
      info()
        .str("keyboard: none found: ")
        .str(what)
        .str("; USB keyboards work where the firmware emulates one"),
    );
    return;
  }
  keyboard.isPolled = !routeIrq(KEYBOARD_IRQ, VECTOR_DEVICE + KEYBOARD_IRQ);
  say(
    info()
      .str("keyboard: PS/2")
      .str(keyboard.isPolled ? ", no interrupt line, it is served by the timer" : ""),
  );
}

/** Uses a UART's interrupt if the machine routes it; else the timer's tick serves it. */
function interruptsOf(n: u32): void {
  if (n == NONE || n == OTHER || !uart(n).enabled) return;
  const irq = comIrq(n);
  if (routeIrq(irq, VECTOR_DEVICE + irq)) uart(n).useInterrupts();
  else
    say(
      warning()
        .str("COM")
        .dec(n + 1)
        .str(": no interrupt line, it is served by the timer"),
    );
}

/** When interrupts are routed: uses them, opens the keyboard, and says what there is. */
export function completeConsoles(): void {
  interruptsOf(options.console);
  if (options.guestConsole != options.console) interruptsOf(options.guestConsole);
  sayPort();
  sayScreen();
  openKeyboard();
}
