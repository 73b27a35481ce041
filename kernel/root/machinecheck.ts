/**
 * Machine checks (SDM Vol. 3B 16, Machine-Check Architecture; APM Vol. 2 9): what the CPU's banks say of errors of the hardware's. An
 * exception is the end, with a report. What was corrected is looked for now and then, and told.
 */
import { bit, bits } from "../lib/bits";
import { Text } from "../lib/text";
import * as cpu from "../machine/cpu";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import * as Msr from "../x86/msr";
import { error, say, warning } from "./log";

const MCE: u32 = 7;
const MCA: u32 = 14;
const IA32_MCG_STATUS: u32 = 0x17a;
const IA32_MCG_CTL: u32 = 0x17b;
/** Of IA32_MCG_CAP: there is IA32_MCG_CTL (16.3.1.1). */
const MCG_CTL_P: u32 = 8;
/** 16.3.2, Error-Reporting Register Banks: four registers a bank from here on. */
const BANK: u32 = 0x400;
const STATUS: u32 = 1;
const ADDR: u32 = 2;
const MISC: u32 = 3;
/** No CPU has more. */
const BANKS_MAX: u32 = 64;
/** What a pass tells of at most: a failing memory corrects without end. */
const TOLD_MAX: u32 = 4;

/** Bits of IA32_MCi_STATUS (16.3.2.2). */
namespace Status {
  export const VALID: u32 = 63;
  export const OVERFLOW: u32 = 62;
  export const UNCORRECTED: u32 = 61;
  export const MISC_VALID: u32 = 59;
  export const ADDRESS_VALID: u32 = 58;
  export const CORRUPT: u32 = 57;
}

const regs = memory.data(16, 4);

/** Banks of this CPU; 0 without machine-check architecture. */
export function banks(): u32 {
  cpuid.query(1, 0, regs);
  const features = load<u32>(regs, 12);
  if (!bit(features, MCE) || !bit(features, MCA) || !msr.exists(Msr.IA32_MCG_CAP)) return 0;
  return min(<u32>bits(msr.read(Msr.IA32_MCG_CAP), 7, 0), BANKS_MAX);
}

/** 16.9, Interpreting the MCA Error Codes: what kind of thing failed. */
function kindOf(code: u64): string {
  if (bit(code, 11)) return "bus or interconnect";
  if (bit(code, 8)) return "cache";
  if (bit(code, 7)) return "memory controller";
  if (bit(code, 4)) return "TLB";
  if (code == 0x0c || code == 0x0d) return "cache";
  return bit(code, 10) ? "internal timer or unit" : "internal";
}

/** Tells of one error. */
function tell(out: Text, bank: u32, status: u64): void {
  out
    .str("machine check: CPU ")
    .dec(cpu.number())
    .str(", bank ")
    .dec(bank)
    .str(": ")
    .str(kindOf(bits(status, 15, 0)))
    .str(bit(status, Status.UNCORRECTED) ? ", uncorrected" : ", corrected");
  if (bit(status, Status.CORRUPT)) out.str(", state corrupt");
  if (bit(status, Status.OVERFLOW)) out.str(", others lost");
  out.str(", status ").hex(status);
  if (bit(status, Status.ADDRESS_VALID)) out.str(", address ").hex(msr.read(BANK + 4 * bank + ADDR));
  if (bit(status, Status.MISC_VALID)) out.str(", misc ").hex(msr.read(BANK + 4 * bank + MISC));
  say(out);
}

/** Tells of what the banks of this CPU have, and clears them. `fatal`: in a report; else as a warning. */
function tellBanks(fatal: bool): void {
  const count = banks();
  let told: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const status = msr.read(BANK + 4 * n + STATUS);
    if (!bit(status, Status.VALID)) continue;
    if (fatal || told++ < TOLD_MAX) tell(fatal ? error().str("  ") : warning(), n, status);
    msr.write(BANK + 4 * n + STATUS, 0);
  }
}

/** On each CPU, before CR4.MCE: tells of what is left from before this boot, and lets all banks report (16.8, Initialization). */
export function openMachineChecks(): void {
  const count = banks();
  if (count == 0) return;
  tellBanks(false);
  if (bit(msr.read(Msr.IA32_MCG_CAP), MCG_CTL_P)) msr.write(IA32_MCG_CTL, ~(<u64>0));
  for (let n: u32 = 0; n < count; n++) msr.write(BANK + 4 * n, ~(<u64>0));
}

/** Tells of what was corrected since. */
export function pollMachineChecks(): void {
  tellBanks(false);
}

/** What of a machine check there is to report: on the CPU that had it. */
export function reportMachineCheck(): void {
  if (banks() == 0) return;
  tellBanks(true);
  say(error().str("  machine check: IA32_MCG_STATUS ").hex(msr.read(IA32_MCG_STATUS)));
}
