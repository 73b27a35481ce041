/** The end of the hypervisor: a report on the console, then what panic= says. */
import * as cpu from "../machine/cpu";
import { out8 } from "../machine/port";
import { error, info, say } from "./log";
import { PanicAction, options } from "./options";
import { UARTS, uart } from "./uart";
import { banner } from "./version";

/** From now on the UARTs are polled: nothing else works any more. What waits to be sent is sent. */
export function quiesce(): void {
  for (let n: u32 = 0; n < UARTS; n++) {
    uart(n).byInterrupt = false;
    uart(n).flush();
  }
}

/** Halts or restarts the machine, as the command line says: the last line of the log says which. */
export function finish(): void {
  quiesce();
  say(info().str(options.panic == PanicAction.Reboot ? "reboots" : "halts"));
  if (options.panic == PanicAction.Reboot) {
    out8(0xcf9, 2);
    out8(0xcf9, 6); // Reset control register: a full reset
    out8(0x64, 0xfe); // the keyboard controller's, on machines without
  }
  cpu.halt();
}

/** Says why, and which build this is, and ends. */
export function panic(why: string): void {
  quiesce();
  say(error().str("panic: ").str(why));
  say(banner(error()));
  finish();
}
