/** ACPI 6.4 5.2.9, Fixed ACPI Description Table: the PM timer, and what switches the machine off and resets it. */
import { bit } from "../../lib/bits";
import { load16, load32, load64, load8 } from "../../machine/phys";
import { Register } from "./register";
import { ignore } from "./table";

/** Offsets of fields (table 5.9, FADT Format). */
namespace Field {
  export const DSDT: u64 = 40;
  export const SMI_CMD: u64 = 48;
  export const ACPI_ENABLE: u64 = 52;
  export const PM1A_CNT: u64 = 64;
  export const PM1B_CNT: u64 = 68;
  export const PM_TMR: u64 = 76;
  export const PM1_CNT_LEN: u64 = 89;
  export const PM_TMR_LEN: u64 = 91;
  export const BOOT_ARCH: u64 = 109;
  export const FLAGS: u64 = 112;
  export const RESET_REG: u64 = 116;
  export const RESET_VALUE: u64 = 128;
  export const X_DSDT: u64 = 140;
  export const SLEEP_CONTROL: u64 = 244;
}
/** Of the architecture flags (5.2.9.3, IA-PC Boot Architecture Flags), which tables have from revision 3 on. */
const HAS_8042: u32 = 1;
const RESET_SUPPORTED: u32 = 10;
const HARDWARE_REDUCED: u32 = 20;


@unmanaged
class Fadt {
  /** Port of the PM timer, 0 when there is none. */
  pmTimer: u32;
  /** It was read: a second one does not count. */
  found: bool;
  /** It says that there is no 8042. */
  lacksI8042: bool;
  /** There are no PM1 registers (4.1, Hardware-Reduced ACPI). */
  reduced: bool;
  /** Port of SMI commands, 0 when ACPI is on from the start; and the command that turns it on. */
  smiCommand: u32;
  acpiEnable: u32;
  resetValue: u32;
  /** Physical address of the DSDT, 0 for none. */
  dsdt: u64;
}

export const fadt = changetype<Fadt>(memory.data(32, 8));
export const pm1a = changetype<Register>(memory.data(16, 8));
export const pm1b = changetype<Register>(memory.data(16, 8));
export const resetRegister = changetype<Register>(memory.data(16, 8));
export const sleepControl = changetype<Register>(memory.data(16, 8));

if (offsetof<Fadt>() > 32 || offsetof<Register>() > 16) ERROR("the FADT does not fit");

function readPower(table: u64, length: u32): void {
  const flags = load32(table + Field.FLAGS);
  fadt.reduced = length >= Field.SLEEP_CONTROL + 12 && bit(flags, HARDWARE_REDUCED);
  if (fadt.reduced) {
    if (!sleepControl.take(table + Field.SLEEP_CONTROL, 1))
      ignore(table, "FACP: SLEEP_CONTROL_REG", "no such register");
  } else if (load8(table + Field.PM1_CNT_LEN) >= 2) {
    pm1a.port(load32(table + Field.PM1A_CNT), 2);
    pm1b.port(load32(table + Field.PM1B_CNT), 2);
    const command = load32(table + Field.SMI_CMD);
    fadt.smiCommand = command < 0x10000 ? command : 0;
    fadt.acpiEnable = load8(table + Field.ACPI_ENABLE);
  }
  if (length <= Field.RESET_VALUE || !bit(flags, RESET_SUPPORTED)) return;
  fadt.resetValue = load8(table + Field.RESET_VALUE);
  if (!resetRegister.take(table + Field.RESET_REG, 1)) ignore(table, "FACP: RESET_REG", "no such register");
}

/** What a table of an older revision is too short for is not there. */
export function readFadt(table: u64, length: u32): void {
  fadt.found = true;
  if (length >= Field.DSDT + 4) fadt.dsdt = load32(table + Field.DSDT);
  if (length >= Field.X_DSDT + 8 && load64(table + Field.X_DSDT) != 0)
    fadt.dsdt = load64(table + Field.X_DSDT);
  if (length > Field.PM_TMR_LEN && load8(table + Field.PM_TMR_LEN) == 4) {
    const port = load32(table + Field.PM_TMR);
    if (port <= 0xfffc) fadt.pmTimer = port;
  }
  if (load8(table + 8) >= 3 && length >= Field.BOOT_ARCH + 2)
    fadt.lacksI8042 = !bit(load16(table + Field.BOOT_ARCH), HAS_8042);
  if (length >= Field.FLAGS + 4) readPower(table, length);
}
