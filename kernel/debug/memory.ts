/** Memory as a thread sees it, and the packets m, M and X. */
import { CrashRecord } from "../abi/crash";
import { PAGE } from "../abi/address";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import { hideBreakpoints, keepBreakpoints } from "./breakpoint";
import { Input } from "./input";
import { CAPACITY, FAULT, INVALID, answer, error, hexBytes, ok, unescape } from "./packet";
import { NOWHERE, isReadable, isWritable } from "./physical";
import { HYPERVISOR, chosen, client, session } from "./session";
import { select } from "./vm";
import { fromGuest, fromGuestPhysical, fromHost } from "./walk";

const COMMA: u32 = 44;
const COLON: u32 = 58;
/** A byte takes two characters. */
const MOST: u32 = CAPACITY / 2;

const buffer = memory.data(2048);

/** Where the chosen thread's address is; NOWHERE when nowhere. */
export function locate(thread: u32, address: u64): Hpa {
  if (thread == HYPERVISOR) {
    if (client.physical) return address;
    return fromHost(phys.load64(session.crash + offsetof<CrashRecord>("cr3")), address);
  }
  if (!select(thread)) return NOWHERE;
  return client.physical ? fromGuestPhysical(address) : fromGuest(address);
}

function partOfPage(address: u64, length: u32): u32 {
  return <u32>min<u64>(length, PAGE - (address & (PAGE - 1)));
}

/** Reads at most `length` bytes, page by page; returns how many there are. */
function read(thread: u32, address: u64, to: usize, length: u32): u32 {
  let done: u32 = 0;
  while (done < length) {
    const n = partOfPage(address + done, length - done);
    const hpa = locate(thread, address + done);
    if (hpa == NOWHERE || !isReadable(hpa)) break;
    phys.read(hpa, to + done, n);
    hideBreakpoints(hpa, to + done, n);
    done += n;
  }
  return done;
}

/** Writes all bytes or none: the first time round looks whether it can be done. */
function write(thread: u32, address: u64, from: usize, length: u32): bool {
  for (let round: u32 = 0; round < 2; round++) {
    for (let done: u32 = 0; done < length;) {
      const n = partOfPage(address + done, length - done);
      const hpa = locate(thread, address + done);
      if (hpa == NOWHERE || !isWritable(hpa)) return false;
      if (round == 1) {
        phys.write(hpa, from + done, n);
        keepBreakpoints(hpa, from + done, n);
      }
      done += n;
    }
  }
  return true;
}

/** m ADDRESS,LENGTH */
export function readMemory(packet: Input): void {
  const address = packet.hex();
  packet.want(COMMA);
  const length = packet.hex();
  packet.close();
  if (packet.bad || length == 0) return error(INVALID);
  const n = read(chosen(), address, buffer, <u32>min<u64>(length, MOST));
  if (n == 0) error(FAULT);
  else hexBytes(answer(), buffer, n);
}

/** M ADDRESS,LENGTH:DIGITS and X ADDRESS,LENGTH:BYTES */
export function writeMemory(packet: Input, binary: bool): void {
  const address = packet.hex();
  packet.want(COMMA);
  const length = packet.hex();
  packet.want(COLON);
  const given: u32 = packet.bad ? 0 : binary ? unescape(packet) : packet.left / 2;
  if (packet.bad || given != length || (!binary && packet.left & 1)) return error(INVALID);
  let from = packet.at;
  if (!binary) {
    for (let i: u32 = 0; i < given; i++) store<u8>(from + i, <u8>packet.hexByte());
    if (packet.bad) return error(INVALID);
  }
  if (!write(chosen(), address, from, given)) return error(FAULT);
  session.faulted = 0;
  ok();
}
