/** A guest that has been loaded and entered once, ready for a test to make it do things. */
import { bzImage } from "./bzimage.ts";
import { FakeMonitor, type MonitorOptions } from "./monitor.ts";
import { FakeVtx } from "./vtx.ts";
import { Next } from "./exit.ts";

export interface Guest {
  machine: FakeMonitor;
  cpu: FakeVtx;
}

/** Loads a tiny kernel and enters it. */
export function startGuest(options: MonitorOptions = {}): Guest {
  const cpu = new FakeVtx();
  const machine = new FakeMonitor(cpu, { kernel: bzImage([0xf4]), ...options });
  enterFully(machine);
  return { machine, cpu };
}

/** Calls enter until the monitor has nothing more to prepare. */
export function enterFully(machine: FakeMonitor): Next {
  for (let i = 0; i < 1000; i++) {
    const next = machine.enter();
    if (next !== Next.Yield || machine.request !== 0) return next;
  }
  throw new Error("the monitor does not come to an end of its loading");
}
