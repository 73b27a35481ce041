/** Thread ids (GDB manual, Appendix E.1, thread-id syntax): with processes, or plain numbers for who knows none. */
import { Text } from "../lib/text";
import { Input } from "./input";
import { ANY, FIRST_VM, HYPERVISOR, NONE, client, setKnown } from "./session";

const P: u32 = 112;
const DOT: u32 = 46;
const MINUS: u32 = 45;

/** The one thread that each process has so far. */
const THREAD: u64 = 1;

/** A number, or ANY for 0 and -1. */
function number(packet: Input): u64 {
  if (!packet.accept(MINUS)) return packet.hex();
  packet.want(49);
  return ANY;
}

/** The process of a thread id; ANY for all or whichever; NONE for what nothing can be. Takes what it reads. */
export function readThread(packet: Input): u32 {
  const explicit = packet.accept(P);
  const process = number(packet);
  if (explicit && packet.accept(DOT)) {
    const thread = number(packet);
    if (thread != ANY && thread != THREAD) return NONE;
  }
  return packet.bad || process > 0x7fffffff ? NONE : <u32>process;
}

export function readProcess(packet: Input): u32 {
  const process = packet.hex();
  return packet.bad || process > 0x7fffffff ? NONE : <u32>process;
}

export function writeProcess(out: Text, process: u32): void {
  out.rawHex(process, 1);
}

/** GDB hears of the process. */
export function writeThread(out: Text, process: u32): void {
  setKnown(process, 1);
  if (client.multiprocess) out.byte(P);
  writeProcess(out, process);
  if (client.multiprocess) out.byte(DOT).rawHex(THREAD, 1);
}

/** As a person calls it. */
export function writeName(out: Text, process: u32): void {
  if (process == HYPERVISOR) out.str("cpu0");
  else
    out
      .str("vm")
      .dec(process - FIRST_VM)
      .str(" vcpu0");
}
