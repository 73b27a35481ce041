/** Machine code from NASM, many instructions a run. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The bytes of each of the instructions, assembled one behind the other from address 0 on. */
export function assemble(bits: 16 | 32 | 64, instructions: string[]): Uint8Array[] {
  const directory = mkdtempSync(join(tmpdir(), "typevisor-nasm-"));
  try {
    const source = join(directory, "code.asm");
    const output = join(directory, "code.bin");
    // A table of where each begins, and then the code. Local labels keep their parents apart.
    const table = [...instructions, ""].map((_, i) => `dd i${i} - i0`);
    const code = instructions.map((text, i) => `i${i}: ${text}`);
    const text = [
      `bits ${bits}`,
      ...table,
      "section .code vstart=0 align=1",
      ...code,
      `i${instructions.length}:`,
    ];
    writeFileSync(source, `${text.join("\n")}\n`);
    execFileSync("nasm", ["-f", "bin", "-w-all", "-o", output, source], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const bytes = readFileSync(output);
    const start = table.length * 4;
    return instructions.map((_, i) =>
      bytes.subarray(start + bytes.readUInt32LE(i * 4), start + bytes.readUInt32LE(i * 4 + 4)),
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
