/** The bare machine's CPU as it describes itself, and where the hypervisor's image is in its memory. */
import { hostCpuid } from "./monitor.ts";

/** VT-x with everything that the hypervisor wants. A test takes bits away. */
export function vmxMsrs(): Record<number, bigint> {
  const all = 0xffffffff_00000000n;
  return {
    0x1b: 0xfee00900n,
    0x3a: 5n,
    0x277: 0x0007040600070406n,
    0x480: (1n << 55n) | (6n << 50n) | 0x11e57ed0n,
    0x485: 1n << 5n,
    0x486: 0x80000021n,
    0x487: 0xffffffffn,
    0x488: 0x2000n,
    0x489: 0x3767ffn,
    0x48b: all,
    0x48c: 0xf0106734141n,
    0x48d: all | 0x16n,
    0x48e: all | 0x4006172n,
    0x48f: all | 0x36dfbn,
    0x490: all | 0x11fbn,
    0xc0000080: 0xd00n,
  };
}

/** SYSCALL's registers, KERNEL_GS_BASE, TSC_AUX: they stay across entries and exits. */
export function switchedMsrs(): Record<number, bigint> {
  const numbers = [0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102, 0xc0000103];
  return Object.fromEntries(numbers.map((n) => [n, 0n]));
}

/** The host's CPUID with VT-x, and no x2APIC so that the APIC's page is in use too. */
export function vtxCpuid(leaf: number, subleaf: number): [number, number, number, number] {
  const answer = hostCpuid(leaf, subleaf);
  if (leaf === 1) answer[2] = (answer[2] | (1 << 5)) & ~(1 << 21);
  if (leaf === 0x15) return [1, 1, 50_000_000, 0];
  return answer;
}

/** AMD's: no MSR of VT-x, and none of Intel's alone. */
export function svmMsrs(): Record<number, bigint> {
  return {
    0x1b: 0xfee00900n,
    0x277: 0x0007040600070406n,
    0xc0000080: 0xd00n,
    // VM_CR and VM_HSAVE_PA.
    0xc0010114: 0n,
    0xc0010117: 0n,
  };
}

export type Cpuid = (leaf: number, subleaf: number) => [number, number, number, number];

/** What a CPU's AMD-V has. */
export interface SvmCpu {
  /** EBX and EDX of CPUID 8000000Ah. */
  asids: number;
  features: number;
  /** Of CPUID 80000008h, EBX. */
  more: number;
}

/** Nested paging, LBR virtualization, next RIP, clean bits, flush by ASID, decode assists, pause filter, AVIC, virtual GIF. */
export const svmFeatures = [0, 1, 3, 5, 6, 7, 10, 12, 13, 16].reduce((sum, n) => sum | (1 << n), 0);

/** The host's CPUID with AMD-V, and no x2APIC so that the APIC's page is in use too. */
export function amdCpuid(cpu: Partial<SvmCpu> = {}): Cpuid {
  const { asids = 16, features = svmFeatures, more = 0 } = cpu;
  return (leaf, subleaf) => {
    const answer = hostCpuid(leaf, subleaf);
    switch (leaf >>> 0) {
      case 0:
        return [0x16, 0x68747541, 0x444d4163, 0x69746e65];
      case 1:
        answer[2] &= ~((1 << 5) | (1 << 21));
        return answer;
      case 0x15:
        return [1, 1, 50_000_000, 0];
      case 0x80000000:
        return [0x8000000a | 0, 0x68747541, 0x444d4163, 0x69746e65];
      case 0x80000001:
        answer[2] |= 1 << 2;
        return answer;
      case 0x80000008:
        answer[1] = more;
        return answer;
      case 0x8000000a:
        return [1, asids, 0, features];
      default:
        return answer;
    }
  };
}

/** What a CPUID says of AMD-V. */
export function svmOf(cpuid: Cpuid): SvmCpu {
  const [, asids, , features] = cpuid(0x8000000a, 0);
  return { asids, features, more: cpuid(0x80000008, 0)[1] };
}

export type Vendor = "VT-x" | "AMD-V";

/** For describe.each. */
export const vendors: Vendor[] = ["VT-x", "AMD-V"];

/** A CPU with everything that the extension has. */
export function cpuidOf(vendor: Vendor): Cpuid {
  return vendor === "VT-x" ? vtxCpuid : amdCpuid();
}

/** Where the image's sections are. */
export const image = {
  start: 0x200000n,
  textEnd: 0x210000n,
  readOnlyEnd: 0x214000n,
  perCpuEnd: 0x21a000n,
  dataEnd: 0x22c000n,
  end: 0x600000n,
  stackGuard: 0x220000n,
  rootMemory: 0x400000n,
  perCpu: 0x214000n,
  idt: 0x215000n,
  trampoline: 0x200800n,
};
