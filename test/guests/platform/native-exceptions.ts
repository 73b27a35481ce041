/** What the emulators themselves do otherwise than the manuals say: platform checks that fail natively, and why. */
import type { MachineKind } from "../../../tools/machine/machine.ts";

export interface Exception {
  machine: MachineKind;
  /** SUBJECT.CHECK */
  check: string;
  manual: string;
  why: string;
  /** The processor does it wrong, where the hypervisor has no part. */
  inGuests: boolean;
  /** It passes at times. */
  atTimes: boolean;
}

type Entry = [check: string, manual: string, why: string, where?: "and in guests" | "at times"];
const list = (machine: MachineKind, entries: Entry[]): Exception[] =>
  entries.map(([check, manual, why, where]) => ({
    machine,
    check,
    manual,
    why,
    inGuests: where === "and in guests",
    atTimes: where === "at times",
  }));

export const nativeExceptions: Exception[] = [
  ...list("bochs", [
    ["pic.lower-input-first", "8259A, Fully Nested Mode", "the first request stays chosen until it is taken"],
    ["pic.poll-finds-a-request", "8259A, Poll Command", "bit 7 is never set"],
    ["pic.poll-sets-in-service", "8259A, Poll Command", "a poll acknowledges nothing"],
    ["pic.no-interrupt-when-low", "8259A, Edge and Level Triggered Modes", "the output stays: a spurious 7"],
    ["pit.mode-2-new-count-waits", "8254, Mode 2: Rate Generator", "a new count is loaded at once"],
    ["pit.port-61-holds", "82371AB 4.2.6, NMI Status and Control", "bits 3:2 read 0"],
    ["uart.clearing-the-fifo", "PC16550D, FIFO Control Register", "the data ready bit stays"],
    [
      "uart.below-the-trigger-level",
      "PC16550D, FIFO Interrupt Mode Operation",
      "reading one byte is not enough",
    ],
    [
      "uart.then-transmitter",
      "PC16550D, Interrupt Identification Register",
      "any read of IIR resets it, not only one that shows the transmitter",
    ],
    ["rtc.square-wave-enable-holds", "MC146818A, Register B", "SQWE reads 0"],
    ["rtc.flags-without-enables", "MC146818A, Register C", "flags only with their enables"],
    ["rtc.alarm-flag-with-its-update", "MC146818A, Register C", "flags only with their enables"],
    ["rtc.year-rolls-over", "MC146818A, Time Locations", "an hour less: struct tm's tm_isdst is not set"],
    ["rtc.leap-day-at-midnight-in-12-hours", "MC146818A, Time Locations", "of a PM hour bits 3:0 are lost"],
    ["rtc.noon-in-12-hours", "MC146818A, Time Locations", "of the hour bits 3:0 are lost"],
    ["pm24.sci-at-overflow", "ACPI 6.4, 4.8.3.1.1", "the SCI is wired to PIRQA, not to the FADT's interrupt"],
    ["lapic.same-class-waits", "SDM Vol. 3A 11.8.3", "the spurious vector is delivered instead"],
    ["lapic.send-illegal-vector", "SDM Vol. 3A 11.5.3, Error Handling", "bit 6 is set only"],
    ["lapic.error-interrupts", "SDM Vol. 3A 11.5.3, Error Handling", "errors do not interrupt"],
    ["lapic.masked-extint-waits", "SDM Vol. 3A 11.5.1", "the 8259s go past LINT0"],
    ["lapic.fixed-lint0-has-its-own-vector", "SDM Vol. 3A 11.5.1", "the 8259s go past LINT0"],
    ["deadline.disarmed-after-it", "SDM Vol. 3A 11.5.4.1, TSC-Deadline Mode", "the MSR keeps its value"],
    ["x2apic.lvt-divide-icr-self-ipi-reserved-bits", "SDM Vol. 3A 11.12.1.3", "they are not checked"],
    ["x2apic.icr-reads-back", "SDM Vol. 3A 11.12.9", "a write in x2APIC mode is not kept"],
    ["ioapic.reserved-bits-read-0", "82093AA 3.2.4, I/O Redirection Table Registers", "bits 31:17 hold"],
    ["ioapic.remote-irr-from-request-to-eoi", "82093AA 3.2.4", "there is no remote IRR"],
    ["ioapic.level-interrupts-again", "82093AA 3.2.4", "an EOI does not look at the level"],
    ["hpet.value-is-set-in-64-bits", "IA-PC HPET 1.0a, 2.3.8", "the lower half's write ends VAL_SET"],
    [
      "timestamp.aux-reserved-bits",
      "SDM Vol. 4, IA32_TSC_AUX",
      "bits 63:32 are not checked",
      "and in guests",
    ],
    [
      "topology.levels-are-threads-and-cores",
      "SDM Vol. 2A, CPUID, leaf Bh",
      "with two processors there are no levels",
    ],
    ["cpu.unknown-msr", "SDM Vol. 2B, RDMSR", "it reads 0: our configuration's ignore_bad_msrs"],
  ]),
  ...list("qemu-tcg", [
    ["pit.status-before-a-count", "8254, Read-Back Command", "there is no null count bit, the output is any"],
    ["pit.gate-stops-modes-0-and-2", "8254, Gate Pin Operations", "the gate does not stop a counter"],
    [
      "pit.gate-low-is-high-output-in-modes-2-and-3",
      "8254, Mode Definitions",
      "the gate does not stop a counter",
    ],
    ["pit.bcd-counts-in-decimal", "8254, Control Word Format", "BCD is not implemented"],
    ["pit.mode-1-one-shot-at-each-trigger", "8254, Mode 1", "the output is low from the control word on"],
    ["pit.mode-2-new-count-waits", "8254, Mode 2: Rate Generator", "a new count is loaded at once"],
    ["pit.mode-5-output-is-high", "8254, Mode 5", "the output is low from the control word on"],
    ["pit.port-61-holds", "82371AB 4.2.6, NMI Status and Control", "bits 3:2 read 0"],
    ["pit.refresh-toggles", "82371AB 4.2.6, NMI Status and Control", "it toggles with each read"],
    ["uart.modem-changes", "PC16550D, Modem Status Register", "none when the outputs loop back"],
    ["uart.not-without-out2", "PC AT: OUT2 gates the interrupt", "OUT2 gates nothing"],
    ["rtc.flags-without-enables", "MC146818A, Register C", "no periodic flag without its enable"],
    ["lapic.cr8-reserved-bits", "SDM Vol. 3A 11.8.6", "they are dropped"],
    ["lapic.lvt-reserved-bits-read-0", "SDM Vol. 3A 11.5.1", "they hold"],
    ["lapic.send-illegal-vector", "SDM Vol. 3A 11.5.3, Error Handling", "it is delivered"],
    ["lapic.error-interrupts", "SDM Vol. 3A 11.5.3, Error Handling", "there are no errors"],
    ["lapic.software-disabled-masks-for-good", "SDM Vol. 3A 11.4.7.2", "entries can be unmasked"],
    ["lapic.fixed-lint0-has-its-own-vector", "SDM Vol. 3A 11.5.1", "LINT0 is for ExtINT only"],
    ["relocation.registers-move", "SDM Vol. 3A 11.4.5", "the page stays where it is"],
    ["ioapic.reserved-bits-read-0", "82093AA 3.2.4, I/O Redirection Table Registers", "bits 31:17 hold"],
    ["hpet.value-is-set-in-64-bits", "IA-PC HPET 1.0a, 2.3.8", "the lower half's write ends VAL_SET"],
    ["cpu.cr0-pg-without-pe", "SDM Vol. 3A 2.5, Control Registers", "PE stays"],
    ["cpu.unknown-msr", "SDM Vol. 2B, RDMSR", "it reads 0"],
    ["cpu.noncanonical-msr-value", "SDM Vol. 2B, WRMSR", "it is not checked", "and in guests"],
    ["cpu.efer-reserved-bit-and-lme-while-paging", "SDM Vol. 3A 2.2.1", "neither is checked"],
    [
      "timestamp.msr-is-the-counter",
      "SDM Vol. 3B 18.17.3",
      "the MSR has nothing to do with the counter",
      "and in guests",
    ],
    ["timestamp.counter-jumps", "SDM Vol. 3B 18.17.3", "a write does not move the counter"],
    [
      "timestamp.aux-reserved-bits",
      "SDM Vol. 4, IA32_TSC_AUX",
      "bits 63:32 are not checked",
      "and in guests",
    ],
    [
      "rtcinput.not-again-until-its-flags-are-read",
      "MC146818A, Register C",
      "the line rises while it is high",
      "at times",
    ],
    [
      "hpet.level-is-low-then",
      "IA-PC HPET 1.0a, 2.3.6",
      "its I/O APIC does not know that entries may be active low",
      "at times",
    ],
  ]),
];

