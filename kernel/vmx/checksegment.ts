/** 27.3.1.2, Checks on Guest Segment Registers (SDM Vol. 3C). */
import { bit, bits } from "../lib/bits";
import { Cr0 } from "../x86/cr";
import { CS, LDTR, SS, TR, base, check, isCanonical, limit, must, rights, selector } from "./rule";

const UNUSABLE: u64 = 1 << 16;
/** Reserved bits of access rights. */
const RESERVED_RIGHTS: u64 = 0xfffe0f00;

/** G and the limit fit: its low 12 bits are ones with G, its high 12 bits zeros without. */
function granularityFits(n: u32): bool {
  const g = bit(rights(n), 15);
  const l = limit(n);
  if ((l & 0xfff) != 0xfff && g) return false;
  return l >> 20 == 0 || g;
}

export function checkSegments(): void {
  const cs = rights(CS);
  const ss = rights(SS);
  must((selector(TR) & 4) == 0, "TR: its selector is in the LDT");
  must((rights(LDTR) & UNUSABLE) != 0 || (selector(LDTR) & 4) == 0, "LDTR: its selector is in the LDT");
  must(
    isCanonical(base(4)) && isCanonical(base(5)) && isCanonical(base(TR)),
    "FS, GS or TR: base not canonical",
  );
  must(base(CS) >> 32 == 0, "CS: base above 4 GiB");
  for (let n: u32 = 0; n < 4; n++) {
    if (n != CS && !(rights(n) & UNUSABLE)) must(base(n) >> 32 == 0, "ES, SS or DS: base above 4 GiB");
  }
  if (check.virtual8086) {
    for (let n: u32 = 0; n < 6; n++) {
      must(base(n) == selector(n) << 4, "virtual-8086: a base is not its selector * 16");
      must(limit(n) == 0xffff, "virtual-8086: a limit is not FFFFh");
      must(rights(n) == 0xf3, "virtual-8086: access rights are not F3h");
    }
  } else {
    const type = cs & 15;
    const real = (check.cr0 & Cr0.PE) == 0;
    // Unrestricted guest: 3 as well.
    must(
      type == 3 || type == 9 || type == 11 || type == 13 || type == 15,
      "CS: type is not that of accessed code",
    );
    must(bit(cs, 4) && bit(cs, 7), "CS: S or P is 0");
    const dpl = bits(cs, 6, 5);
    if (type == 3) must(dpl == 0, "CS: DPL is not 0 with a data type");
    if (type == 9 || type == 11) must(dpl == bits(ss, 6, 5), "CS: DPL is not that of SS");
    if (type == 13 || type == 15) must(dpl <= bits(ss, 6, 5), "CS: DPL is above that of SS");
    must(!(check.long != 0 && bit(cs, 13) && bit(cs, 14)), "CS: L and D are both 1");
    must(granularityFits(CS), "CS: G does not fit the limit");
    must((cs & RESERVED_RIGHTS) == 0, "CS: reserved access rights");
    if (!(ss & UNUSABLE)) {
      const data = ss & 15;
      must(data == 3 || data == 7, "SS: type is not that of writable data");
      must(bit(ss, 4) && bit(ss, 7), "SS: S or P is 0");
      must(granularityFits(SS), "SS: G does not fit the limit");
      must((ss & RESERVED_RIGHTS) == 0, "SS: reserved access rights");
    }
    if (type == 3 || real)
      must(bits(ss, 6, 5) == 0, "SS: DPL is not 0 in real mode or with CS of a data type");
    for (let n: u32 = 0; n < 6; n++) {
      const r = rights(n);
      if (n == CS || n == SS || r & UNUSABLE) continue;
      must(bit(r, 0), "a data segment: not accessed");
      must(!bit(r, 3) || bit(r, 1), "a data segment: code that is not readable");
      must(bit(r, 4) && bit(r, 7), "a data segment: S or P is 0");
      must(granularityFits(n), "a data segment: G does not fit the limit");
      must((r & RESERVED_RIGHTS) == 0, "a data segment: reserved access rights");
    }
  }
  const tr = rights(TR);
  must((tr & 15) == 11 || (!check.long && (tr & 15) == 3), "TR: type is not that of a busy TSS");
  must(!bit(tr, 4) && bit(tr, 7) && !(tr & UNUSABLE), "TR: not a usable system segment");
  must(granularityFits(TR), "TR: G does not fit the limit");
  must((tr & RESERVED_RIGHTS) == 0, "TR: reserved access rights");
  const ldtr = rights(LDTR);
  if (!(ldtr & UNUSABLE)) {
    must((ldtr & 15) == 2 && !bit(ldtr, 4) && bit(ldtr, 7), "LDTR: not an LDT");
    must(granularityFits(LDTR), "LDTR: G does not fit the limit");
    must((ldtr & RESERVED_RIGHTS) == 0, "LDTR: reserved access rights");
    must(isCanonical(base(LDTR)), "LDTR: base not canonical");
  }
}
