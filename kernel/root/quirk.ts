/** What a machine is known to do wrong, so that it is not made use of. */
import { list } from "./acpi/list";
import { processor } from "./processor";

/** "BOCHS ", of the BIOS that Bochs and QEMU share. */
const BOCHS: u64 = 0x205348434f42;

/**
 * Bochs 2.7 delivers a pending virtual interrupt to a guest whose IF is 0 when the host is interrupted, instead of that VM exit: Linux
 * hangs of it sooner or later (docs/machines.md). Its CPUs are named as real ones are, but say of no hypervisor, as QEMU's always do.
 */
export function breaksVirtualInterrupts(): bool {
  return list.maker == BOCHS && !processor.virtual;
}
