/** MSR bitmaps: which MSRs a guest reads and writes without exits. */
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import * as Msr from "../x86/msr";
import { capability } from "./capability";

const PAGE: u64 = 4096;

/**
 * Lets a guest read and write directly what entries and exits, or root when it changes vCPUs, switch; everything else
 * exits (25.6.9, MSR-Bitmap Address).
 */
export function fillMsrBitmap(page: Hpa): void {
  phys.fill(page, 0xff, PAGE);
  for (let i: u32 = 0; i < 2; i++) {
    const write = i * 2048;
    passMsr(page + write, Msr.IA32_SYSENTER_CS);
    passMsr(page + write, Msr.IA32_SYSENTER_ESP);
    passMsr(page + write, Msr.IA32_SYSENTER_EIP);
    passMsr(page + write, Msr.IA32_PAT);
    passMsr(page + write, Msr.IA32_STAR);
    passMsr(page + write, Msr.IA32_LSTAR);
    passMsr(page + write, Msr.IA32_CSTAR);
    passMsr(page + write, Msr.IA32_FMASK);
    passMsr(page + write, Msr.IA32_FS_BASE);
    passMsr(page + write, Msr.IA32_GS_BASE);
    passMsr(page + write, Msr.IA32_KERNEL_GS_BASE);
  }
  passMsr(page, Msr.IA32_TIME_STAMP_COUNTER);
  if (capability.hasRdtscp) {
    passMsr(page, Msr.IA32_TSC_AUX);
    passMsr(page + 2048, Msr.IA32_TSC_AUX);
  }
}

/** Clears the bit of an MSR: 0 to 1FFFh in the first KiB of a half, C0000000h to C0001FFFh in the second. */
export function passMsr(half: Hpa, index: u32): void {
  const at = half + (index >= 0xc0000000 ? 1024 : 0) + ((index & 0x1fff) >> 3);
  phys.store8(at, phys.load8(at) & ~(1 << (index & 7)));
}
