/** What root does now and then, wherever it passes: the boot CPU feeds the watchdog, each CPU looks for corrected errors. */
import * as cpu from "../machine/cpu";
import { tsc } from "../machine/time";
import { MAX_CPUS } from "../abi/address";
import { ticks } from "./clock";
import { pollMachineChecks } from "./machinecheck";
import { feedWatchdog } from "./watchdog";

/** Milliseconds: less than half of what a watchdog gives, and root comes by at least every second. */
const FEED: u32 = 500;
/** Feeds, or looks on the clock, between two looks at the banks. */
const POLL: u32 = 20;


@unmanaged
class Upkeep {
  /** TSC value from which on there is something to do. */
  next: u64;
  passes: u32;
  padding: u32;
}
const table = memory.data(1024, 8);

if (MAX_CPUS * offsetof<Upkeep>() > 1024) ERROR("the CPUs do not fit");

export function keepUp(): void {
  const now = tsc();
  const here = changetype<Upkeep>(table + <usize>cpu.number() * offsetof<Upkeep>());
  if (now < here.next) return;
  here.next = now + ticks(FEED);
  if (cpu.number() == 0) feedWatchdog();
  if (++here.passes % POLL == 0) pollMachineChecks();
}
