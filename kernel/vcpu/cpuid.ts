/**
 * What the guest's CPUID says: the host's answers through an allow list of features, computed once into a table, so that
 * the exit is a lookup. SDM Vol. 2A, CPUID; APM Vol. 3 Appendix E.
 */
import { VCPU_AREA, VCPU_AREA_SIZE } from "../abi/address";
import { query } from "../machine/cpuid";
import { xcr0 } from "../machine/fpu";
import { Cr4 } from "../x86/cr";
import { crystalShift } from "../x86/crystal";
import { KVM_FEATURES, KVM_LEAF } from "./kvmclock";
import { ANSWER_OFFSET, CPUID_OFFSET, Next, Vcpu } from "./vcpu";


@unmanaged
class Answer {
  eax: u32;
  ebx: u32;
  ecx: u32;
  edx: u32;
}

const BASIC_MAX: u32 = 0x16;
const EXTENDED: u32 = 0x80000000;
const EXTENDED_MAX: u32 = 8;
const HYPERVISOR: u32 = 0x40000000;
const HYPERVISOR_MAX: u32 = 0x10;

/**
 * Groups of 32 answers each: leaves 0 to 1Fh, which differ by the vCPU and are in its area; 80000000h to 8000001Fh, then 40000000h to
 * 4000001Fh, which are here. Written before any vCPU runs, but for what each writes to its own leaf 1.
 */
const GROUP: u32 = 32;
const answers = memory.data(1024, 16);
/** Leaf Dh: subleaves 0 and 1, and one for each state component. */
const extendedState = memory.data(1024, 16);
const raw = changetype<Answer>(memory.data(16, 16));
const zero = changetype<Answer>(memory.data(16, 16));
const kvm = memory.data(32, 16);

// Leaf 1, ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, PCID, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, AVX, F16C, RDRAND
// of the host; x2APIC and the timer's TSC deadline are the monitor's own
const FEATURES_1C: u32 = 0x76da3203;
const APIC_FEATURES: u32 = (1 << 21) | (1 << 24);
const XSAVE: u32 = 1 << 26;
const OSXSAVE: u32 = 1 << 27;
const HYPERVISOR_PRESENT: u32 = 0x80000000;
// Leaf 1, EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT, PSE-36, CLFSH, MMX, FXSR, SSE, SSE2, SS
const FEATURES_1D: u32 = 0x0f8ba97f;
const APIC: u32 = 1 << 9;
/** There is more than one logical processor in the package. */
const HTT: u32 = 1 << 28;
/** Leaf 6, EAX: the APIC's timer never stops. */
const ARAT: u32 = 1 << 2;
// Leaf 7.0, EBX: FSGSBASE, TSC_ADJUST, BMI1, AVX2, SMEP, BMI2, ERMS, INVPCID, no FPU CS and DS, AVX-512 (F, DQ, IFMA,
// CD, BW, VL), RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA
const FEATURES_7B: u32 = 0xf1bf27ab;
const TSC_ADJUST: u32 = 1 << 1;
const INVPCID: u32 = 1 << 10;
// Leaf 7.0, ECX: AVX-512 VBMI, UMIP, VBMI2, GFNI, VAES, VPCLMULQDQ, VNNI, BITALG, VPOPCNTDQ
const FEATURES_7C: u32 = 0x00005f46;
// Leaf 7.0, EDX: fast short REP MOV
const FEATURES_7D: u32 = 1 << 4;
// Leaf D.1, EAX: XSAVEOPT, XSAVEC, XGETBV with ECX = 1
const FEATURES_D1: u32 = 7;
const XSAVEC: u32 = 1 << 1;
// Leaf 80000001h, ECX: LAHF, ABM, SSE4A, misaligned SSE, prefetches; EDX: SYSCALL, NX, 1 GiB pages, RDTSCP, LM
const FEATURES_X1C: u32 = 0x1e1;
const FEATURES_X1D: u32 = 0x2c100800;
const HUGE_PAGES: u32 = 1 << 26;
const RDTSCP: u32 = 1 << 27;
const INVARIANT_TSC: u32 = 1 << 8;
/** Leaf 80000001h, ECX: what leaf 1 says of logical processors is cores. */
const CMP_LEGACY: u32 = 1 << 1;


@unmanaged
class Features {
  /** CR4 bits that the offered features bring. */
  cr4: u64;
  /** Bits that XCR0 may have. */
  xcr0: u64;
  efer: u64;
  rdtscp: u32;
  /** Nonzero: 1 GiB pages. */
  hugePages: u32;
  /** The bits that a guest-physical address may have: MAXPHYADDR of them. */
  physicalMask: u64;
}


