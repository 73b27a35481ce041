/** The platform tests' programs: which files of subjects each has, in order. */
export interface Program {
  name: string;
  files: string[];
  /** Processors of the machine, natively. */
  cpus?: number;
  /** It ends by resetting the machine. */
  resets?: boolean;
}

export const programs: Program[] = [
  { name: "legacy", files: ["pic", "pit", "uart"] },
  { name: "acpi", files: ["rtc", "pm", "tables", "pci"] },
  { name: "apic", files: ["lapic", "apictimer", "ioapic", "hpet"] },
  { name: "apic-modes", files: ["x2apic"] },
  { name: "cpu", files: ["cpu", "time", "smbios"] },
  { name: "smp", files: ["smp"], cpus: 2 },
  { name: "faults", files: ["faults"], cpus: 2 },
  { name: "reset", files: ["reset"], resets: true },
];
