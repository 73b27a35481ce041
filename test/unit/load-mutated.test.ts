/**
 * Files of every format with random damage: each is started or refused by name, without a trap and without a store outside of
 * guest RAM, and what the guest is told stands.
 */
import { expect, test, vi } from "vitest";
import { readKernelFile } from "../../tools/guest/kernel-file.ts";
import { bzImage } from "./fake/bzimage.ts";
import { vendors } from "./fake/cpu.ts";
import { elf, note, pvhNote } from "./fake/elf.ts";
import { Gpr } from "./fake/exit.ts";
import { fakeCpu } from "./fake/guest.ts";
import { abi } from "./fake/layout.ts";
import { type LoadError, load, loadErrors } from "./fake/load.ts";
import { FakeMonitor } from "./fake/monitor.ts";
import { multibootHeader } from "./fake/multiboot.ts";
import { Random, effort } from "./fake/pc.ts";

vi.setConfig({ testTimeout: effort > 1 ? 3_600_000 : 600_000 });

const RAM = 2 << 20;
const AT = 0x140000;
const numbers = new Random(1);
const code = (length: number) => Uint8Array.from({ length }, () => numbers.below(256));

/** Files that boot, and the places in them that matter most. */
const seeds: { file: Uint8Array; hot: [from: number, to: number][] }[] = [
  { file: bzImage(code(2000), { alignment: 0x1000, initSize: 0x8000 }), hot: [[0x1f1, 0x268]] },
  ...([32, 64] as const).map((bits) => {
    const parts = [
      { at: AT, bytes: code(700) },
      { at: 0x30000, bytes: code(300), room: 900 },
      { at: AT + 0x2000, bytes: code(10), room: 0x3000 },
    ];
    const notes = Buffer.concat([note("GNU", 3, code(20)), pvhNote(AT + 8, bits === 64 ? 8 : 4)]);
    const file = elf({ bits, parts, notes });
    const hot: [number, number][] = [
      [0, bits === 64 ? 64 + 4 * 56 : 52 + 4 * 32],
      [file.length - notes.length, file.length],
    ];
    return { file, hot };
  }),
  ...[0, 40].map((gap) => {
    const parts = [
      { at: AT, virtual: 0xc0140000, bytes: Buffer.concat([multibootHeader(3), code(500)]) },
      { at: 0x90000, bytes: code(300), room: 900 },
    ];
    const file = elf({ bits: 32, entry: 0xc0140010, parts, gap });
    return { file, hot: [[0, 52 + 2 * 32 + gap + 12]] as [number, number][] };
  }),
  ...[0, AT + 600].map((loadEnd) => {
    const file = code(1000);
    const bssEnd = loadEnd && loadEnd + 1000;
    file.set(multibootHeader(2, { header: AT + 20, load: AT, loadEnd, bssEnd, entry: AT + 100 }), 20);
    return { file, hot: [[20, 52]] as [number, number][] };
  }),
];

