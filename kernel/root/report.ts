/** What is printed when something went wrong: where in the TypeScript, why, and the state of the vCPU. */
import {
  LINEAR_BASE,
  MAX_CPUS,
  ROOT_STACK_AREA,
  ROOT_STACK_SLOT,
  STACK_AREA,
  STACK_SIZE,
  STACK_SLOT,
} from "../abi/address";
import { CrashRecord } from "../abi/crash";
import { LAST_EXITS, LAST_EXITS_OFFSET, LastExit } from "../abi/exit";
import { Gprs } from "../abi/gprs";
import { RunArea } from "../abi/run";
import { VECTOR_TIMER } from "../abi/vector";
import { Text } from "../lib/text";
import * as cpu from "../machine/cpu";
import * as image from "../machine/image";
import * as phys from "../machine/phys";
import { GuestSummary } from "../vcpu/summary";
import { Vector } from "../x86/vector";
import * as backend from "./backend";
import { functionAt, place } from "./lines";
import { error, say } from "./log";
import { banner } from "./version";
import { Vcpu } from "./vcpus";
import { Vm, linearSize } from "./vm";

/** Kinds of wasm3-runtime.h, and of kernel/machine. */
namespace Trap {
  export const Unreachable: u32 = 1;
  export const DivideByZero: u32 = 2;
  export const Overflow: u32 = 3;
  export const UndefinedElement: u32 = 4;
  export const SignatureMismatch: u32 = 5;
  export const OutOfBounds: u32 = 6;
  export const Abort: u32 = 100;
  export const FieldRead: u32 = 101;
  export const FieldWrite: u32 = 102;
}

const LINEAR_END: u64 = LINEAR_BASE + 0x200001000;
const BACKTRACE: u32 = 8;
/** Characters after which a line of exits ends. */
const EXITS_WIDTH: u32 = 60;
/** Stack words that a backtrace looks at. */
const SCAN: u64 = 256;

const record = changetype<CrashRecord>(memory.data(256, 8));

/** Reads this CPU's crash record. */
export function takeRecord(): CrashRecord {
  cpu.crash(changetype<usize>(record));
  return record;
}

function trapName(kind: u64): string {
  if (kind == Trap.Unreachable) return "unreachable";
  if (kind == Trap.DivideByZero) return "integer division by zero";
  if (kind == Trap.Overflow) return "integer overflow";
  if (kind == Trap.UndefinedElement) return "indirect call of an undefined element";
  if (kind == Trap.SignatureMismatch) return "indirect call of a function of another type";
  if (kind == Trap.OutOfBounds) return "memory.fill or memory.copy out of bounds";
  if (kind == Trap.Abort) return "assertion failed";
  if (kind == Trap.FieldRead) return "read of a control structure's field off the allow list";
  if (kind == Trap.FieldWrite)
    return "write of a control structure's field, or of bits in it, off the allow list";
  return "invalid opcode";
}

/** Why the instance ended, in words. */
export function cause(out: Text, r: CrashRecord): Text {
  if (r.vector == VECTOR_TIMER) return out.str("did not come back in time");
  if (r.vector == Vector.UD) return out.str(trapName(r.rdi));
  if (r.vector == Vector.DE) return out.str("integer division by zero");
  if (r.vector == Vector.PF) {
    if (r.cr2 >= LINEAR_BASE && r.cr2 < LINEAR_END) {
      return out.str("memory access out of bounds at ").hex(r.cr2 - LINEAR_BASE);
    }
    const inSlot = (r.cr2 - STACK_AREA) % STACK_SLOT;
    const inGuard =
      (r.cr2 >= ROOT_STACK_AREA && r.cr2 < ROOT_STACK_AREA + MAX_CPUS * ROOT_STACK_SLOT) ||
      (r.cr2 >= image.stackGuard() && r.cr2 < image.stackGuard() + 4096);
    if (
      inGuard ||
      (r.cr2 >= STACK_AREA && r.cr2 < STACK_AREA + 64 * STACK_SLOT && inSlot < STACK_SLOT - STACK_SIZE)
    ) {
      return out.str("stack overflow");
    }
    return out.str("page fault at ").hex(r.cr2).str(", error code ").hex(r.error);
  }
  return out.str("exception ").dec(r.vector).str(", error code ").hex(r.error);
}

/** The assertion's message, file, line: two AssemblyScript strings in the linear memory at physical address `base`. */
function assertion(r: CrashRecord, base: u64, size: u64): void {
  const out = error().str("  assertion: ");
  utf16(out, base, size, r.abortMessage);
  out.str(" at ");
  utf16(out, base, size, r.abortFile);
  say(out.str(":").dec(r.abortLine).str(":").dec(r.abortColumn));
}

/** An AssemblyScript string: UTF-16, its length in bytes in the 4 bytes before it. */
function utf16(out: Text, base: u64, size: u64, at: u32): void {
  if (at < 4 || at >= size) return;
  const length = min<u64>(phys.load32(base + at - 4), 240);
  if (at + length > size) return;
  for (let i: u64 = 0; i < length; i += 2) {
    const c = phys.load16(base + at + i);
    out.printable(c < 256 ? c : 0);
  }
}