@unmanaged
class Topology {
  vcpus: u32;
  /** How many bits of an APIC ID tell them apart. */
  bits: u32;
}

const topology = changetype<Topology>(memory.data(8));

/** What the rest of the monitor must know about what it offers. */
export const features = changetype<Features>(memory.data(40, 8));

/** A basic leaf's answer of vCPU n, whose area is at `area`. */
function basic(area: usize, leaf: u32): Answer {
  return changetype<Answer>(area + CPUID_OFFSET + ((<usize>leaf) << 4));
}

/** Of basic leaves: vCPU 0's. */
function answer(leaf: u32): Answer {
  if (leaf < HYPERVISOR) return basic(VCPU_AREA, leaf & (GROUP - 1));
  const group: u32 = leaf >= EXTENDED ? 0 : 1;
  return changetype<Answer>(answers + ((<usize>(group * GROUP + (leaf & (GROUP - 1)))) << 4));
}

function stateAnswer(subleaf: u32): Answer {
  return changetype<Answer>(extendedState + ((<usize>subleaf) << 4));
}

function host(leaf: u32, subleaf: u32): Answer {
  query(leaf, subleaf, changetype<usize>(raw));
  return raw;
}

function copy(to: Answer, from: Answer): void {
  to.eax = from.eax;
  to.ebx = from.ebx;
  to.ecx = from.ecx;
  to.edx = from.edx;
}

function crystalHz(tscHz: u64): u32 {
  return <u32>(tscHz >> crystalShift(tscHz));
}

function buildBasic(tscHz: u64): void {
  copy(answer(0), host(0, 0));
  const most = answer(0).eax;
  // Leaf 15h tells the TSC's frequency: a guest that reads it need not calibrate.
  answer(0).eax = BASIC_MAX;
  const one = answer(1);
  copy(one, host(1, 0));
  one.ebx = (one.ebx & 0xff00) | ((1 << 16) << topology.bits); // CLFLUSH line size; logical processors
  one.ecx = (one.ecx & FEATURES_1C) | APIC_FEATURES | HYPERVISOR_PRESENT;
  one.edx = (one.edx & FEATURES_1D) | APIC | (topology.bits ? HTT : 0);
  answer(6).eax = ARAT;
  copy(answer(2), host(2, 0));
  if (most >= 7) {
    const seven = answer(7);
    copy(seven, host(7, 0));
    seven.eax = 0;
    seven.ebx = (seven.ebx & FEATURES_7B) | TSC_ADJUST;
    seven.ecx &= FEATURES_7C;
    seven.edx &= FEATURES_7D;
  }
  const crystal = answer(0x15);
  crystal.eax = 1;
  crystal.ebx = 1 << crystalShift(tscHz);
  crystal.ecx = crystalHz(tscHz);
  answer(0x16).eax = <u32>(tscHz / 1000000);
}

function buildExtendedState(): void {
  features.xcr0 = 1;
  if (!(answer(1).ecx & XSAVE)) return;
  const main = stateAnswer(0);
  copy(main, host(0xd, 0));
  features.xcr0 = ((<u64>main.eax) | ((<u64>main.edx) << 32)) & XCR0_KNOWN;
  main.eax = <u32>features.xcr0;
  main.edx = <u32>(features.xcr0 >> 32);
  copy(stateAnswer(1), host(0xd, 1));
  stateAnswer(1).eax &= FEATURES_D1;
  stateAnswer(1).ebx = 0;
  stateAnswer(1).ecx = 0;
  stateAnswer(1).edx = 0;
  main.ecx = LEGACY_AND_HEADER;
  for (let n: u32 = 2; n < 63; n++) {
    if (!((features.xcr0 >> n) & 1)) continue;
    copy(stateAnswer(n), host(0xd, n));
    main.ecx = max(main.ecx, stateAnswer(n).eax + stateAnswer(n).ebx);
  }
}

/** x87, SSE, AVX, AVX-512's three. */
const XCR0_KNOWN: u64 = 0xe7;

