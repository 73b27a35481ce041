/** Rows about the CPUs: which they are, what root itself uses of them, and their errata. */
import { bit } from "../../lib/bits";
import { Text } from "../../lib/text";
import { madt } from "../acpi/madt";
import { iommu } from "../acpi/iommu";
import { Erratum, concerns, describeErratum, hasLateDeadlines } from "../errata";
import { banks } from "../machinecheck";
import { Vendor, processor, queryLeaf } from "../processor";
import { cores, threadBits } from "../topology";
import { Readable, State, begin, end, report, require, tell, use } from "./report";

const regs = memory.data(16, 4);

function vendorName(): string {
  if (processor.vendor == Vendor.Intel) return "Intel";
  if (processor.vendor == Vendor.Amd) return "AMD";
  return processor.vendor == Vendor.Hygon ? "Hygon" : "of another vendor";
}

/** EAX, EBX, ECX or EDX of a leaf; 0 where there is no such leaf. */
function register(leaf: u32, n: u32): u32 {
  return queryLeaf(leaf, 0, regs) ? load<u32>(regs + <usize>n * 4) : 0;
}

const EBX: u32 = 1;
const ECX: u32 = 2;
const EDX: u32 = 3;

/** "4 cores, SMT", as the log has it too. */
export function describeCores(out: Text): Text {
  const n = cores();
  out.dec(n).str(n == 1 ? " core" : " cores");
  if (n < madt.cpus && threadBits() > 0) out.str(", SMT");
  return out;
}

function processorRow(): void {
  const out = begin(State.Required, "CPU")
    .str(vendorName())
    .str(", family ")
    .dec(processor.family)
    .str(", model ")
    .hex(processor.model)
    .str(", stepping ")
    .dec(processor.stepping);
  if (processor.microcode != 0) out.str(", microcode ").hex(processor.microcode);
  else out.str(", microcode unknown");
  if (processor.virtual) out.str(", inside of a VM");
  end(out);
}

function countRow(): void {
  if (!report.canRead(Readable.Acpi)) return;
  if (madt.cpus == 0) return tell(State.Unknown, "CPUs", "no MADT lists them: one is used");
  const out = begin(State.Used, "CPUs").dec(madt.cpus).str(", ");
  end(describeCores(out));
}

function timeRows(): void {
  const invariant = bit(register(0x80000007, EDX), 8);
  use(
    invariant,
    "TSC invariance",
    "time passes evenly",
    "guests' time follows the CPU's frequency: switch SpeedStep or Cool'n'Quiet off in the setup",
  );
  const deadline = bit(register(1, ECX), 24);
  if (deadline && hasLateDeadlines())
    tell(
      State.Spare,
      "TSC deadline timer",
      "affected by an erratum, see below; the local APIC's counter is used",
    );
  else use(deadline, "TSC deadline timer", "the host's timer", "the local APIC's counter is used");
}

function apicRows(): void {
  require(bit(register(1, EDX), 9), "local APIC", "interrupts", "switch the local APIC on in the setup");
  if (!bit(register(1, ECX), 21)) return tell(State.Missing, "x2APIC", "xAPIC is used");
  tell(
    State.Used,
    "x2APIC",
    iommu.forbidsX2apic ? "although the firmware (DMAR) asks for xAPIC" : "instead of xAPIC",
  );
}

export function processorRows(): void {
  processorRow();
  countRow();
  require(bit(register(0x80000001, EDX), 29), "long mode", "64 bits", "a newer CPU is needed");
  require(bit(
    register(0x80000001, EDX),
    20,
  ), "NX", "data is never executed", "switch Execute Disable on in the setup");
}

export function featureRows(): void {
  use(bit(register(0x80000001, EDX), 26), "1 GiB pages", "root's own tables", "2 MiB pages are used");
  use(
    bit(register(7, EBX), 7),
    "SMEP",
    "against faults of the hypervisor",
    "one wall less; a newer CPU has it",
  );
  use(
    bit(register(7, EBX), 20),
    "SMAP",
    "against faults of the hypervisor",
    "one wall less; a newer CPU has it",
  );
  use(bit(register(1, ECX), 26), "XSAVE", "guests have AVX", "guests have SSE, and no AVX");
  apicRows();
  timeRows();
}

/** How many things may report errors of theirs. */
export function machineCheckRow(): void {
  if (!report.canRead(Readable.Msr)) return;
  const n = banks();
  if (n == 0) return tell(State.Missing, "machine checks", "errors of the hardware go unreported");
  end(begin(State.Used, "machine checks").dec(n).str(" banks"));
}

export function errataRows(): void {
  for (let n: u32 = 0; n < Erratum.Count; n++)
    if (concerns(n)) tell(State.Affected, "erratum", describeErratum(n));
}
