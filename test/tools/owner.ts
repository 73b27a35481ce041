/** For leftovers.test.ts: starts a machine, says where it runs, and ends in the way it is told to. */
import type { MachineKind } from "../../tools/machine/machine.ts";
import { startMachine } from "../../tools/machine/start.ts";

const [kind, image, end] = process.argv.slice(2);
const machine = await startMachine(kind as MachineKind, { image: image!, memory: 64 });
await machine.serial[0].waitFor(/./);
const { directory } = machine as unknown as { directory: { path: string } };
await new Promise<void>((resolve) => process.stdout.write(`${directory.path}\n`, () => resolve()));
if (end === "by itself") process.exit();
if (end === "by an exception")
  setImmediate(() => {
    throw new Error("an exception");
  });
if (end === "by a rejection") void Promise.reject(new Error("a rejection"));
