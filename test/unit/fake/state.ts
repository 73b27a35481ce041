/** Guest states that a VM entry takes (SDM Vol. 3C 27.3.1), in every mode that a guest can be in. */
import type { Random } from "./pc.ts";

export const modes = [
  "real",
  "virtual-8086",
  "protected",
  "32-bit paging",
  "PAE",
  "compatibility",
  "64-bit",
] as const;
export type Mode = (typeof modes)[number];

export type Fields = Map<number, bigint>;

/** The fields of a segment register, by its number: ES, CS, SS, DS, FS, GS, LDTR, TR. */
export const Field = {
  selector: (n: number) => 0x800 + n * 2,
  base: (n: number) => 0x6806 + n * 2,
  limit: (n: number) => 0x4800 + n * 2,
  rights: (n: number) => 0x4814 + n * 2,
};

const ES = 0;
const CS = 1;
const SS = 2;
const GS = 5;
const LDTR = 6;
const TR = 7;

const unusable = 0x10000;

function setSegment(
  fields: Fields,
  n: number,
  selector: number,
  base: number,
  limit: number,
  rights: number,
): void {
  fields.set(Field.selector(n), BigInt(selector));
  fields.set(Field.base(n), BigInt(base));
  fields.set(Field.limit(n), BigInt(limit));
  fields.set(Field.rights(n), BigInt(rights));
}

/** CR0, CR4 and EFER of a mode. */
function controls(mode: Mode): [cr0: bigint, cr4: bigint, efer: bigint] {
  switch (mode) {
    case "real":
      return [0x30n, 0n, 0n];
    case "virtual-8086":
    case "protected":
      return [0x31n, 0n, 0n];
    case "32-bit paging":
      return [0x80010033n, 0x10n, 0n];
    case "PAE":
      return [0x80010033n, 0x20n, 0x800n];
    default:
      return [0x80050033n, 0x200a0n, 0xd01n];
  }
}

/** A usual state of the mode, at CPL 0 but for virtual-8086 mode. */
export function guestState(mode: Mode): Fields {
  const long = mode === "compatibility" || mode === "64-bit";
  const small = mode === "real" || mode === "virtual-8086";
  const [cr0, cr4, efer] = controls(mode);
  const fields: Fields = new Map([
    [0x4012, long ? 0x204n : 4n],
    [0x4016, 0n],
    [0x2800, 0xffffffffffffffffn],
    [0x2802, 0n],
    [0x2804, 0x0007040600070406n],
    [0x2806, efer],
    [0x6800, cr0],
    [0x6802, 0x1000n],
    [0x6804, cr4 | 0x2000n],
    [0x6816, 0x2000n],
    [0x4810, 0xffffn],
    [0x6818, 0x3000n],
    [0x4812, 0x3ffn],
    [0x681a, 0x400n],
    [0x681c, 0x8000n],
    [0x681e, 0x7c00n],
    [0x6820, mode === "virtual-8086" ? 0x20202n : 0x202n],
    [0x6822, 0n],
    [0x6824, 0n],
    [0x6826, 0n],
    [0x482a, 0n],
    [0x4824, 0n],
    [0x4826, 0n],
  ]);
  for (let i = 0; i < 4; i++) fields.set(0x280a + i * 2, mode === "PAE" ? BigInt(0x4001 + i * 0x1000) : 0n);
  for (let n = ES; n <= GS; n++) {
    if (small) setSegment(fields, n, 0x100, 0x1000, 0xffff, mode === "real" ? 0x93 : 0xf3);
    else
      setSegment(fields, n, 0x18, 0, 0xffffffff, n === CS ? (mode === "64-bit" ? 0xa09b : 0xc09b) : 0xc093);
  }
  setSegment(fields, LDTR, 0, 0, 0, unusable);
  setSegment(fields, TR, 0x20, 0x5000, 0x67, 0x8b);
  return fields;
}

/** A state of the mode in which what may vary does. */
export function randomState(mode: Mode, random: Random): Fields {
  const fields = guestState(mode);
  const long = mode === "compatibility" || mode === "64-bit";
  const flag = (n: number) => (random.below(2) ? 1n << BigInt(n) : 0n);
  const cpl = mode === "virtual-8086" ? 3 : mode === "real" ? 0 : random.pick([0, 3]);
  const address = () =>
    long && random.below(2)
      ? 0xffff800000000000n + BigInt(random.below(2 ** 31))
      : BigInt(random.below(2 ** 31));
  if (mode !== "real" && mode !== "virtual-8086") {
    for (let n = ES; n <= GS; n++) {
      const code = n === CS ? (mode === "64-bit" ? 0xa09b : random.pick([0x9b, 0xc09b])) : 0;
      let rights = code || random.pick([0x93, 0xc093, 0xc091, 0xc09b, 0xc09f, unusable]);
      if (n === SS) rights = random.pick([0x93, 0xc093, 0xc097, unusable]);
      // DPL is SS's and CS's own even of an unusable SS.
      if (n === CS || n === SS || rights !== unusable) rights |= cpl << 5;
      const limit = rights & 0x8000 ? random.below(0x100000) * 0x1000 + 0xfff : random.below(0x100000);
      setSegment(
        fields,
        n,
        random.below(0x1000) * 8 + cpl,
        n === CS ? 0 : random.below(2 ** 31),
        limit,
        rights,
      );
      if (n >= 4) fields.set(Field.base(n), address());
    }
    if (random.below(2))
      setSegment(fields, LDTR, random.below(0x1000) * 8, random.below(2 ** 31), 0x3ff, 0x82);
    if (!long && random.below(2)) fields.set(Field.rights(TR), 0x83n);
  }
  fields.set(0x681e, mode === "64-bit" ? address() : BigInt(random.below(2 ** 31)));
  fields.set(0x681c, address());
  for (const base of [0x6816, 0x6818, 0x6824, 0x6826]) fields.set(base, address());
  // CF, PF, AF, ZF, SF, TF, IF, DF, OF, RF, AC, ID
  let rflags = 2n | (mode === "virtual-8086" ? 1n << 17n : 0n);
  for (const n of [0, 2, 4, 6, 7, 8, 9, 10, 11, 16, 18, 21]) rflags |= flag(n);
  fields.set(0x6820, rflags);
  // MP, EM, TS, AM; VME, PVI, TSD, DE, OSFXSR, OSXMMEXCPT
  for (const n of [1, 2, 3, 18]) fields.set(0x6800, fields.get(0x6800)! | flag(n));
  for (const n of [0, 1, 2, 3, 9, 10]) fields.set(0x6804, fields.get(0x6804)! | flag(n));
  const choices = [0n, 8n, ...(rflags & 0x200n ? [1n, 9n] : []), 2n, 10n];
  const blocking = random.pick(choices);
  fields.set(0x4824, blocking);
  // Blocking by STI or MOV SS holds back the single step that TF asks for.
  if (blocking & 3n) fields.set(0x6822, rflags & 0x100n ? 0x4000n : 0n);
  else if (random.below(4) === 0) fields.set(0x6822, random.pick([0x1001n, 0x4000n, 0x5008n]));
  return fields;
}
