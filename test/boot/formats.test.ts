/** Kernels in the formats that QEMU's -kernel takes beside bzImage: PVH ELF files and multiboot kernels. */
import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { decompress } from "../../tools/debug/kernel-symbols/payload.ts";
import { payloadOf } from "../../tools/guest/bzimage.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { kernels } from "../../tools/guest/kernels.ts";
import { boot, quick } from "./command.ts";
import { assembleGuest, bootImage, guestFile, optionsOf, places, triesAll } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000 });

const content = "0123456789abcdef";
const initrd = () => guestFile("initrd-of-text", Buffer.from(content.repeat(300)));
/** What both print of 64 MiB. */
const memory = [
  "memory 0000000000000000 000000000009FC00 00000001",
  "memory 00000000000E0000 0000000000010000 00000003",
  "memory 00000000000F0000 000000000000F000 00000002",
  "memory 00000000000FF000 0000000000001000 00000004",
  "memory 0000000000100000 0000000003F00000 00000001",
];
const mode = ["eflags 00000002", "cr4 00000000", "cleared"];

describe.each(places)("On %s", (_name, place) => {
  async function run(name: string, defines: Record<string, string | number>, withInitrd = true) {
    const modules = [{ file: assembleGuest(name, defines), text: "kernel memory=64M -- words for it" }];
    if (withInitrd) modules.push({ file: initrd(), text: "initrd" });
    const { console, log } = await bootImage({ ...place, modules });
    return { lines: console.split("\n").map((line) => line.trimEnd()), log };
  }

  test.each([
    ["a 64-bit PVH ELF file", {}],
    ["a 32-bit PVH ELF file", { ELF32: 1 }],
  ])("%s starts as Xen's protocol says, and is told all", async (_, defines) => {
    const { lines, log } = await run("pvh", defines);
    expect(lines).toEqual(expect.arrayContaining(["magic 336EC578", "version 00000001", ...mode, ...memory]));
    expect(lines.find((line) => line.startsWith("cr0"))).toMatch(/^cr0 000000[13]1$/); // ET, and NE on some
    expect(lines).toEqual(
      expect.arrayContaining([
        "command line words for it",
        "modules 00000001",
        "size 000012C0",
        `content ${content}`,
        "rsdp 000E0000",
      ]),
    );
    expect(log).toContain("vm0: ended: powered off");
  });

  test.each([
    ["an ELF file", {}],
    ["a file with addresses", { ADDRESSES: 1 }],
  ])("A multiboot kernel, %s, starts as the specification says, and is told all", async (_, defines) => {
    const { lines, log } = await run("multiboot", defines);
    expect(lines).toEqual(expect.arrayContaining(["magic 2BADB002", ...mode, ...memory]));
    expect(lines).toEqual(
      expect.arrayContaining([
        "flags 0000024D",
        "lower 0000027F",
        "upper 0000FC00",
        "command line words for it",
        "loader Typevisor",
        "modules 00000001",
        "alignment 00000000",
        "size 000012C0",
        `content ${content}`,
        "rsdp 000E0000",
      ]),
    );
    if (!("ADDRESSES" in defines)) expect(lines).toContain("low part is here");
    expect(log).toContain("vm0: ended: powered off");
  });

  test("Kernels that cannot be served end their VMs by name, and the others run", async () => {
    const pvh = readFileSync(assembleGuest("pvh"));
    const noNote = Buffer.from(pvh);
    noNote[noNote.indexOf("Xen\0")] = 0x58 + 1;
    const kernel = (file: string) => ({ file, text: "kernel memory=4M" });
    const { log, console } = await bootImage({
      ...place,
      modules: [
        kernel(assembleGuest("multiboot", { FLAGS: 7 })),
        kernel(guestFile("pvh-without-note", noNote)),
        kernel(guestFile("pvh-truncated", pvh.subarray(0, 500))),
        kernel(assembleGuest("pvh")),
      ],
    });
    const cannot = "ended: its kernel cannot be booted";
    expect(log).toContain(`vm0: ${cannot}: its multiboot header demands a video mode`);
    expect(log).toContain(`vm1: ${cannot}: it is a 64-bit ELF file without a PVH entry point`);
    expect(log).toContain(`vm2: ${cannot}: the file is truncated`);
    expect(console).toContain("vm3: modules 00000000\n");
  });

  test.runIf(triesAll(place))(
    "The vmlinux of Debian's cloud kernel boots through its PVH entry point",
    async () => {
      const packed = await fetchFile(kernels.cloud);
      const vmlinux = guestFile("vmlinux", decompress("kernel", payloadOf("kernel", readFileSync(packed))));
      const { status, stderr } = await boot([
        ...optionsOf(place),
        ...["--kernel", vmlinux, "--append", quick, "--until", "is up."],
      ]);
      expect(stderr).toContain("the text appeared");
      expect(status).toBe(0);
    },
  );
});
