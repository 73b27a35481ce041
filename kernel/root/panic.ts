/** The end of the hypervisor: a report on the console, then what panic= says. */
import * as cpu from "../machine/cpu";
import { out8 } from "../machine/port";
import { error, say, settings, NONE } from "./log";
import { PanicAction, options } from "./options";
import { uart } from "./uart";
import { banner } from "./version";

/** From now on the log is polled: nothing else works any more. */
export function quiesce(): void {
  if (settings.uart == NONE) return;
  uart(settings.uart).byInterrupt = 0;
  uart(settings.uart).flush();
}

/** Halts or restarts the machine, as the command line says. */
export function finish(): void {
  quiesce();
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