function buildExtended(hasRdtscp: bool): void {
  copy(answer(EXTENDED), host(EXTENDED, 0));
  const most = min(answer(EXTENDED).eax, EXTENDED + EXTENDED_MAX);
  answer(EXTENDED).eax = most;
  for (let leaf = EXTENDED + 1; leaf <= most; leaf++) copy(answer(leaf), host(leaf, 0));
  const one = answer(EXTENDED + 1);
  one.ecx &= FEATURES_X1C;
  one.edx &= FEATURES_X1D & (hasRdtscp ? ~0 : ~RDTSCP);
  features.rdtscp = one.edx & RDTSCP;
  features.hugePages = one.edx & HUGE_PAGES;
  const power = answer(EXTENDED + 7);
  power.eax = 0;
  power.ebx = 0;
  power.ecx = 0;
  power.edx &= INVARIANT_TSC;
  const sizes = answer(EXTENDED + 8);
  sizes.eax &= 0xffff;
  // Without the leaf: the processors of 36 bits that came before it.
  const physicalBits = sizes.eax ? sizes.eax & 0xff : 36;
  features.physicalMask = ((<u64>1) << physicalBits) - 1;
  sizes.ebx = 0;
  // AMD's: cores less one, and how many bits of an APIC ID they take.
  sizes.ecx = isAmd() ? (topology.vcpus - 1) | (topology.bits << 12) : 0;
  sizes.edx = 0;
  if (isAmd() && topology.bits) one.ecx |= CMP_LEGACY;
}

/** "cAMD", the end of the vendor's name. */
function isAmd(): bool {
  return answer(0).ecx == 0x444d4163;
}

function buildHypervisor(tscHz: u64): void {
  const first = answer(HYPERVISOR);
  first.eax = HYPERVISOR + HYPERVISOR_MAX;
  first.ebx = 0x65707954; // "Type"
  first.ecx = 0x6f736976; // "viso"
  first.edx = 0x00000072; // "r"
  // In kHz, where others put them too: the TSC's frequency, and what the local APIC's timer counts.
  answer(HYPERVISOR + HYPERVISOR_MAX).eax = <u32>(tscHz / 1000);
  answer(HYPERVISOR + HYPERVISOR_MAX).ebx = crystalHz(tscHz) / 1000;
  kvmAnswer(0).eax = KVM_LEAF + 1;
  kvmAnswer(0).ebx = 0x4b4d564b; // "KVMK"
  kvmAnswer(0).ecx = 0x564b4d56; // "VMKV"
  kvmAnswer(0).edx = 0x0000004d; // "M"
  kvmAnswer(1).eax = KVM_FEATURES;
}

/** The answers of a vCPU are the first one's, but for its APIC ID: leaves 1 and Bh. */
function buildOwn(n: u32): void {
  const area = <usize>(VCPU_AREA + n * VCPU_AREA_SIZE);
  if (n) memory.copy(area + CPUID_OFFSET, VCPU_AREA + CPUID_OFFSET, GROUP * 16);
  const one = basic(area, 1);
  one.ebx = (one.ebx & 0x00ffffff) | (n << 24);
  basic(area, 0xb).edx = n;
}

/**
 * Builds the tables from what the host offers and what the virtualization extension lets a guest use.
 */
export function buildCpuid(vcpus: u32, tscHz: u64, hasRdtscp: bool, hasInvpcid: bool): void {
  topology.vcpus = vcpus;
  topology.bits = 32 - clz(vcpus - 1);
  buildBasic(tscHz);
  if (!hasInvpcid) answer(7).ebx &= ~INVPCID;
  buildExtendedState();
  buildExtended(hasRdtscp);
  buildHypervisor(tscHz);
  features.cr4 = cr4Bits(answer(1), answer(7));
  features.efer = 0x501 | (answer(EXTENDED + 1).edx & (1 << 20) ? 0x800 : 0);
  for (let n: u32 = 0; n < vcpus; n++) buildOwn(n);
}

/** CR4 bits that a guest may set beside those that every CPU has. */
function cr4Bits(one: Answer, seven: Answer): u64 {
  let allowed: u64 = 0;
  if (one.ecx & XSAVE) allowed |= Cr4.OSXSAVE;
  if (one.ecx & (1 << 17)) allowed |= Cr4.PCIDE;
  if (seven.ebx & 1) allowed |= Cr4.FSGSBASE;
  if (seven.ebx & (1 << 7)) allowed |= Cr4.SMEP;
  if (seven.ebx & (1 << 20)) allowed |= Cr4.SMAP;
  if (seven.ecx & (1 << 2)) allowed |= Cr4.UMIP;
  return allowed;
}

/** CR4.OSXSAVE shows in leaf 1. */
export function noteOsxsave(v: Vcpu, on: bool): void {
  const one = basic(changetype<usize>(v), 1);
  one.ecx = on ? one.ecx | OSXSAVE : one.ecx & ~OSXSAVE;
}

/** A local APIC that is disabled does not show (SDM Vol. 3A 11.4.3). */
export function noteApic(v: Vcpu, on: bool): void {
  const one = basic(changetype<usize>(v), 1);
  one.edx = on ? one.edx | APIC : one.edx & ~APIC;
}

