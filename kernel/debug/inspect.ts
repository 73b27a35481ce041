/** What VMs do: their states, their exits, and how their addresses are translated. */
import { EXIT_COUNTERS, Exit, LAST_EXITS, LAST_EXITS_OFFSET, LastExit } from "../abi/exit";
import { RunArea } from "../abi/run";
import { Text } from "../lib/text";
import { nth } from "./features";
import { Input } from "./input";
import { usage, vcpuOf } from "./argument";
import { print } from "./packet";
import { NOWHERE, fetch32, fetch64 } from "./physical";
import { FIRST_VM, NONE, threadOf } from "./session";
import { note } from "./note";
import { linearRip } from "./stop";
import { nameThread } from "./thread";
import { areaAt, record, select, stateOf, vcpusOf, vmCount } from "./vm";
import { NO_GPA, Walk, fromGuestPhysical, guestWalk, nestedWalk, toGuestPhysical } from "./walk";

/** In the order of Exit. */
const EXITS = `cpuid port rdmsr wrmsr cr hlt memory exception interrupt-window nmi-window xsetbv wbinvd rdpmc undefined
triple-fault task-switch entry-refused other preempted pause refetched dr wanted apic `;
const STATES = "none ready halted ended ";
const ENDED: u32 = 3;
/** A line that is longer ends. */
export const WIDTH: u32 = 84;

export function showVms(): void {
  let none = true;
  for (let vm: u32 = 0; vm < vmCount(); vm++) {
    const state = stateOf(vm);
    if (state == 0 || state > ENDED) continue;
    none = false;
    let out = note().str("vm").dec(vm).str(": ");
    nth(out, STATES, state);
    for (let n: u32 = 0; n < vcpusOf(vm) && select(threadOf(FIRST_VM + vm, n)); n++) {
      out = n ? wrap(out.str(",")) : out.str(", ").size(record.memory).str(", rip");
      out.str(" ").hex(linearRip());
    }
    print(out);
  }
  if (none) print(note().str("no VMs"));
}

/** Begins another line when this one is full. */
export function wrap(out: Text): Text {
  if (out.length < WIDTH) return out;
  print(out);
  return note().str(" ");
}

function exitName(out: Text, kind: u32): Text {
  if (kind < Exit.Count) nth(out, EXITS, kind);
  else out.dec(kind);
  return out;
}

/** The counters, and the last exits, oldest first. The monitor has written them: they are only shown. */
export function showExits(thread: u32): void {
  if (thread == NONE) return;
  const area = areaAt();
  let out = nameThread(note(), thread).str(":");
  for (let i: u32 = 0; i < Exit.Count; i++) {
    const count = fetch64(area + EXIT_COUNTERS + i * 8);
    if (count != 0) exitName(wrap(out).str(" "), i).str(" ").dec(count);
    if (out.length >= WIDTH) out = wrap(out);
  }
  print(out);
  out = note().str("last:");
  const size = <u32>offsetof<LastExit>();
  const next = fetch32(area + offsetof<RunArea>("nextExit"));
  for (let i = LAST_EXITS; i > 0; i--) {
    const at = area + LAST_EXITS_OFFSET + ((next - i * size) & (LAST_EXITS * size - size));
    const rip = fetch64(at);
    const reason = fetch32(at + offsetof<LastExit>("reason"));
    if (rip == 0 && reason == 0) continue;
    exitName(out.str(" "), fetch32(at + offsetof<LastExit>("kind")))
      .str("@")
      .hex(rip);
    out = wrap(out);
  }
  // A line that was just begun has nothing but its first space.
  if (out.length > 1) print(out);
}

function showEntries(walk: Walk, what: string): void {
  for (let i: u32 = 0; i < walk.count; i++) {
    const out = note()
      .str("  ")
      .str(what)
      .str(" level ")
      .dec(walk.levels - i);
    print(out.str(" entry at ").hex(walk.at(i)).str(": ").hex(walk.entry(i)));
  }
}

/** walk ADDRESS [VM[.VCPU]] */
export function showWalk(c: Input): void {
  const linear = c.number();
  if (c.bad) return usage();
  const thread = vcpuOf(c);
  if (thread == NONE) return;
  const gpa = toGuestPhysical(linear);
  print(nameThread(note(), thread).str(": linear ").hex(linear));
  showEntries(guestWalk, "guest");
  if (gpa == NO_GPA) return print(note().str("not present"));
  print(note().str("guest-physical ").hex(gpa));
  const hpa = fromGuestPhysical(gpa);
  showEntries(nestedWalk, "nested");
  if (hpa == NOWHERE) return print(note().str("no memory"));
  print(
    note()
      .str("host-physical ")
      .hex(hpa)
      .str(", page of ")
      .size((<u64>1) << nestedWalk.shift),
  );
}
