/** A guest while it is loaded: it is started, or refused by the name of what is wrong with it. */
import type { GuestCpu, Vendor } from "./cpu.ts";
import { Next } from "./exit.ts";
import { fakeCpu } from "./guest.ts";
import { abi } from "./layout.ts";
import { FakeMonitor, type MonitorOptions } from "./monitor.ts";

/** The names of kernel/abi/stop.ts, as the layout has them. */
export const loadErrors = [
  "TRUNCATED",
  "NOT_BZ_IMAGE",
  "TOO_OLD",
  "NO64_BIT_ENTRY",
  "MEMORY_TOO_SMALL",
  "INITRD_TOO_HIGH",
  "COMMAND_LINE_TOO_LONG",
  "UNKNOWN_FORMAT",
  "WRONG_MACHINE",
  "NOT_EXECUTABLE",
  "BAD_HEADERS",
  "NO_PVH_ENTRY",
  "NO_ENTRY32",
  "TOO_MANY_PARTS",
  "PART_TOO_LARGE",
  "OUTSIDE_MEMORY",
  "MEETS_TABLES",
  "MEETS_INITRD",
  "PARTS_OVERLAP",
  "ENTRY_OUTSIDE",
  "MULTIBOOT_VIDEO",
  "MULTIBOOT_DEMANDS",
  "MULTIBOOT_ADDRESSES",
] as const;
export type LoadError = (typeof loadErrors)[number];

const names = new Map(loadErrors.map((name) => [abi(`LOADERROR_${name}`), name]));
const LOAD_FAILED = 8;

export interface Loaded {
  machine: FakeMonitor;
  cpu: GuestCpu;
  next: Next;
  /** How often the monitor gave the CPU back before it was ready. */
  yields: number;
  /** Undefined for a guest that was started. */
  error: LoadError | undefined;
}

/** Calls the monitor until it has loaded the kernel or refuses to. Whatever else it does is thrown. */
export function load(machine: FakeMonitor): Omit<Loaded, "machine" | "cpu"> {
  let yields = 0;
  let next = machine.enter();
  for (; next === Next.Yield && machine.request === 0; yields++) next = machine.enter();
  if (next === Next.Resume) return { next, yields, error: undefined };
  const { reason, detail } = machine.stop;
  const error = names.get(Number(detail));
  if (next !== Next.Stop || reason !== LOAD_FAILED || error === undefined)
    throw new Error(`neither started nor refused: ${next}, ${reason}, ${detail}`);
  return { next, yields, error };
}

export function loadGuest(vendor: Vendor, options: MonitorOptions): Loaded {
  const cpu = fakeCpu(vendor);
  const machine = new FakeMonitor(cpu, options);
  return { machine, cpu, ...load(machine) };
}
