/** Each CPU's timer, which ends slices and watches monitors: TSC deadlines where the CPUs have them, else counts. */
import { PerCpu, STRIKES } from "../abi/percpu";
import * as phys from "../machine/phys";
import { apic, enableTimer } from "./apic";
import { clock, ticks } from "./clock";
import { thisCpu } from "./cpus";
import { options } from "./options";


@unmanaged
class Timer {
  deadline: bool;
}
const NEVER: u64 = ~(<u64>0);
const timer = changetype<Timer>(memory.data(4));

/** On the boot CPU, before any starts. */
export function chooseTimer(tscDeadline: bool): void {
  timer.deadline = tscDeadline;
}

/** On each CPU. */
export function startTimer(): void {
  enableTimer(timer.deadline);
  const block = thisCpu().block;
  const scale = timer.deadline ? 0 : (clock.apicHz << 32) / clock.tscHz;
  phys.store64(block + offsetof<PerCpu>("timerScale"), scale);
  phys.store32(block + offsetof<PerCpu>("x2apic"), apic.x2 ? 1 : 0);
  phys.store64(block + offsetof<PerCpu>("watchdog"), ticks(options.watchdog) / STRIKES);
  phys.store64(block + offsetof<PerCpu>("armed"), NEVER);
}
