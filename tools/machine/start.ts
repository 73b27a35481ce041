/** Starts a machine of any kind. */
import { startBochs } from "./bochs.ts";
import type { Machine, MachineKind, MachineOptions } from "./machine.ts";
import { startQemu } from "./qemu.ts";

export async function startMachine(kind: MachineKind, options: MachineOptions): Promise<Machine> {
  return kind === "bochs" ? startBochs(options) : startQemu(kind, options);
}