function registers(g: Gprs, rip: u64, rflags: u64): void {
  say(error().str("  rip ").hex(rip, 16).str(" rflags ").hex(rflags, 8).str(" rsp ").hex(g.rsp, 16));
  say(error().str("  rax ").hex(g.rax, 16).str(" rcx ").hex(g.rcx, 16).str(" rdx ").hex(g.rdx, 16));
  say(error().str("  rbx ").hex(g.rbx, 16).str(" rbp ").hex(g.rbp, 16).str(" rsi ").hex(g.rsi, 16));
  say(error().str("  rdi ").hex(g.rdi, 16).str(" r8  ").hex(g.r8, 16).str(" r9  ").hex(g.r9, 16));
  say(error().str("  r10 ").hex(g.r10, 16).str(" r11 ").hex(g.r11, 16).str(" r12 ").hex(g.r12, 16));
  say(error().str("  r13 ").hex(g.r13, 16).str(" r14 ").hex(g.r14, 16).str(" r15 ").hex(g.r15, 16));
}

/**
 * Who called: words on the stack that follow a CALL of the function that was found before. A frame's unused part holds
 * such words of earlier calls, so one whose CALL does not fit is printed with a "?", and only when nothing fits.
 * [from, to) are physical addresses.
 */
function backtrace(rip: u64, from: u64, to: u64): void {
  let callee = functionAt(rip);
  let found: u32 = 0;
  let doubtful: u64 = 0;
  for (let at = from; at + 8 <= to && at < from + SCAN * 8 && found < BACKTRACE; at += 8) {
    const after = phys.load64(at);
    if (after < image.start() + 5 || after >= image.textEnd()) continue;
    if (phys.load8(after - 5) != 0xe8) continue; // CALL rel32
    const target = after + <u64>(<i64>(<i32>phys.load32(after - 4)));
    if (functionAt(target) == callee) {
      say(place(error().str("  from "), after - 5));
      callee = functionAt(after);
      found++;
    } else if (doubtful == 0) {
      doubtful = after;
    }
  }
  if (found == 0 && doubtful != 0) say(place(error().str("  from ? "), doubtful - 5));
}

/** A fault in root, or in the monitor of `v` that its vCPU `p` was in. */
export function reportTrap(v: Vm | null, p: Vcpu | null, r: CrashRecord): void {
  say(banner(error().str("  ")));
  say(place(error().str("  at "), r.rip));
  if (r.vector == Vector.UD && <u32>r.rdi == Trap.Abort) {
    if (v) assertion(r, v.home, linearSize());
    else assertion(r, image.rootMemory(), 0x200000);
  }
  if (v && p) {
    const top = p.context.stack;
    if (r.rsp < top && r.rsp >= top - STACK_SIZE) {
      const end = v.home + linearSize() + (p.number + 1) * STACK_SIZE;
      backtrace(r.rip, end - (top - r.rsp), end);
    }
  } else if (r.rsp >= image.start() && r.rsp < image.end()) {
    backtrace(r.rip, r.rsp, image.end());
  }
  say(error().str("  host registers:"));
  registers(r, r.rip, r.rflags);
}

/** The guest's last exits and, so that they are what a screen still shows, its registers. */
export function reportVcpu(v: Vm, p: Vcpu): void {
  phys.read(v.linear(p.area), changetype<usize>(guest), offsetof<RunArea>());
  backend.readGuest(p.context, state);
  guest.rsp = state.rsp;
  lastExits(v, p);
  if (v.vcpus > 1) say(error().str("  of vCPU ").dec(p.number));
  say(error().str("  guest registers:"));
  registers(guest, state.rip, state.rflags);
  say(
    error()
      .str("  cr0 ")
      .hex(state.cr0, 8)
      .str(" cr3 ")
      .hex(state.cr3, 16)
      .str(" cr4 ")
      .hex(state.cr4, 8)
      .str(" efer ")
      .hex(state.efer, 4)
      .str(" cs ")
      .hex(state.cs, 4),
  );
}

/** What the recorder holds, oldest first, a few a line. Of a monitor's memory, so it is only printed. */
function lastExits(v: Vm, p: Vcpu): void {
  const size = <u32>offsetof<LastExit>();
  let out = error().str("  last exits (reason@rip):");
  for (let i = LAST_EXITS; i > 0; i--) {
    const at = v.linear(p.area + LAST_EXITS_OFFSET + ((guest.nextExit - i * size) & (LAST_EXITS * size - 1)));
    const rip = phys.load64(at);
    const reason = phys.load32(at + offsetof<LastExit>("reason"));
    // Not written yet.
    if (rip == 0 && reason == 0) continue;
    if (out.length > EXITS_WIDTH) {
      say(out);
      out = error().str("   ");
    }
    out.str(" ").dec(reason).str("@").hex(rip);
  }
  say(out);
}

const guest = changetype<RunArea>(memory.data(256, 8));
const state = changetype<GuestSummary>(memory.data(64, 8));
