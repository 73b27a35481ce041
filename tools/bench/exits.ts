/** What one exit costs, measured by a guest of ours (test/guests/bench.asm). */
import type { MachineKind } from "../machine/machine.ts";
import { bootImage } from "../trial/boot.ts";
import { assembleGuest } from "../trial/guests.ts";

/** Ticks of one instruction with its exit, by name. */
export async function measureExits(
  machine: MachineKind,
  cpu: string | undefined,
  options: string,
): Promise<Map<string, number>> {
  const { console } = await bootImage({
    machine,
    ...(cpu === undefined ? {} : { cpu }),
    exact: true,
    options,
    modules: [{ file: assembleGuest("bench"), text: "kernel memory=4M" }],
  });
  const ticks = new Map<string, number>();
  for (const [, name, value] of console.matchAll(/^(\S+) (\d+)\r?$/gm)) ticks.set(name!, Number(value));
  if (!ticks.has("cpuid")) throw new Error(`the guest measured nothing:\n${console}`);
  return ticks;
}
