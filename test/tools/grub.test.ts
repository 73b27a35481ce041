import { expect, test } from "vitest";
import { checkCommandLine, grubConfig, quote } from "../../tools/image/grub.ts";

test("A word is quoted so that GRUB's script language sees nothing special in it", () => {
  expect(quote("plain")).toBe("'plain'");
  expect(quote(`$a "b" \\c; {d}`)).toBe(`'$a "b" \\c; {d}'`);
  expect(quote("it's")).toBe(`'it'\\''s'`);
});

test("The hypervisor gets its options, each module its file and text, one argument a word", () => {
  const config = grubConfig({
    kind: "typevisor",
    hypervisor: { path: "/boot/typevisor", text: "console=com2,115200 reboot=no" },
    modules: [
      { path: "/boot/kernel0", text: "kernel memory=512M -- console=ttyS0 root=$x" },
      { path: "/boot/initrd0", text: "initrd" },
    ],
  });
  expect(config).toContain("multiboot2 /boot/typevisor 'console=com2,115200' 'reboot=no'\n");
  expect(config).toContain("module2 /boot/kernel0 'kernel' 'memory=512M' '--' 'console=ttyS0' 'root=$x'\n");
  expect(config).toContain("module2 /boot/initrd0 'initrd'\n");
  expect(config).toMatch(/\nboot\necho 'GRUB could not load.*'\nhalt\n$/);
});

test("The hypervisor is given text by a BIOS unless a video mode is asked for, and pixels by UEFI", () => {
  const hypervisor = { path: "/boot/typevisor", text: "" };
  const text = grubConfig({ kind: "typevisor", hypervisor, modules: [] });
  const pixels = grubConfig({ kind: "typevisor", hypervisor, modules: [], video: "1024x768x32" });
  // Behind the command that sets it by what the header says.
  expect(text).toMatch(
    /\nmultiboot2 [^]*\nif .* = efi \]; then insmod all_video; else set gfxpayload=text; fi\n/,
  );
  expect(text).not.toContain("\ninsmod all_video");
  expect(pixels).toMatch(/\ninsmod all_video\nif .* else set gfxpayload='1024x768x32'; fi\n/);
});

test("A bare kernel is loaded by GRUB itself, with or without an initrd", () => {
  const kernel = { path: "/boot/kernel0", text: "quiet" };
  expect(grubConfig({ kind: "bare", kernel })).not.toContain("initrd");
  expect(grubConfig({ kind: "bare", kernel, initrd: "/boot/initrd0" })).toContain(
    "linux /boot/kernel0 'quiet'\ninitrd /boot/initrd0\n",
  );
});

test("Control characters cannot be smuggled into the configuration", () => {
  expect(() => checkCommandLine("--append", "a\nhalt", "typevisor")).toThrow("--append: control characters");
});

test("Quotes are refused only where nobody takes GRUB's backslashes out again", () => {
  expect(() => checkCommandLine("--append", `dyndbg="file a +p"`, "bare")).toThrow(/^--append: GRUB/);
  checkCommandLine("--append", `dyndbg="file a +p"`, "typevisor");
});
