/** One packet after the other, until the machine is to go on. */
import { Input } from "./input";
import { readMemory, writeMemory } from "./memory";
import { runCommand } from "./monitor";
import { INVALID, answer, error, link, ok, receive, send } from "./packet";
import { placePacket } from "./place";
import { query } from "./query";
import { Reg, showRegister, takeRegisters, writeRegister, registerSize } from "./registers";
import { detach, kill, killAll, resumeActions, resumePacket } from "./resume";
import { line } from "./serial";
import { ANY, chosen, client, oneOf, session } from "./session";
import { cancelSteps } from "./stop";
import { statusReply } from "./stopreply";
import { readProcess, readThread } from "./thread";
import { exists } from "./vm";

// The letters that packets start with.
const EXCLAMATION: u32 = 33;
const QUESTION: u32 = 63;
const UPPER_C: u32 = 67;
const UPPER_D: u32 = 68;
const UPPER_G: u32 = 71;
const UPPER_H: u32 = 72;
const UPPER_M: u32 = 77;
const UPPER_P: u32 = 80;
const UPPER_Q: u32 = 81;
const UPPER_R: u32 = 82;
const UPPER_S: u32 = 83;
const UPPER_T: u32 = 84;
const UPPER_X: u32 = 88;
const UPPER_Z: u32 = 90;
const LOWER_C: u32 = 99;
const LOWER_G: u32 = 103;
const LOWER_K: u32 = 107;
const LOWER_M: u32 = 109;
const LOWER_P: u32 = 112;
const LOWER_Q: u32 = 113;
const LOWER_S: u32 = 115;
const LOWER_V: u32 = 118;
const LOWER_Z: u32 = 122;
const EQUALS: u32 = 61;

/** Serves GDB until it lets the machine go on, or nobody is there. */
export function serve(): void {
  while (!session.leave) {
    const packet = receive();
    if (!packet) return;
    if (line.hasty) {
      line.hasty = 0;
      cancelSteps();
    }
    client.resumed = 0;
    answer();
    if (handle(packet)) send();
    // From the next packet on.
    if (link.noAck == 2) link.noAck = 1;
  }
}

/** H OPERATION THREAD */
function choose(packet: Input): void {
  const operation = packet.take();
  const thread = readThread(packet);
  packet.close();
  if (packet.bad || (thread != ANY && !exists(oneOf(thread)))) return error(INVALID);
  if (operation == LOWER_G) client.general = thread;
  else if (operation == LOWER_C) client.control = thread;
  else return error(INVALID);
  ok();
}

function isThreadAlive(packet: Input): void {
  const thread = readThread(packet);
  packet.close();
  if (packet.bad || thread == ANY || !exists(oneOf(thread))) error(INVALID);
  else ok();
}

/** g and p NUMBER. */
function readRegisters(packet: Input, all: bool): void {
  // GDB looks at a new stop: a Ctrl-C that crossed it was meant for what has stopped.
  if (all) link.interrupted = 0;
  const thread = chosen();
  const n = all ? 0 : packet.hex();
  packet.close();
  if (packet.bad || n >= Reg.Count || !exists(thread)) return error(INVALID);
  const out = answer();
  const end = all ? Reg.Together : <u32>n + 1;
  for (let i = <u32>n; i < end; i++) showRegister(out, thread, i);
}

/** G VALUES and P NUMBER=VALUE */
function writeRegisters(packet: Input, all: bool): void {
  const thread = chosen();
  if (!exists(thread)) return error(INVALID);
  if (all) {
    if (takeRegisters(thread, packet)) ok();
    else error(INVALID);
    return;
  }
  const n = packet.hex();
  packet.want(EQUALS);
  if (packet.bad || n >= Reg.Count) return error(INVALID);
  const size = registerSize(<u32>n);
  const value = packet.little(size);
  packet.close();
  if (packet.bad || size > 8 || !writeRegister(thread, <u32>n, value)) error(INVALID);
  else ok();
}

/** vAttach;PROCESS: all of them are attached, so that this chooses one. */
function attach(packet: Input): void {
  const process = readProcess(packet);
  packet.close();
  if (packet.bad || !exists(process)) return error(INVALID);
  session.thread = process;
  statusReply();
}

function verbose(packet: Input): void {
  if (packet.word("vCont?")) answer().str("vCont;c;C;s;S");
  else if (packet.word("vCont")) resumeActions(packet);
  else if (packet.word("vKill;")) kill(packet);
  else if (packet.word("vAttach;")) attach(packet);
}

/** Acts on a packet; false when it is not answered. What is not known is answered by nothing. */
function handle(packet: Input): bool {
  const letter = packet.peek();
  if (letter == LOWER_Q || letter == UPPER_Q) {
    if (packet.word("qRcmd,")) runCommand(packet);
    else query(packet);
    return true;
  }
  if (letter == LOWER_V) {
    verbose(packet);
    return !client.resumed;
  }
  packet.take();
  switch (letter) {
    case QUESTION:
      statusReply();
      return true;
    case EXCLAMATION:
      ok();
      return true;
    case UPPER_H:
      choose(packet);
      return true;
    case UPPER_T:
      isThreadAlive(packet);
      return true;
    case LOWER_G:
    case LOWER_P:
      readRegisters(packet, letter == LOWER_G);
      return true;
    case UPPER_G:
    case UPPER_P:
      writeRegisters(packet, letter == UPPER_G);
      return true;
    case LOWER_M:
      readMemory(packet);
      return true;
    case UPPER_M:
    case UPPER_X:
      writeMemory(packet, letter == UPPER_X);
      return true;
    case UPPER_Z:
    case LOWER_Z:
      placePacket(packet, letter == LOWER_Z);
      return true;
    case LOWER_C:
    case LOWER_S:
    case UPPER_C:
    case UPPER_S:
      resumePacket(packet, letter);
      return !client.resumed;
    case UPPER_D:
      detach(packet);
      return true;
    case LOWER_K:
      killAll();
      return false;
    case UPPER_R:
      return false;
    default:
      return true;
  }
}
