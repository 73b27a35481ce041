/** What a machine is known to do wrong, so that it is not made use of. */
import * as cpuid from "../machine/cpuid";
import { list } from "./acpi/list";
import { cpus } from "./cpus";
import { processor } from "./processor";

/** "BOCHS ", of the BIOS that Bochs and QEMU share. */
const BOCHS: u64 = 0x205348434f42;
/** "TCGT", of what QEMU's emulator is called where a hypervisor has its name (CPUID leaf 40000000h). */
const TCG: u32 = 0x54474354;

const regs = memory.data(16, 4);

/**
 * Bochs 2.7 delivers a pending virtual interrupt to a guest whose IF is 0 when the host is interrupted, instead of that VM exit: Linux
 * hangs of it sooner or later (docs/machines.md). Its CPUs are named as real ones are, but say of no hypervisor, as QEMU's always do.
 */
export function breaksVirtualInterrupts(): bool {
  return list.maker == BOCHS && !processor.virtual;
}

/**
 * Whether the machine is QEMU's emulator (7.2) with several CPUs, which do to each other what CPUs do not (docs/machines.md):
 *
 * - An XRSTOR of any CPU may undo what the first one has just changed of a word that says, among others, whether nested paging
 *   is on. The first one is the boot CPU: no VM lives there.
 * - An interrupt that VMRUN has injected may be delivered again, with IF = 0 too. Virtual ones are delivered once.
 * - VMRUN with a virtual interrupt may undo that another thread has an interrupt for the CPU. The next one brings both: the boot
 *   CPU, which has little else to do, sends one now and then.
 */
export function racesCpus(): bool {
  if (!processor.virtual || cpus.count == 1) return false;
  cpuid.query(0x40000000, 0, regs);
  return load<u32>(regs, 4) == TCG;
}
