/**
 * vCPUs that start and wake each other without an APIC: a guest executes CPUID with EAX = FA180000h + what it wants, and
 * ECX = a vCPU's number. A wake is kept: the next HLT ends at once.
 */
import { Request } from "../../../kernel/abi/run";
import { kick } from "../../../kernel/device/kick";
import { or32, swap32 } from "../../../kernel/machine/atomic";
import { setRegisters } from "../../../kernel/monitor/load";
import { info } from "../../../kernel/monitor/layout";
import { Halted, Next, Vcpu } from "../../../kernel/vcpu/vcpu";

export const VCPUS: u32 = 0xfa180000;
const ASK: u32 = 0;
const START: u32 = 1;
const WAKE: u32 = 2;

/** A word a vCPU, of others' wishes: bits START and WAKE. */
const mailboxes = memory.data(64, 4);
/** A word a vCPU, its own: nonzero when it has been woken and has not halted since. */
const woken = memory.data(64, 4);

function mailbox(n: u32): usize {
  return mailboxes + ((<usize>n) << 2);
}

function wokenAt(v: Vcpu): usize {
  return woken + ((<usize>v.number) << 2);
}

/** What the guest wants: ASK answers with EAX = the vCPU's number, EBX = how many there are. The CPUID exit goes on. */
export function serve(v: Vcpu): void {
  const what = (<u32>v.rax) & 0xffff;
  const n = <u32>v.rcx;
  if (what == ASK || n >= info.vcpus) return;
  or32(mailbox(n), what);
  kick(n, v.number);
}

/** After CPUID's own answer. */
export function answer(v: Vcpu, what: u32): void {
  if (what != ASK) return;
  v.rax = v.number;
  v.rbx = info.vcpus;
}

/** After the vCPU has answered its kick: takes what others have left. Bit 0: it has registers now; bit 1: it does not halt any more. */
export function take(v: Vcpu): u32 {
  const wishes = swap32(mailbox(v.number), 0);
  let done: u32 = 0;
  if (wishes & START && v.halted == Halted.WaitForSipi) {
    setRegisters(v);
    v.halted = Halted.Running;
    done = 1;
  }
  if (wishes & WAKE) store<u32>(wokenAt(v), 1);
  if (v.halted == Halted.Hlt && load<u32>(wokenAt(v))) {
    v.halted = Halted.Running;
    store<u32>(wokenAt(v), 0);
    done |= 2;
  }
  return done;
}

/** Whether the guest goes on though it has just halted, for it has been woken before. */
export function isAwake(v: Vcpu, next: u32): bool {
  return next == Next.Yield && v.request == Request.Halt && v.halted == Halted.Hlt && (take(v) & 2) != 0;
}
