/** Each CPU's timer, which ends slices and watches monitors: TSC deadlines where the CPUs have them, else counts. */
import { STRIKES } from "../abi/percpu";
import * as cpu from "../machine/cpu";
import { apic, enableTimer } from "./apic";
import { clock, ticks } from "./clock";
import { options } from "./options";


@unmanaged
class Timer {
  deadline: bool;
}
const timer = changetype<Timer>(memory.data(4));

/** On the boot CPU, before any starts. */
export function chooseTimer(tscDeadline: bool): void {
  timer.deadline = tscDeadline;
}

/** On each CPU. */
export function startTimer(): void {
  enableTimer(timer.deadline);
  cpu.configureTimer(
    timer.deadline ? 0 : (clock.apicHz << 32) / clock.tscHz,
    apic.x2,
    ticks(options.watchdog) / STRIKES,
  );
}
