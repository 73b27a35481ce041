/** Rows about what is around the CPUs: memory, firmware, its tables, IOMMU, power. */
import { fadt, resetRegister } from "../acpi/fadt";
import { IommuKind, iommu } from "../acpi/iommu";
import { list } from "../acpi/list";
import { madt } from "../acpi/madt";
import { mcfg } from "../acpi/mcfg";
import { warningCount } from "../acpi/table";
import { Memory, boot, region } from "../boot";
import { options } from "../options";
import { canPowerOff } from "../power";
import { Readable, State, begin, end, report, tell, use } from "./report";
import { WatchdogKind, watchdog } from "../watchdog";

/** Bytes of all regions that are RAM, or that are not. */
function bytes(ram: bool): u64 {
  let sum: u64 = 0;
  for (let i: u32 = 0; i < boot.regions; i++) {
    const r = region(i);
    if ((r.kind == Memory.Ram) == ram) sum += r.length;
  }
  return sum;
}

function memoryRow(): void {
  if (!report.canRead(Readable.Memory)) return tell(State.Unknown, "memory", "not readable here");
  const ram = bytes(true);
  if (ram == 0) return tell(State.Missing, "memory", "required; the boot loader's map has no RAM");
  end(
    begin(State.Required, "memory")
      .dec(ram >> 20)
      .str(" MiB of RAM, ")
      .dec(bytes(false) >> 20)
      .str(" MiB reserved, in ")
      .dec(boot.regions)
      .str(" regions"),
  );
}

function firmwareRow(): void {
  if (boot.isOld) tell(State.Unknown, "firmware", "Multiboot 1 does not tell; boot with multiboot2");
  else tell(State.Used, "firmware", boot.isUefi ? "UEFI" : "BIOS");
}

function acpiRow(): void {
  if (list.tables == 0)
    return tell(State.Missing, "ACPI tables", "one CPU and the PIT are used; switch ACPI on in the setup");
  const out = begin(State.Used, "ACPI tables")
    .dec(list.tables)
    .str(list.extended ? ", by the XSDT" : ", by the RSDT");
  if (!madt.found) out.str(", no MADT");
  if (!fadt.found) out.str(", no FADT");
  const bad = warningCount();
  if (bad > 0) out.str("; ").dec(bad).str(" faults in them: update the firmware");
  end(out);
}

function iommuRow(): void {
  if (iommu.kind == IommuKind.None)
    return tell(
      State.Missing,
      "IOMMU",
      "no DMAR or IVRS; bus mastering is off instead; VT-d or AMD-Vi may be off in the setup",
    );
  end(
    begin(State.Spare, "IOMMU")
      .str(iommu.kind == IommuKind.Vtd ? "VT-d, " : "AMD-Vi, ")
      .dec(iommu.units)
      .str(" units, ")
      .dec(iommu.width)
      .str(" address bits, ")
      .dec(iommu.reserved)
      .str(" reserved ranges; bus mastering is off instead"),
  );
}

function powerRows(): void {
  use(canPowerOff(), "power-off", "by ACPI, for end=poweroff", "ACPI does not say how; the machine halts");
  use(resetRegister.exists, "reset register", "ACPI's", "port CF9h is used");
}

function watchdogRow(): void {
  if (watchdog.kind == WatchdogKind.None) {
    if (list.hasWatchdog) tell(State.Spare, "watchdog", "the firmware's (WDAT)");
    else tell(State.Missing, "watchdog", "none that is known");
  } else if (watchdog.kind == WatchdogKind.LaterTco)
    tell(State.Spare, "watchdog", "Intel's, of a chipset not known here");
  else if (options.hardwareWatchdog == 0) tell(State.Spare, "watchdog", "Intel TCO; hwwatchdog= uses it");
  else tell(State.Used, "watchdog", "Intel TCO");
}

export function platformRows(): void {
  memoryRow();
  firmwareRow();
  if (!report.canRead(Readable.Acpi))
    return tell(State.Unknown, "ACPI tables", "not readable here: needs root");
  acpiRow();
  iommuRow();
  if (mcfg.ranges > 0)
    end(
      begin(State.Spare, "PCI in memory").str("MCFG, bus ranges: ").dec(mcfg.ranges).str("; ports are used"),
    );
  else tell(State.Missing, "PCI in memory", "ports are used");
  powerRows();
  watchdogRow();
}