/** Subjects whose hardware a machine does not have at all. */
export interface Absence {
  machine: MachineKind;
  subject: string;
  manual: string;
  why: string;
}

const absences = (
  machine: MachineKind,
  entries: [subject: string, manual: string, why: string][],
): Absence[] => entries.map(([subject, manual, why]) => ({ machine, subject, manual, why }));

export const nativeAbsences: Absence[] = [
  ...absences("bochs", [
    ["ecam", "PCI Express Base 3.0, 7.2.2", "the 440FX has conventional PCI only"],
    ["apicreset", "SDM Vol. 3A 11.4.3", "a disabled local APIC cannot be enabled again"],
    ["eoiregister", "82801, EOIR", "the I/O APIC has version 11h"],
    ["tscleaf", "SDM Vol. 2A, CPUID, leaf 15h", "CPUID does not tell the TSC's frequency"],
    ["hypervisor", "SDM Vol. 2A, CPUID, leaf 1", "there is no hypervisor"],
  ]),
  ...absences("qemu-tcg", [
    ["ecam", "PCI Express Base 3.0, 7.2.2", "the 440FX has conventional PCI only"],
    ["apicreset", "SDM Vol. 3A 11.4.3", "a disabled local APIC cannot be enabled again"],
    ["deadline", "SDM Vol. 3A 11.5.4.1, TSC-Deadline Mode", "TCG has no TSC deadline"],
    ["x2apic", "SDM Vol. 3A 11.12", "TCG has no x2APIC"],
    ["tscleaf", "SDM Vol. 2A, CPUID, leaf 15h", "CPUID does not tell the TSC's frequency"],
    ["hypervisor", "SDM Vol. 2A, CPUID, leaf 1", "it has no leaf about the frequency"],
  ]),
];
