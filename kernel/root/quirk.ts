/** What a machine is known to do wrong, so that it is not made use of. */
import * as cpuid from "../machine/cpuid";
import { list } from "./acpi/list";
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
 * In QEMU's emulator (7.2) an XRSTOR of any CPU may undo what the first one has just changed of a word that says, among others, whether
 * nested paging is on: a guest there, or the hypervisor behind its exit, goes on with the wrong tables (docs/machines.md). The
 * first one is the boot CPU.
 */
export function spoilsBootCpu(): bool {
  if (!processor.virtual) return false;
  cpuid.query(0x40000000, 0, regs);
  return load<u32>(regs, 4) == TCG;
}