const telling = [0, 1, 2, 3, 4, 8, 0x10, 0x1f, 0x20, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
const words = [0, 1, 0xfff, 0x1000, 0x20fff, 0x21000, 0x9fc00, 0xfffff, 0x100000, RAM - 1, RAM, 0x7fffffff];
const moreWords = [...words, 0x80000000, 0xfffff000, 0xffffffff];

/** A damaged copy: bytes and words of the places that matter, or of others; perhaps cut, or with another file's start. */
function mutate(random: Random): Buffer {
  const seed = random.pick(seeds);
  let file = Buffer.from(seed.file);
  for (let n = random.below(4); n > 0; n--) {
    const [from, to] = random.below(8) ? random.pick(seed.hot) : [0, file.length];
    const at = from + random.below(to - from);
    if (random.below(2)) file[at] = random.below(2) ? random.pick(telling) : random.below(256);
    else if ((at & ~3) + 4 <= file.length)
      file.writeUInt32LE(random.below(3) ? random.pick(moreWords) : random.below(RAM), at & ~3);
  }
  // So that a multiboot header's own flags are reached.
  if (random.below(4) === 0) {
    for (let at = 0; at + 12 <= Math.min(file.length, 200); at += 4)
      if (file.readUInt32LE(at) === 0x1badb002)
        file.writeUInt32LE(-(0x1badb002 + file.readUInt32LE(at + 4)) >>> 0, at + 8);
  }
  if (random.below(8) === 0) file = file.subarray(0, 1 + random.below(file.length));
  if (random.below(32) === 0)
    file.set(
      random
        .pick(seeds)
        .file.subarray(0, 1 + random.below(600))
        .subarray(0, file.length),
    );
  return file;
}

/** A monitor that is put back to its start for each file. */
class Bench {
  readonly machine: FakeMonitor;
  private readonly fresh: Uint8Array;

  constructor(readonly cpu: ReturnType<typeof fakeCpu>) {
    this.machine = new FakeMonitor(cpu, { ram: RAM, commandLine: "quiet" });
    this.fresh = this.linear.slice();
  }

  private get linear(): Uint8Array {
    return this.machine.bytes(0, this.machine.memory.byteLength);
  }

  /** Where root puts it: returns the address of the initrd. */
  put(file: Uint8Array, initrd: Uint8Array | undefined): number {
    const { machine } = this;
    this.linear.set(this.fresh);
    machine.ram.bytes.fill(0xcc, 0, RAM);
    machine.ram.lost = 0;
    const initrdAt = (RAM - (initrd?.length ?? 0)) & ~0xfff;
    const at = (initrdAt - file.length) & ~0xfff;
    machine.ram.put(at, file);
    if (initrd) machine.ram.put(initrdAt, initrd);
    const set = (field: string, value: number) =>
      machine.memory.setBigUint64(abi("VM_INFO") + abi(`VMINFO_${field}`), BigInt(value), true);
    set("KERNEL_ADDRESS", at);
    set("KERNEL_SIZE", file.length);
    set("INITRD_ADDRESS", initrdAt);
    set("INITRD_SIZE", initrd?.length ?? 0);
    return initrdAt;
  }
}

/** What a started guest can rely on, whatever its file. */
function expectSound({ machine, cpu }: Bench, initrd: Uint8Array | undefined, initrdAt: number): void {
  const { bytes, view } = machine.ram;
  const isText = (at: number, text: string) =>
    Buffer.compare(bytes.subarray(at, at + text.length), Buffer.from(text, "latin1")) === 0;
  const protectedMode = (cpu.efer & 0x400n) === 0n;
  const info = Number(machine.gpr(protectedMode ? Gpr.rbx : Gpr.rsi));
  const isMultiboot = machine.gpr(Gpr.rax) === 0x2badb002n;
  const commandLine = isMultiboot ? info + 16 : protectedMode ? info + 24 : info + 0x228;
  const problems = [
    cpu.rip < 0x21000n && "it runs where the tables are",
    cpu.rip >= BigInt(RAM) && "it runs outside of RAM",
    !isText(view.getUint32(commandLine, true), "quiet\0") && "the command line is lost",
    !isText(0xe0000, "RSD PTR ") && "ACPI's root pointer is lost",
    view.getBigUint64(0x1018, true) !== 0x00cf93000000ffffn && "the GDT is lost",
    protectedMode && !isMultiboot && view.getUint32(info, true) !== 0x336ec578 && "its information is lost",
    initrd &&
      Buffer.compare(bytes.subarray(initrdAt, initrdAt + initrd.length), initrd) !== 0 &&
      "the initrd is lost",
    ...cpu.problems,
  ];
  const found = problems.filter(Boolean);
  if (found.length > 0) throw new Error(found.join("; "));
}

/** On each vendor. */
const files = effort > 1 ? 1_000_000 : 5_000;
const initrd = code(300);

test.each(vendors)(`On %s ${files} damaged files are started or refused by name`, (vendor) => {
  const bench = new Bench(fakeCpu(vendor));
  const random = new Random(2026);
  const refused = new Map<LoadError, number>();
  let started = 0;
  for (let i = 0; i < files; i++) {
    const file = mutate(random);
    const given = random.below(2) ? initrd : undefined;
    const initrdAt = bench.put(file, given);
    try {
      const { error } = load(bench.machine);
      if (bench.machine.ram.lost > 0) throw new Error("a store outside of guest RAM");
      if (error !== undefined) refused.set(error, (refused.get(error) ?? 0) + 1);
      else {
        started++;
        expectSound(bench, given, initrdAt);
        // scripts/boot refuses early what the monitor would refuse, and nothing else.
        readKernelFile("kernel", file);
      }
    } catch (error) {
      throw new Error(`file ${i}: ${String(error)}\n${file.toString("hex")}`, { cause: error });
    }
  }
  expect(started).toBeGreaterThan(files / 10);
  // Every refusal is reached.
  expect(loadErrors.filter((name) => !refused.has(name))).toEqual([]);
});
