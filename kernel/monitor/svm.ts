/** The monitor on AMD-V: what root and the exit stub call. */
import { Exit } from "../abi/exit";
import { answerPlain, isPlain } from "../vcpu/cpuid";
import { Injection } from "../vcpu/event";
import { Next, Vcpu } from "../vcpu/vcpu";
import { Code } from "../svm/code";
import { onControlRegister } from "../svm/cr";
import { inject, isInjecting, loadInterruptibility, saveInterrupted, setWindows } from "../svm/event";
import { Io, complete, decode, loadStringPort, step } from "../svm/exit";
import * as F from "../svm/field";
import { nextRip } from "../svm/length";
import { readMsr, writeMsr } from "../svm/msr";
import { storeSystem } from "../svm/system";
import { dispatch } from "./dispatch";
import { readByte, writeByte } from "./platform";
import { onWide } from "./port";
import { attendWith, enterWith } from "./run";
import { onStringPort } from "./stringport";


@unmanaged
class Svm {
  isInjecting(): bool {
    return isInjecting();
  }
  loadInterruptibility(v: Vcpu): void {
    loadInterruptibility(v);
  }
  inject(v: Vcpu, i: Injection): void {
    inject(v, i);
  }
  setWindows(v: Vcpu, wanted: u32): void {
    setWindows(v, wanted);
  }
  storeSystem(v: Vcpu): void {
    storeSystem(v);
  }
}

const svm = changetype<Svm>(0);

/** @noinline */
function attend(v: Vcpu): u32 {
  return attendWith(svm, v);
}

/** Root gives the vCPU the CPU: returns Leave.Resume to enter the guest. */
export function enter(area: usize): u32 {
  const v = changetype<Vcpu>(area);
  // A host interrupt may have come in the middle of a delivery.
  saveInterrupted(v);
  const next = enterWith(svm, v);
  return next == Next.Resume ? resume(v) : next;
}

/** What an exit ends with when its handler says to go on. */
function resume(v: Vcpu): u32 {
  return v.attention ? attend(v) : Next.Resume;
}

/** INS and OUTS, and IN and OUT of 2 and 4 bytes. @noinline */
function onOtherIo(v: Vcpu, info: u32): u32 {
  if (info & Io.STRING) {
    loadStringPort(v, info);
    onStringPort(v);
    complete(v);
  } else {
    onWide(v, info >> Io.PORT, (info >> Io.SIZE) & 7, info & Io.IN);
    step(v, F.EXIT_INFO_2.read());
  }
  return resume(v);
}

/** I/O instructions: EXITINFO2 is the next one's address. @noinline */
function onIo(v: Vcpu): u32 {
  v.count(Exit.Port, Code.IOIO);
  const info = <u32>F.EXIT_INFO_1.read();
  const how = info & (Io.IN | Io.STRING | (7 << Io.SIZE));
  if (how == (Io.IN | (1 << Io.SIZE))) v.al = readByte(v, info >> Io.PORT);
  else if (how == 1 << Io.SIZE) writeByte(v, info >> Io.PORT, v.al);
  else return onOtherIo(v, info);
  step(v, F.EXIT_INFO_2.read());
  return resume(v);
}

/** What has to do with the vendor, and then what has not. */
function handle(v: Vcpu, kind: u32): u32 {
  if (kind == Exit.ReadMsr) return readMsr(v);
  if (kind == Exit.WriteMsr) return writeMsr(v);
  return kind == Exit.ControlRegister ? onControlRegister(v) : dispatch(v, kind);
}

/** @noinline */
function onOther(v: Vcpu, code: u32): u32 {
  v.reason = code;
  const kind = decode(v);
  v.count(kind, code);
  const next = handle(v, kind);
  complete(v);
  return next == Next.Resume ? resume(v) : next;
}

/** The guest exited with `code` (APM Vol. 2 Appendix C). What comes most often goes first. */
export function exit(area: usize, code: u32): u32 {
  const v = changetype<Vcpu>(area);
  v.rip = F.RIP.read();
  if (code == Code.IOIO) return onIo(v);
  const leaf = <u32>v.rax;
  if (code != Code.CPUID || !isPlain(leaf)) return onOther(v, code);
  const next = nextRip(v, Code.CPUID);
  if (!next) return onOther(v, code);
  v.count(Exit.Cpuid, code);
  answerPlain(v, leaf);
  step(v, next);
  return resume(v);
}
