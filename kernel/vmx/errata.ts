/** Errata of Intel's CPUs that concern VT-x, by CPUID's signature. What is affected is not used. */
import { signature } from "../x86/signature";

/**
 * The preemption timer may count too fast or not at all: Intel's Specification Updates, errata AAJ124 (Core i7-900), AAK139 (Xeon
 * 5500), AAM126 (Xeon 3500), AAN92 (Core i5-700), AAO95 (Xeon 3400), AAP86 (mobile i7), AAT59, AAU65, AAX65 (Westmere), BA86
 * (Xeon 7500); 306A8h is known to Linux only (vmx.c).
 */
export function hasBrokenPreemptionTimer(): bool {
  switch (signature()) {
    case 0x106a0:
    case 0x106a1:
    case 0x106a4:
    case 0x106a5:
    case 0x106e5:
    case 0x20652:
    case 0x20655:
    case 0x206e6:
    case 0x306a8:
      return true;
    default:
      return false;
  }
}
