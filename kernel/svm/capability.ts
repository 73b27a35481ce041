/**
 * What this CPU's AMD-V offers (APM Vol. 3 Appendix E, CPUID Fn8000_000A), and the refusal by name of a CPU that lacks what
 * is needed. Next-RIP, decode assists, clean bits, flush by ASID and the pause filter are used where they are.
 */
import { bit } from "../lib/bits";
import { Text } from "../lib/text";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import * as Msr from "../x86/msr";

/** VM_CR (Vol. 2 15.30.1): EFER.SVME cannot be set; until the next reset, or with a key. */
const SVMDIS: u64 = 1 << 4;
const LOCK: u64 = 1 << 3;

/** Fn8000_000A EDX. */
export namespace Feature {
  export const NESTED_PAGING: u32 = 0;
  export const LBR_VIRTUALIZATION: u32 = 1;
  export const NEXT_RIP: u32 = 3;
  export const TSC_RATIO: u32 = 4;
  export const CLEAN_BITS: u32 = 5;
  export const FLUSH_BY_ASID: u32 = 6;
  export const DECODE_ASSISTS: u32 = 7;
  export const PAUSE_FILTER: u32 = 10;
  export const PAUSE_THRESHOLD: u32 = 12;
  export const AVIC: u32 = 13;
  export const VIRTUAL_GIF: u32 = 16;
}


@unmanaged
export class Capability {
  /** Number of ASIDs, 0, which is the host's, included. */
  asids: u32;
  features: u32;
  hasHugePages: u32;
  hasRdtscp: u32;
  hasInvpcid: u32;
  hasRdpru: u32;
  hasInvlpgb: u32;
  hasMcommit: u32;
  /** Nonzero: the CPU says what it has. */
  isTold: u32;

  has(feature: u32): bool {
    return bit(this.features, feature);
  }
  get hasNestedPaging(): bool {
    return bit(this.features, Feature.NESTED_PAGING);
  }
  get hasFlushByAsid(): bool {
    return bit(this.features, Feature.FLUSH_BY_ASID);
  }
  get hasTscRatio(): bool {
    return bit(this.features, Feature.TSC_RATIO);
  }
  get hasPauseFilter(): bool {
    return bit(this.features, Feature.PAUSE_FILTER);
  }
  get hasPauseThreshold(): bool {
    return bit(this.features, Feature.PAUSE_THRESHOLD);
  }
}

export const capability = changetype<Capability>(memory.data(40, 8));
const first = memory.data(40, 8);

if (offsetof<Capability>() > 40) ERROR("the capabilities do not fit");
const regs = memory.data(16, 4);

/** The highest leaf of a group is in EAX of its first one. */
function query(leaf: u32): bool {
  cpuid.query(leaf & 0xffff0000, 0, regs);
  const has = load<u32>(regs) >= leaf;
  if (has) cpuid.query(leaf, 0, regs);
  return has;
}

function ecx(n: u32): u32 {
  return (load<u32>(regs, 8) >> n) & 1;
}

/** Whether the CPU has AMD-V at all. */
export function isOffered(): bool {
  return query(0x80000001) && ecx(2) != 0;
}

/** Appends what is used of the features that a CPU may lack. */
export function describe(out: Text): Text {
  const c = capability;
  out.str(": ").dec(c.asids).str(" ASIDs");
  use(out, Feature.NEXT_RIP, "next RIP");
  use(out, Feature.DECODE_ASSISTS, "decode assists");
  use(out, Feature.CLEAN_BITS, "clean bits");
  use(out, Feature.FLUSH_BY_ASID, "flush by ASID");
  use(out, Feature.PAUSE_FILTER, "pause filter");
  spare(out, Feature.LBR_VIRTUALIZATION, "LBR virtualization");
  spare(out, Feature.TSC_RATIO, "TSC ratio");
  spare(out, Feature.AVIC, "AVIC");
  // Only guests with AMD-V of their own have a use for it.
  spare(out, Feature.VIRTUAL_GIF, "virtual GIF");
  return out;
}

function use(out: Text, feature: u32, name: string): void {
  if (bit(capability.features, feature)) out.str(", ").str(name);
}

function spare(out: Text, feature: u32, name: string): void {
  if (bit(capability.features, feature)) out.str(", ").str(name).str(" (present, not used)");
}

/** Whether the firmware has locked AMD-V off. */
export function isDisabled(): bool {
  return (msr.read(Msr.VM_CR) & (SVMDIS | LOCK)) == (SVMDIS | LOCK);
}

/** Whether the firmware allows AMD-V; allows it itself where the firmware has left that open. */
function enabled(why: Text): bool {
  const control = msr.read(Msr.VM_CR);
  if (!(control & SVMDIS)) return true;
  if (control & LOCK) {
    why.str("AMD-V disabled by firmware: VM_CR = ").hex(control);
    return false;
  }
  msr.write(Msr.VM_CR, control & ~SVMDIS);
  return true;
}

/** Reads what there is, and changes nothing. */
export function readCapabilities(): void {
  const c = capability;
  query(0x80000001);
  c.hasHugePages = (load<u32>(regs, 12) >> 26) & 1;
  c.hasRdtscp = (load<u32>(regs, 12) >> 27) & 1;
  c.hasInvpcid = query(7) ? (load<u32>(regs, 4) >> 10) & 1 : 0;
  if (query(0x80000008)) {
    const more = load<u32>(regs, 4);
    c.hasInvlpgb = (more >> 3) & 1;
    c.hasRdpru = (more >> 4) & 1;
    c.hasMcommit = (more >> 8) & 1;
  }
  c.isTold = query(0x8000000a) ? 1 : 0;
  if (!c.isTold) return;
  c.asids = load<u32>(regs, 4);
  c.features = load<u32>(regs, 12);
}

/** Reads what there is. False, with the reason in `why`, when this CPU cannot run guests. */
export function preflight(why: Text): bool {
  if (!enabled(why)) return false;
  readCapabilities();
  const c = capability;
  if (!c.isTold) {
    why.str("AMD-V's features (CPUID 8000000Ah): not told by this CPU");
    return false;
  }
  if (!c.hasNestedPaging) {
    why.str("nested paging (NPT): not offered by this CPU");
    return false;
  }
  if (c.asids < 2) {
    why.str("address space identifiers for guests: not offered by this CPU");
    return false;
  }
  return true;
}

/** Whether this CPU has what the boot CPU has, which is what all vCPUs are made for; if not, `why` says so. */
export function isAlike(why: Text): bool {
  memory.copy(first, changetype<usize>(capability), offsetof<Capability>());
  const able = preflight(why);
  const same = memory.compare(first, changetype<usize>(capability), offsetof<Capability>()) == 0;
  memory.copy(changetype<usize>(capability), first, offsetof<Capability>());
  if (able && !same) why.str("offers other features than the boot CPU");
  return able && same;
}
