/** Starts a machine of any kind. */
import { startBochs } from "./bochs.ts";
import { Refusal } from "./errors.ts";
import type { Machine, MachineKind, MachineOptions } from "./machine.ts";

export async function startMachine(kind: MachineKind, options: MachineOptions): Promise<Machine> {
  switch (kind) {
    case "bochs":
      return startBochs(options);
    default:
      throw new Refusal(`${kind} is not supported yet`);
  }
}
