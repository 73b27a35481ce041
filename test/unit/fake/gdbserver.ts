/**
 * The fake machine at the other end of GDB's pipe: `target remote | node --import tsx gdbserver.ts VENDOR`. While it runs,
 * VM 0 comes to the nearest breakpoint of its code, or does its step.
 */
import { readSync, writeSync } from "node:fs";
import { Cause, GdbMachine, VECTOR_TIMER, type GdbVendor, at } from "./gdbmachine.ts";

const CODE = 0x100000;
const TRAP = process.argv[2] === "AMD-V" ? 0xf1 : 0xcc;
const machine = new GdbMachine(process.argv[2] as GdbVendor);

const nap = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);

/** GDB's pipe does not block. */
function patiently(transfer: () => number): number {
  for (;;) {
    try {
      return transfer();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      nap();
    }
  }
}

let polls = 0;

/** After a hello the debugger looks for another one: it is only waited for GDB when it has given that up. */
function receive(): Uint8Array | undefined {
  if (polls++ < 25000) return undefined;
  polls = 0;
  for (let out = Uint8Array.from(machine.sent.splice(0)); out.length > 0;)
    out = out.subarray(patiently(() => writeSync(1, out)));
  const buffer = new Uint8Array(4096);
  const n = patiently(() => readSync(0, buffer));
  if (n === 0) process.exit(0);
  return buffer.subarray(0, n);
}

/** One thing that happens. */
function run(): void {
  const { memory } = machine;
  const rip = Number(machine.getGuest(0, "rip"));
  const dr7 = machine.wish(0, "DR7");
  if (machine.wish(0, "STEPS") !== 0n) {
    machine.setGuest(0, { rip: BigInt(rip + 1) });
    machine.stop(Cause.Step);
  } else if (machine.getCrash("RFLAGS") & 0x100n) {
    machine.setCrash("RIP", machine.getCrash("RIP") + 1n);
    machine.dr[6] = 0xffff4ff0n;
    machine.stop(Cause.Host, { vector: 1 });
  } else if (dr7 & 3n) {
    machine.setGuest(0, { rip: machine.dr[0]! });
    machine.stop(Cause.Debug, { detail: 1n });
  } else {
    for (let i = 0; i < 256; i++) {
      if (memory.load(machine.hpa(0, CODE + i), 1) !== BigInt(TRAP)) continue;
      machine.setGuest(0, { rip: BigInt(CODE + i) });
      machine.stop(Cause.Breakpoint);
      return;
    }
    polls = 25000;
    const bytes = receive();
    machine.more = () => ((machine.more = receive), bytes);
    machine.stop(Cause.Host, { vector: VECTOR_TIMER });
  }
}

machine.memory.put(machine.hpa(0, CODE), new Uint8Array(256).fill(0x90));
machine.memory.put(at.host, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]));
for (let n = 0; n < 16; n++) machine.memory.store(machine.gprAt(0, n), 8, BigInt(0x1111 * (n + 1)));
machine.more = receive;
machine.stop(Cause.Waiting);
for (;;) {
  run();
}
