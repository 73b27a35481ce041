/** Rows about VT-x and AMD-V. What is used is what root uses: the same capabilities, read the same way. */
import { bit } from "../../lib/bits";
import * as svm from "../../svm/capability";
import * as vmx from "../../vmx/capability";
import { usesApicRegisters, usesTprShadow, usesVirtualInterrupts } from "../virtualapic";
import { Readable, State, begin, end, report, require, spare, tell, use } from "./report";

const NEWER = "a newer CPU is needed";
const UNREADABLE = "not readable here: needs root and modprobe msr";
/** What a part of local APICs saves. */
const APIC_EXITS = "guests' accesses to it exit";

function vmxRows(readable: bool): void {
  tell(State.Required, "virtualization", "VT-x");
  if (!readable) {
    tell(State.Unknown, "VT-x in the firmware", UNREADABLE);
    tell(State.Unknown, "VT-x, its parts", UNREADABLE);
    return;
  }
  if (vmx.isDisabled())
    tell(
      State.Off,
      "VT-x in the firmware",
      "required; switch on Intel Virtualization Technology in the setup, then power off and on",
    );
  else tell(State.Required, "VT-x in the firmware", "on, or left to the hypervisor");
  vmx.readCapabilities();
  const c = vmx.capability;
  require(c.hasEpt && bit(c.ept, 6) && bit(c.ept, 16), "nested paging", "EPT, 2 MiB pages", NEWER);
  use(c.hasHugePages, "EPT 1 GiB pages", "for guests' memory", "2 MiB pages are used");
  require(c.hasUnrestrictedGuest, "unrestricted guest", "guests start in real mode", NEWER);
  use(c.hasVpid, "VPID", "guests' translations outlive exits", "every exit flushes them");
  use(c.hasPreemptionTimer, "preemption timer", "ends slices", "the local APIC's timer ends slices");
  use(c.hasTscScaling, "TSC scaling", "for tsckhz=", "guests have the host's frequency");
  apicRow(c.hasTprShadow != 0, usesTprShadow(), "TPR shadow");
  apicRow(c.hasApicRegisters, usesApicRegisters(), "APICv registers");
  apicRow(c.hasVirtualInterrupts, usesVirtualInterrupts(), "APICv interrupts");
  spare(c.posts != 0, "posted interrupts", "other CPUs are kicked instead", "not needed");
}

/** A part of VT-x for local APICs, which the command line may leave unused. */
function apicRow(there: bool, used: bool, name: string): void {
  if (there) tell(used ? State.Used : State.Spare, name, used ? "guests' local APICs exit less" : APIC_EXITS);
  else tell(State.Missing, name, APIC_EXITS);
}

function svmRows(readable: bool): void {
  tell(State.Required, "virtualization", "AMD-V");
  if (!readable) tell(State.Unknown, "AMD-V in the firmware", UNREADABLE);
  else if (svm.isDisabled())
    tell(State.Off, "AMD-V in the firmware", "required; switch on SVM in the setup, then power off and on");
  else tell(State.Required, "AMD-V in the firmware", "on, or left to the hypervisor");
  svm.readCapabilities();
  const c = svm.capability;
  require(c.hasNestedPaging, "nested paging", "NPT", NEWER);
  use(c.hasHugePages != 0, "NPT 1 GiB pages", "for guests' memory", "2 MiB pages are used");
  tell(State.Required, "unrestricted guest", "part of AMD-V");
  if (c.asids >= 2) end(begin(State.Required, "ASIDs").dec(c.asids));
  else tell(State.Missing, "ASIDs", "required; a newer CPU is needed");
  use(
    c.has(svm.Feature.NEXT_RIP),
    "next RIP",
    "instructions' ends",
    "instructions are read to know their length",
  );
  use(
    c.has(svm.Feature.DECODE_ASSISTS),
    "decode assists",
    "instructions' bytes",
    "instructions are read from memory",
  );
  use(c.has(svm.Feature.CLEAN_BITS), "VMCB clean bits", "entries load less", "entries load all of a VMCB");
  use(c.hasFlushByAsid, "flush by ASID", "flushes are narrow", "flushes take a new ASID, or drop all");
  use(c.hasPauseFilter, "pause filter", "spinning guests yield", "spinning guests use up their slice");
  spare(c.hasTscRatio, "TSC ratio", "guests have the host's frequency", "guests have the host's frequency");
  spare(c.has(svm.Feature.AVIC), "AVIC", APIC_EXITS, APIC_EXITS);
}

export function virtualizationRows(): void {
  const readable = report.canRead(Readable.Msr);
  if (vmx.isOffered()) vmxRows(readable);
  else if (svm.isOffered()) svmRows(readable);
  else
    tell(
      State.Missing,
      "virtualization",
      "neither VT-x nor AMD-V: required; another CPU is needed, or inside of a VM a host that nests",
    );
}