/** The processor's signature, which a reset leaves in EDX. */
export function signature(v: Vcpu): u32 {
  return basic(changetype<usize>(v), 1).eax;
}

/** Bytes of the XSAVE area's legacy region and header, and what a component may be aligned to (SDM Vol. 1 13.4). */
const LEGACY_AND_HEADER: u32 = 576;
const ALIGNED: u32 = 1 << 1;

/**
 * XCR0 shows in leaf Dh: the sizes of the enabled components' area, in the standard and in the compacted format. The CPU is
 * asked for it: not every one exits at XSETBV that should (QEMU's does not).
 */
function noteXcr0(own: Answer, subleaf: u32): void {
  if (!(answer(1).ecx & XSAVE)) return;
  const value = xcr0();
  let standard = LEGACY_AND_HEADER;
  let compacted = LEGACY_AND_HEADER;
  for (let n: u32 = 2; n < 63; n++) {
    if (!((value >> n) & 1)) continue;
    const component = stateAnswer(n);
    standard = max(standard, component.eax + component.ebx);
    if (component.ecx & ALIGNED) compacted = (compacted + 63) & ~63;
    compacted += component.eax;
  }
  if (subleaf == 0) own.ebx = standard;
  else if (own.eax & XSAVEC) own.ebx = compacted;
}

/** Basic leaves whose answer depends on nothing but the leaf. */
const PLAIN: u32 = ~((1 << 4) | (1 << 7) | (1 << 0xb) | (1 << 0xd));

/** Whether answerPlain() knows the leaf. */
export function isPlain(leaf: u32): bool {
  return leaf < GROUP && ((PLAIN >> leaf) & 1) != 0;
}

/** What a guest of KVM looks for, behind the hypervisor's own leaves (kvmclock.ts). */
function kvmAnswer(n: u32): Answer {
  return changetype<Answer>(kvm + ((<usize>n) << 4));
}

/** Leaf 4: caches. Cores have their own, but for what is on the third level, which all share. */
function lookUpCache(v: Vcpu, subleaf: u32): Answer {
  const a = basic(changetype<usize>(v), 4);
  query(4, subleaf, changetype<usize>(a));
  if (!(a.eax & 31)) return a;
  const others: u32 = (1 << topology.bits) - 1;
  const shared: u32 = ((a.eax >> 5) & 7) >= 3 ? others : 0;
  a.eax = (a.eax & 0x3fff) | (shared << 14) | (others << 26);
  return a;
}

/** Leaf Bh: threads of a core, of which there is one, and cores of the package (SDM Vol. 3A 9.9.1, Hierarchical Mapping of Shared Resources). */
function lookUpTopology(v: Vcpu, subleaf: u32): Answer {
  const a = basic(changetype<usize>(v), 0xb);
  const level: u32 = subleaf < 2 ? subleaf + 1 : 0;
  a.eax = level == 2 ? topology.bits : 0;
  a.ebx = level == 2 ? topology.vcpus : level;
  a.ecx = (level << 8) | (subleaf & 0xff);
  return a;
}

/** Leaves 4, 7, Bh and Dh, and what is past a group's end. An unknown leaf is answered by zeros. */
function lookUp(v: Vcpu, leaf: u32, subleaf: u32): Answer {
  if (leaf == 4) return lookUpCache(v, subleaf);
  if (leaf == 0xb) return lookUpTopology(v, subleaf);
  if (leaf == 7) return subleaf == 0 ? answer(7) : zero;
  if (leaf == 0xd) {
    if (subleaf > 62) return zero;
    const own = changetype<Answer>(changetype<usize>(v) + ANSWER_OFFSET);
    copy(own, stateAnswer(subleaf));
    if (subleaf < 2) noteXcr0(own, subleaf);
    return own;
  }
  if (leaf < GROUP) return basic(changetype<usize>(v), leaf);
  if (leaf - KVM_LEAF < 2) return kvmAnswer(leaf - KVM_LEAF);
  return (leaf & 0x3fffffff) < GROUP && leaf >= HYPERVISOR && leaf < 0xc0000000 ? answer(leaf) : zero;
}

function give(v: Vcpu, a: Answer): void {
  v.rax = a.eax;
  v.rbx = a.ebx;
  v.rcx = a.ecx;
  v.rdx = a.edx;
}

/** CPUID of a plain leaf, but for the step to the next instruction. */
export function answerPlain(v: Vcpu, leaf: u32): void {
  give(v, basic(changetype<usize>(v), leaf));
}

export function onCpuid(v: Vcpu): u32 {
  give(v, lookUp(v, <u32>v.rax, <u32>v.rcx));
  v.skip();
  return Next.Resume;
}
