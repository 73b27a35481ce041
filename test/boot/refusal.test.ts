/** CPUs that cannot run guests: each is refused by the name of what it lacks, on the serial port and on the screen. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { assembleGuest, bootImage, guestFile, places, triesAll, vtx } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

test.each([
  ["bochs", "p4_prescott_celeron_336", "neither VT-x nor AMD-V: not offered by this CPU"],
  ["bochs", "core2_penryn_t9600", "EPT"],
  ["bochs", "corei5_lynnfield_750", "unrestricted guest: not offered by this CPU"],
  ["qemu-tcg", "qemu64,-svm", "neither VT-x nor AMD-V: not offered by this CPU"],
  ["qemu-tcg", "max,+svm,-npt", "nested paging (NPT): not offered by this CPU"],
] as const)("On %s a %s is refused by the name of what it lacks", async (machine, cpu, name) => {
  const { log, screen } = await bootImage({ machine, cpu, options: "console=screen" });
  const refusal = log.find((line) => line.startsWith("refused"));
  expect(refusal).toContain(name);
  expect(screen).toContain(`(tv) ${refusal}`);
  expect(log.at(-1)).toBe("halts");
});

test("A TSC of another frequency than the host's is refused by name where VT-x has no TSC scaling", async () => {
  const { log } = await bootImage({
    ...vtx,
    modules: [{ file: assembleGuest("hello"), text: "kernel memory=4M tsckhz=25000" }],
  });
  expect(log.find((line) => line.startsWith("refused: "))).toMatch(
    /^refused: module 0: tsckhz=25000: expected \d+, the host's; TSC scaling: not offered by this CPU$/,
  );
});

describe.each(places)("On %s", (_name, place) => {
  /** What is read before the CPU is looked at is read alike on both. */
  const all = triesAll(place);

  test("With console=screen the log is on the text screen as well", async () => {
    const { screen, log } = await bootImage({ ...place, options: "console=screen" });
    expect(screen).toMatch(/^\(tv\) Typevisor \d/);
    expect(screen).toContain("(tv) refused: modules: no kernel");
    expect(log).toContain("refused: modules: no kernel");
  });

  test.runIf(all).each([
    ["frobnicate=1", "command line: frobnicate=1"],
    ["console=com3", "command line: console=com3"],
    ["vmlimit=never", "command line: vmlimit=never"],
    ["loglvl=loud", "command line: loglvl=loud"],
  ])("A hypervisor option that makes no sense is refused by name: %s", async (options, refusal) => {
    const { log } = await bootImage({ ...place, options });
    expect(log.find((line) => line.startsWith("refused: "))).toContain(`${refusal}: expected `);
  });

  const hello = (): Uint8Array => readFileSync(assembleGuest("hello"));

  test("A kernel that cannot be booted ends its VM by name, and the others run", async () => {
    const truncated = hello().subarray(0, 1400);
    const noHeader = hello().slice();
    noHeader[0x202] = 0;
    const only32 = hello().slice();
    only32[0x236] = 0;
    const { log, console } = await bootImage({
      ...place,
      modules: [
        { file: guestFile("random", randomBytes(50_000)), text: "kernel memory=4M" },
        { file: guestFile("no-header", noHeader), text: "kernel memory=4M" },
        { file: guestFile("only32", only32), text: "kernel memory=4M" },
        { file: guestFile("truncated", truncated), text: "kernel memory=4M" },
        { file: assembleGuest("hello"), text: "kernel memory=4M" },
        { file: guestFile("initrd-of-3M", new Uint8Array(3 << 20)), text: "initrd" },
        { file: assembleGuest("hello"), text: "kernel memory=4M" },
      ],
    });
    const cannot = "ended: its kernel cannot be booted";
    expect(log).toContain(`vm0: ${cannot}: it is no bzImage, no PVH ELF file and no multiboot kernel`);
    expect(log).toContain(`vm1: ${cannot}: it is no bzImage, no PVH ELF file and no multiboot kernel`);
    expect(log).toContain(`vm2: ${cannot}: it has no 64-bit entry point`);
    expect(log).toContain(`vm3: ${cannot}: the file is truncated`);
    expect(log).toContain("refused: vm4: memory: 4 MiB is too small for the kernel and the initrd");
    expect(console).toContain("vm5: slept until the timer's interrupt\n");
  });

  test.runIf(all).each([
    ["kernel memory=3M", "module 0: memory=3M: expected a multiple of 2M"],
    ["kernel memory=much", "module 0: memory=much: expected a multiple of 2M"],
    [
      "kernel mem=4M",
      "module 0: mem=4M: expected memory=SIZE, cpus=N, tsckhz=N, or -- and the guest's command line",
    ],
    ["ramdisk", "module 0: ramdisk: expected kernel, initrd, lines or settings"],
    ["initrd", "module 0: initrd: expected after a kernel"],
  ])("A module whose string makes no sense is refused by name: %s", async (text, refusal) => {
    const { log } = await bootImage({ ...place, modules: [{ file: assembleGuest("hello"), text }] });
    expect(log).toContain(`refused: ${refusal}`);
  });
});
