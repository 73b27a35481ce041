/** Watched guest memory, and catching a kernel: wishes that root fulfils. And what is in force. */
import { DebugControl, WATCHES, WatchKind, WatchRange } from "../abi/debug";
import { BREAKPOINTS, breakpoint } from "./breakpoint";
import { Kind, REGISTERS, debugRegister } from "./debugreg";
import { Input } from "./input";
import { usage, vcpuOf } from "./argument";
import { print } from "./packet";
import { fetch, put32, put64 } from "./physical";
import { watchAt } from "./place";
import { FIRST_VM, NONE, vmOf } from "./session";
import { note } from "./note";
import { nameProcess } from "./thread";
import { control, exists, vmCount, wantAttention } from "./vm";

const PAGE: u64 = 4096;
/** Where Linux's text is linked to, and no other code runs before it. */
const KERNEL: u64 = 0xffffffff80000000;

const range = changetype<WatchRange>(memory.data(16, 8));

/** Reads watch n of a VM to `range`. */
function readWatch(vm: u32, n: u32): bool {
  return fetch(watchAt(vm, n), changetype<usize>(range), offsetof<WatchRange>());
}

function writeWatch(vm: u32, n: u32, gpa: u64, length: u32, kind: u32): void {
  const at = watchAt(vm, n);
  put64(at, gpa);
  put32(at + offsetof<WatchRange>("length"), length);
  put32(at + offsetof<WatchRange>("kind"), kind);
  wantAttention();
}

/** watch GPA LENGTH [w|r|a], of the chosen thread's VM. */
export function setWatch(c: Input): void {
  const gpa = c.number();
  const length = c.number();
  let kind = WatchKind.Write;
  if (c.command("a")) kind = WatchKind.Access;
  else if (c.command("r")) kind = WatchKind.Read;
  else c.command("w");
  if (c.bad) return usage();
  const thread = vcpuOf(c);
  if (thread == NONE) return;
  const vm = vmOf(thread);
  if (length == 0 || length > PAGE - (gpa & (PAGE - 1)))
    return print(note().str("not within a page of 4096 bytes"));
  for (let n: u32 = 0; n < WATCHES; n++) {
    if (!readWatch(vm, n) || range.length != 0) continue;
    writeWatch(vm, n, gpa, <u32>length, kind);
    return;
  }
  print(note().dec(WATCHES).str(" watches are all there are"));
}

/** unwatch [GPA]: one, or all of the chosen thread's VM. */
export function unwatch(c: Input): void {
  const all = !c.more();
  const gpa = all ? 0 : c.number();
  if (c.bad) return usage();
  const thread = vcpuOf(c);
  if (thread == NONE) return;
  const vm = vmOf(thread);
  for (let n: u32 = 0; n < WATCHES; n++) {
    if (readWatch(vm, n) && range.length != 0 && (all || range.gpa == gpa)) writeWatch(vm, n, 0, 0, 0);
  }
}

export function showWatches(): void {
  for (let vm: u32 = 0; vm < vmCount(); vm++) {
    if (!exists(FIRST_VM + vm)) continue;
    for (let n: u32 = 0; n < WATCHES; n++) {
      if (!readWatch(vm, n) || range.length == 0) continue;
      const out = note().str("vm").dec(vm).str(": ").hex(range.gpa).str("+").dec(range.length).str(" ");
      print(out.str(range.kind == WatchKind.Write ? "w" : range.kind == WatchKind.Read ? "r" : "a"));
    }
  }
}

function setCatch(vm: u32, from: u64): void {
  put64(control(vm) + offsetof<DebugControl>("catchFrom"), from);
  wantAttention();
}

/** Stops the thread's VM when its own kernel has begun. */
export function catchKernel(thread: u32): void {
  if (thread != NONE) setCatch(vmOf(thread), KERNEL);
}

export function catchOff(): void {
  for (let vm: u32 = 0; vm < vmCount(); vm++) if (exists(FIRST_VM + vm)) setCatch(vm, ~(<u64>0));
}

export function showBreakpoints(): void {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const b = breakpoint(i);
    if (b.process == 0) continue;
    const out = nameProcess(note(), b.process);
    print(out.str(": int3 at ").hex(b.linear).str(", host-physical ").hex(b.hpa));
  }
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const r = debugRegister(i);
    if (r.process == 0) continue;
    const out = nameProcess(note(), r.process);
    out.str(r.kind == Kind.Execute ? ": execute " : r.kind == Kind.Write ? ": write " : ": access ");
    print(
      out
        .hex(r.address)
        .str("+")
        .dec(1 << r.shift)
        .str(" in dr")
        .dec(i),
    );
  }
}
