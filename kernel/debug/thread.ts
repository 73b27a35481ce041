/** Thread ids (GDB manual, Appendix E.1, thread-id syntax): with processes, or plain numbers for who knows none. */
import { Text } from "../lib/text";
import { Input } from "./input";
import {
  ANY,
  EVERY,
  FIRST_VM,
  HYPERVISOR,
  NONE,
  client,
  numberOf,
  processOf,
  setKnown,
  threadOf,
} from "./session";

const P: u32 = 112;
const DOT: u32 = 46;
const MINUS: u32 = 45;

/** A number, or ANY for 0 and -1. */
function number(packet: Input): u64 {
  if (!packet.accept(MINUS)) return packet.hex();
  packet.want(49);
  return ANY;
}

/** A thread id: a thread, whichever of a process, or ANY; NONE for what nothing can be. Takes what it reads. */
export function readThread(packet: Input): u32 {
  if (!packet.accept(P)) {
    const thread = number(packet);
    return packet.bad || thread >= NONE || numberOf(<u32>thread) >= EVERY ? NONE : <u32>thread;
  }
  const process = number(packet);
  const thread: u64 = packet.accept(DOT) ? number(packet) : ANY;
  if (packet.bad || process > processOf(NONE) || thread > EVERY) return NONE;
  if (process == ANY) return ANY;
  return threadOf(<u32>process, thread == ANY ? EVERY : <u32>thread - 1);
}

/** NONE for what nothing can be. */
export function readProcess(packet: Input): u32 {
  const process = packet.hex();
  return packet.bad || process > processOf(NONE) ? NONE : <u32>process;
}

export function writeProcess(out: Text, process: u32): void {
  out.rawHex(process, 1);
}

/** GDB hears of the process. Without processes it is told one number. */
export function writeThread(out: Text, thread: u32): void {
  setKnown(processOf(thread), 1);
  if (!client.multiprocess) {
    out.rawHex(thread, 1);
    return;
  }
  writeProcess(out.byte(P), processOf(thread));
  out.byte(DOT).rawHex(numberOf(thread) + 1, 1);
}

/** A process as a person calls it. */
export function nameProcess(out: Text, process: u32): Text {
  return process == HYPERVISOR ? out.str("cpu0") : out.str("vm").dec(process - FIRST_VM);
}

/** And a thread. */
export function nameThread(out: Text, thread: u32): Text {
  nameProcess(out, processOf(thread));
  return thread == HYPERVISOR ? out : out.str(" vcpu").dec(numberOf(thread));
}
