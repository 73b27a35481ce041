/** A boot image of tiny.asm, made once a test file. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeIso } from "../../tools/image/iso.ts";

export interface TinyImage {
  path: string;
  remove(): void;
}

/** `text` is the command line that tiny.asm prints after "hello ". */
export async function makeTinyImage(text: string): Promise<TinyImage> {
  const directory = mkdtempSync(join(tmpdir(), "typevisor-tiny-"));
  const file = (name: string): string => join(directory, name);
  const source = fileURLToPath(new URL("tiny.asm", import.meta.url));
  execFileSync("nasm", ["-f", "elf32", "-o", file("tiny.o"), source]);
  const link = ["-m", "elf_i386", "-Ttext-segment=0x100000", "-z", "max-page-size=4096", "-e", "_start"];
  execFileSync("ld", [...link, "-o", file("tiny.elf"), file("tiny.o")]);
  const hypervisor = { path: "/boot/tiny", text };
  const files = new Map([[hypervisor.path, file("tiny.elf")]]);
  await makeIso(file("tiny.iso"), { kind: "typevisor", hypervisor, modules: [] }, files);
  return { path: file("tiny.iso"), remove: () => rmSync(directory, { recursive: true }) };
}
