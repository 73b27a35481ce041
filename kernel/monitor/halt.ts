/** HLT, and what else a vCPU waits for: what ends that, and where the CPU is meanwhile. */
import { Request } from "../abi/run";
import { StopReason } from "../abi/stop";
import { uartHasOutput } from "../device/uart16550";
import { halt as haltCpu, tsc } from "../machine/time";
import { nmiDue } from "../vcpu/event";
import { Halted, Next, Vcpu } from "../vcpu/vcpu";
import { Rflags } from "../x86/cr";
import { isDue, updateOutput } from "./deliver";
import { info } from "./layout";
import { nextEvent } from "./wiring";

/** Whether something ends the vCPU's HLT. */
export function isWoken(v: Vcpu): bool {
  return nmiDue(v) || ((v.rflags & Rflags.IF) != 0 && isDue(v));
}

/** HLT. A debug exception, which a single step is, ends it (SDM Vol. 2A). */
export function onHalt(v: Vcpu): u32 {
  v.skip();
  updateOutput(v);
  if (v.rflags & Rflags.TF || isWoken(v)) return Next.Resume;
  // Another vCPU may send it an NMI, or start it anew.
  if (!(v.rflags & Rflags.IF) && info.vcpus == 1) return v.stop(StopReason.HaltedForever, v.rip);
  v.halted = Halted.Hlt;
  return rest(v) ? Next.Resume : wait(v);
}

/**
 * Halts the CPU here, where nobody else wants it and root has nothing to do for the VM: to root the vCPU runs. What comes is then
 * seen to as if it had found the guest running, before that goes on, which needs stir(). False: it has not been halted.
 */
function rest(v: Vcpu): bool {
  if (v.attention || v.debug || uartHasOutput()) return false;
  const since = tsc();
  if (!haltCpu()) return false;
  v.rested += tsc() - since;
  return true;
}

/** Something has come for a vCPU that rests: it is awake, or goes on resting, or root sees to it. @noinline */
export function stir(v: Vcpu): void {
  if (isWoken(v)) {
    v.halted = Halted.Running;
  } else if (v.attention) {
    // Whatever it is, an entry from root looks at all of it.
    v.request = Request.Continue;
    v.leaveWith(Next.Yield);
  } else if (!rest(v)) {
    v.leaveWith(wait(v));
  }
}

/** Waits in root for an interrupt, or goes on waiting: root takes the CPU until something is due. */
export function wait(v: Vcpu): u32 {
  v.request = Request.Halt;
  v.wake = nextEvent(v);
  return Next.Yield;
}

/** Waits for nothing but another vCPU. */
export function sleep(v: Vcpu): u32 {
  v.request = Request.Halt;
  v.wake = ~(<u64>0);
  return Next.Yield;
}
