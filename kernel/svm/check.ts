/**
 * The checks that VMRUN makes of the guest's state (APM Vol. 2 15.5.1, Basic Operation: Canonicalization and Consistency
 * Checks), in code, to name the rule that a refused entry broke. Of controls that only root sets there are no checks.
 */
import { bit, bits } from "../lib/bits";
import { Hpa } from "../lib/addr";
import { Text } from "../lib/text";
import * as cpuid from "../machine/cpuid";
import { load32, load64 } from "../machine/phys";
import { Cr0, Cr4, Efer } from "../x86/cr";
import { Vector } from "../x86/vector";
import { capability } from "./capability";
import { VMEXIT_INVALID } from "./control";
import * as F from "./field";

const EFER_KNOWN: u64 = Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE | Efer.SVME | (1 << 13) | (1 << 14);
/** Of CR4, on any CPU; and beyond what CPUs have. */
const CR4_RESERVED: u64 = (1 << 13) | (1 << 14) | (1 << 15) | (1 << 19) | (~(<u64>0) << 24);


@unmanaged
class Check {
  rule: string | null;
}

const check = changetype<Check>(memory.data(8, 8));
const regs = memory.data(16, 4);

/** Notes the first rule that does not hold. */
function must(holds: bool, rule: string): void {
  if (!holds && check.rule == null) check.rule = rule;
}

function physicalBits(): u32 {
  cpuid.query(0x80000000, 0, regs);
  if (load<u32>(regs) < 0x80000008) return 36;
  cpuid.query(0x80000008, 0, regs);
  return load<u32>(regs) & 0xff;
}

function registers(vmcb: Hpa): void {
  const cr0 = load64(vmcb + F.CR0.offset);
  const cr4 = load64(vmcb + F.CR4.offset);
  const efer = load64(vmcb + F.EFER.offset);
  must((efer & Efer.SVME) != 0, "EFER: SVME is 0");
  must(!(cr0 & Cr0.NW) || (cr0 & Cr0.CD) != 0, "CR0: NW without CD");
  must(cr0 >> 32 == 0, "CR0: bits 63:32");
  // VMRUN sets LMA by itself: the field's says nothing.
  const long = (efer & Efer.LME) != 0 && (cr0 & Cr0.PG) != 0;
  must(!long || load64(vmcb + F.CR3.offset) >> physicalBits() == 0, "CR3: beyond the physical address width");
  must((cr4 & CR4_RESERVED) == 0, "CR4: a reserved bit");
  must(!(cr4 & Cr4.CET) || (cr0 & Cr0.WP) != 0, "CR4: CET without CR0.WP");
  must(load64(vmcb + F.DR6.offset) >> 32 == 0, "DR6: bits 63:32");
  must(load64(vmcb + F.DR7.offset) >> 32 == 0, "DR7: bits 63:32");
  must((efer & ~EFER_KNOWN) == 0, "EFER: a reserved bit");
  if (!long) return;
  must((cr4 & Cr4.PAE) != 0, "EFER.LME and CR0.PG without CR4.PAE");
  must((cr0 & Cr0.PE) != 0, "EFER.LME and CR0.PG without CR0.PE");
  const attributes = load64(vmcb + F.CS.offset) >> 16;
  must(
    !(cr4 & Cr4.PAE) || !bit(attributes, 9) || !bit(attributes, 10),
    "CS: L and D are both 1 in long mode",
  );
}

/** 15.20, Event Injection. */
function event(vmcb: Hpa): void {
  const e = load64(vmcb + F.EVENT_INJECTION.offset);
  if (!(e & F.EVENT_VALID)) return;
  const type = bits(e, 10, 8);
  const vector = e & 0xff;
  must(type == 0 || (type >= 2 && type <= 4), "the event to deliver: a reserved type");
  must(
    type != 3 || (vector < 32 && vector != Vector.NMI),
    "the event to deliver: no exception has this vector",
  );
}

function memoryTypes(vmcb: Hpa): void {
  const pat = load64(vmcb + F.PAT.offset);
  for (let i: u32 = 0; i < 8; i++) {
    const type = bits(pat, i * 8 + 7, i * 8);
    must(type < 8 && type != 2 && type != 3, "PAT: a reserved memory type");
  }
}

/** Why the last entry with the VMCB failed. */
export function explainEntry(vmcb: Hpa, out: Text): void {
  const code = load32(vmcb + F.EXIT_CODE.offset);
  if (code != VMEXIT_INVALID) {
    out.str("so its monitor says, but the last exit's code is ").hex(code);
    return;
  }
  check.rule = null;
  const asid = <u32>load64(vmcb + F.ASID.offset);
  must(asid > 0 && asid < capability.asids, "ASID: not one that this CPU has");
  registers(vmcb);
  event(vmcb);
  memoryTypes(vmcb);
  const rule = check.rule;
  out.str(rule != null ? rule : "none of the rules of APM Vol. 2 15.5.1 that are known here is broken");
}
