/** The end of the hypervisor: a report on the console, then what panic= or end= says. */
import * as cpu from "../machine/cpu";
import { stopOthers } from "./cpus";
import { tellEnd } from "./debugger";
import { error, info, say, warning } from "./log";
import { reportMachineCheck } from "./machinecheck";
import { EndAction, options } from "./options";
import { canPowerOff, powerOff, restart } from "./power";
import { screen } from "./screen/screen";
import { UARTS, uart } from "./uart";
import { banner } from "./version";
import { stopWatchdog } from "./watchdog";

/** From now on the UARTs are polled, and the screen is painted at once: nothing else works any more, and no other CPU. What waits is sent. */
export function quiesce(): void {
  stopOthers();
  for (let n: u32 = 0; n < UARTS; n++) {
    uart(n).byInterrupt = false;
    uart(n).flush();
  }
  screen.rescue();
}

/** Halts, resets or switches off the machine: the last line of the log says which. */
function endBy(action: u32): void {
  quiesce();
  tellEnd();
  if (action == EndAction.PowerOff) {
    if (canPowerOff()) say(info().str("powers off"));
    powerOff();
    say(warning().str("power-off: the firmware's tables do not say how, or it does not work"));
  }
  say(info().str(action == EndAction.Reboot ? "reboots" : "halts"));
  if (action == EndAction.Reboot) restart();
  cpu.halt();
}

/** After a panic or a refusal: what panic= says. */
export function finish(): void {
  endBy(options.panic);
}

/** When no VM is left: what end= says, or else panic=. */
export function finishDone(): void {
  stopWatchdog();
  endBy(options.end == EndAction.AsPanic ? options.panic : options.end);
}

/** A machine check: as a panic, with what the CPU has recorded of it. */
export function panicByMachineCheck(why: string): void {
  quiesce();
  say(error().str("panic: ").str(why));
  reportMachineCheck();
  say(banner(error()));
  finish();
}
