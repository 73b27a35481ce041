/**
 * ACPI tables with seeded damage. Whatever is in them, root ends reading them, reads no memory that is not there, says of what is wrong
 * in a few lines that each name a table, and makes the same table of what the machine offers as long as it had any.
 */
import { describe, expect, test } from "vitest";
import { fixChecksum, rsdp, rsdt, xsdt } from "./fake/firmware.ts";
import { Random } from "./fake/pc.ts";
import { BASE, Surveyor } from "./fake/surveyor.ts";
import { oneOfEach, realSets, realTables, signatureOf } from "./fake/tables.ts";

/** Mutated tables. */
const TABLES = process.env["NIGHTLY"] ? 1_000_000 : 20_000;
const BATCHES = 10;
const ROOT = 0xe1000;
const FIRST = 0xe2000;

/** A machine's tables in memory: where each is. */
function place(surveyor: Surveyor, tables: Uint8Array[]): number[] {
  let next = FIRST;
  return tables.map((bytes) => {
    const at = next;
    surveyor.memory.set(bytes, at - BASE);
    next += (bytes.length + 15) & ~15;
    return at;
  });
}

/** Where the DSDT of a set will be, if the FADT is first and the DSDT second in it. */
const dsdtOf = (tables: Uint8Array[]) => FIRST + ((tables[0]!.length + 15) & ~15);

function real(set: (typeof realSets)[number]): Buffer[] {
  const tables = realTables(set);
  const [fadt] = tables as [Buffer];
  const dsdt = dsdtOf(tables);
  fadt.writeUInt32LE(dsdt, 40);
  if (fadt.length >= 148) fadt.writeBigUInt64LE(BigInt(dsdt), 140);
  fixChecksum(fadt, 9);
  return tables;
}

const small = oneOfEach(0);
const sets = [oneOfEach(dsdtOf(small)), ...realSets.map(real)];

/** Values that lengths, counts and pointers are wrong by. */
function odd(random: Random, length: number): number {
  return random.pick([
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    length & 0xff,
    (length - 1) & 0xff,
    random.below(256),
  ]);
}

function damage(random: Random, bytes: Buffer): Buffer {
  const out = Buffer.from(bytes);
  for (let n = 1 + random.below(4); n > 0; n--) {
    // The header and the start of what follows are where lengths are.
    const at = random.below(3) === 0 ? random.below(out.length) : random.below(Math.min(out.length, 80));
    if (random.below(6) === 0 && at + 4 <= out.length)
      out.writeUInt32LE(
        random.pick([0, 35, 36, 0xfffff, 0x100000, 0x7fffffff, 0xffffffff, ROOT, FIRST, out.length + 1]),
        at,
      );
    else out[at] = odd(random, out.length);
  }
  const claimed = out.readUInt32LE(4);
  if (random.below(8) !== 0)
    fixChecksum(out, 9, claimed >= 36 && claimed <= out.length ? claimed : out.length);
  return out;
}

/** One run: how many tables were damaged, and what root made of them. */
function run(
  surveyor: Surveyor,
  seed: number,
): { damaged: number; text: string; found: ReturnType<Surveyor["survey"]> } {
  const random = new Random(seed);
  // DSDTs of real machines are long, and one of its bytes is as good as the other.
  const set = random.below(40) === 0 ? sets[1 + random.below(realSets.length)]! : sets[0]!;
  surveyor.memory.fill(0);
  let damaged = 0;
  const tables = set.map((bytes) => {
    if (random.below(4) === 0) return bytes;
    damaged++;
    return damage(random, bytes);
  });
  const places = place(surveyor, tables).filter((_, i) => signatureOf(set[i]!) !== "DSDT");
  for (let n = random.below(3); n > 0; n--)
    places[random.below(places.length)] = random.pick([
      0,
      ROOT,
      ROOT + 4,
      FIRST + 1,
      0xfffffff0,
      0xffffffff,
      BASE - 4,
    ]);
  let list: Uint8Array = random.below(2) ? xsdt(...places.map(BigInt)) : rsdt(...places);
  if (random.below(4) === 0) {
    damaged++;
    list = damage(random, Buffer.from(list));
  }
  surveyor.memory.set(list, ROOT - BASE);
  const root = signatureOf(list) === "XSDT" ? rsdp(0, BigInt(ROOT)) : rsdp(ROOT);
  if (random.below(20) === 0) root[random.below(root.length)] = random.below(256);
  const found = surveyor.survey(root);
  return { damaged, found, text: [...found.warnings, ...found.rows].join("\n") };
}

describe("Damaged tables", () => {
  test.each(Array.from({ length: BATCHES }, (_, i) => [i]))("batch %i", { timeout: 3_600_000 }, (batch) => {
    const surveyor = new Surveyor();
    let done = 0;
    const kinds = new Set<string>();
    for (let n = 0; done < TABLES / BATCHES; n++) {
      const seed = n * BATCHES + batch + 1;
      const { damaged, found, text } = run(surveyor, seed);
      done += damaged;
      const say = `seed ${seed}\n${text}`;
      expect(found.warnings.length, say).toBeLessThanOrEqual(9);
      for (const line of found.warnings) expect(line, say).toMatch(/^\(tv\) ACPI: [ -~]+$/);
      for (const line of found.rows) expect(line.length, say).toBeLessThanOrEqual(74);
      expect(found.rows.at(-1), say).toMatch(/^unknown {12}this machine: |^ {19}\S/);
      for (const line of found.warnings) kinds.add(line.replace(/0x[0-9a-f]+/g, "N").slice(11));
    }
    // It is damage of many kinds that was met, and not the same one again and again.
    expect(kinds.size).toBeGreaterThan(12);
  });
});

describe("Undamaged", () => {
  test.each(sets.map((set, i): [string, Buffer[]] => [i === 0 ? "one of each" : realSets[i - 1]!, set]))(
    "%s: no warning",
    (_, set) => {
      const surveyor = new Surveyor();
      const places = place(surveyor, set).filter((_, i) => signatureOf(set[i]!) !== "DSDT");
      surveyor.memory.set(xsdt(...places.map(BigInt)), ROOT - BASE);
      const { warnings, rows } = surveyor.survey(rsdp(0, BigInt(ROOT)));
      expect(warnings).toEqual([]);
      expect(rows.join("\n")).toContain("power-off: by ACPI");
    },
  );
});
