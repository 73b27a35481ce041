/** 27.3.1.5, Checks on Guest Non-Register State (SDM Vol. 3C). */
import { bit, bits } from "../lib/bits";
import * as msr from "../machine/msr";
import { read } from "../machine/vmx";
import { Rflags } from "../x86/cr";
import * as Msr from "../x86/msr";
import { Vector } from "../x86/vector";
import { capability } from "./capability";
import { Pin } from "./control";
import * as F from "./field";
import { EXTERNAL, HARDWARE_EXCEPTION, NMI, OTHER, SS, VALID, check, delivers, must, rights } from "./rule";

const DEBUGCTL_BTF: u64 = 1 << 1;

/** Activity states (25.4.2, Guest Non-Register State). */
const ACTIVE: u64 = 0;
const HLT: u64 = 1;
const SHUTDOWN: u64 = 2;

/** Whether the event to deliver is one that is not blocked in the activity state. */
function wakes(activity: u64): bool {
  if (!(check.event & VALID) || activity == ACTIVE) return true;
  const vector = check.event & 0xff;
  const machineCheck = delivers(HARDWARE_EXCEPTION) && vector == Vector.MC;
  if (activity == SHUTDOWN) return delivers(NMI) || machineCheck;
  if (activity != HLT) return false;
  const debug = delivers(HARDWARE_EXCEPTION) && vector == Vector.DB;
  return delivers(EXTERNAL) || delivers(NMI) || debug || machineCheck || (delivers(OTHER) && vector == 0);
}

/** Interruptibility (25.4.2): blocking by STI, MOV SS, SMI and NMI, an enclave was interrupted. */
const STI: u64 = 1 << 0;
const MOV_SS: u64 = 1 << 1;
const SMI: u64 = 1 << 2;
const NMI_BLOCKING: u64 = 1 << 3;
const ENCLAVE: u64 = 1 << 4;

export function checkState(): void {
  const activity = read(F.GUEST_ACTIVITY.encoding);
  const blocking = read(F.GUEST_INTERRUPTIBILITY.encoding);
  const shadow = (blocking & (STI | MOV_SS)) != 0;
  // A.6, Miscellaneous Data: bits 8:6 say which of the states 1 to 3 there are.
  const states = bits(msr.read(Msr.IA32_VMX_MISC), 8, 6) << 1;
  must(
    activity == ACTIVE || (activity <= 3 && bit(states, <u32>activity)),
    "activity state: not one that this CPU has",
  );
  must(activity != HLT || bits(rights(SS), 6, 5) == 0, "activity state: HLT at a CPL above 0");
  must(activity == ACTIVE || !shadow, "activity state: not active with blocking by STI or MOV SS");
  must(wakes(activity), "activity state: one that blocks the event to deliver");
  must((blocking & ~(STI | MOV_SS | SMI | NMI_BLOCKING | ENCLAVE)) == 0, "interruptibility: a reserved bit");
  must((blocking & (STI | MOV_SS)) != (STI | MOV_SS), "interruptibility: blocking by STI and by MOV SS");
  must(!(blocking & STI) || (check.rflags & Rflags.IF) != 0, "interruptibility: blocking by STI with IF 0");
  must(!delivers(EXTERNAL) || !shadow, "interruptibility: blocking with an external interrupt to deliver");
  must(!delivers(NMI) || !(blocking & MOV_SS), "interruptibility: blocking by MOV SS with an NMI to deliver");
  must(!(blocking & SMI), "interruptibility: blocking by SMI outside of system-management mode");
  must(
    !delivers(NMI) || !(capability.pin & Pin.VIRTUAL_NMIS) || !(blocking & NMI_BLOCKING),
    "interruptibility: blocking by NMI with an NMI to deliver",
  );
  must(
    !(blocking & ENCLAVE) || (check.hasSgx != 0 && !(blocking & MOV_SS)),
    "interruptibility: an interrupted enclave without SGX or with blocking by MOV SS",
  );
  pendingDebug(blocking, shadow || activity == HLT);
  must(read(F.LINK_POINTER.encoding) == ~(<u64>0), "VMCS link pointer: not all ones");
}

/** Pending debug exceptions (25.4.2): the enabled-breakpoint bit, a single step, one in a transaction. */
const ENABLED_BREAKPOINT: u64 = 1 << 12;
const BS: u64 = 1 << 14;
const RTM: u64 = 1 << 16;

/** `held`: what is pending could not be delivered yet. */
function pendingDebug(blocking: u64, held: bool): void {
  const pending = read(F.GUEST_PENDING_DEBUG.encoding);
  must((pending & ~(0xf | ENABLED_BREAKPOINT | BS | RTM)) == 0, "pending debug exceptions: a reserved bit");
  const steps = (check.rflags & Rflags.TF) != 0 && !(check.debugctl & DEBUGCTL_BTF);
  must(
    !held || ((pending & BS) != 0) == steps,
    "pending debug exceptions: BS is not what TF and IA32_DEBUGCTL.BTF say",
  );
  must(
    !(pending & RTM) || (pending == (RTM | ENABLED_BREAKPOINT) && check.hasRtm != 0 && !(blocking & MOV_SS)),
    "pending debug exceptions: RTM without its transaction",
  );
}
