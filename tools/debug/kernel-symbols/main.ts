/** The command behind scripts/kernel-symbols. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { Refusal } from "../../machine/errors.ts";
import { digits } from "./address.ts";
import { readKernel } from "./read-kernel.ts";
import { type Kernel, addressOf, symbolFile } from "./symbol-file.ts";

interface Options {
  output?: string;
  list: boolean;
}

const command = new Command("scripts/kernel-symbols")
  .description(
    "Writes a file with a guest kernel's symbols and stack frames for GDB, from nothing but the kernel itself.\n" +
      "In GDB: source tools/debug/guest.py, then guest-symbols FILE (docs/guest-symbols.md).",
  )
  .argument("<kernel>", "the kernel (a bzImage, or the vmlinux in it)")
  .option("-o, --output <file>", "write this file, an ELF file without code")
  .option("--list", "print the symbols, as nm does; _text and linux_banner are among them", false)
  .helpOption("--help", "show this help")
  .allowExcessArguments(false)
  .exitOverride()
  .configureOutput({ outputError: () => {} }); // it is thrown as well

function readFile(path: string): Buffer {
  if (!existsSync(path)) throw new Refusal(`${path}: no such file`);
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Refusal(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Under another name until it is whole. */
function write(path: string, bytes: Buffer): void {
  const partial = `${path}.${process.pid}`;
  try {
    writeFileSync(partial, bytes);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw new Refusal(`${path}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

function list({ symbols }: Kernel): string {
  return symbols.map(({ address, type, name }) => `${digits(address)} ${type} ${name}\n`).join("");
}

function summary(path: string, { symbols, orc, banner }: Kernel): string {
  const text = addressOf(symbols, "_text") ?? addressOf(symbols, "_stext")!;
  const release = /^Linux version \S+/.exec(banner.text)![0];
  const frames = orc.length > 0 ? `${orc.length} unwind entries` : "no unwind entries (GDB has to guess)";
  return (
    `${path}: ${release}, ${symbols.length} symbols, ${frames}; ` +
    `_text 0x${digits(text)}, linux_banner 0x${digits(banner.address)}\n`
  );
}

function main(): void {
  command.parse();
  const { output, list: listing } = command.opts<Options>();
  if (output === undefined && !listing) throw new Refusal("nothing to do: give -o FILE or --list");
  const path = command.args[0]!;
  const kernel = readKernel(path, readFile(path));
  if (listing) process.stdout.write(list(kernel), "latin1");
  if (output === undefined) return;
  write(output, symbolFile(kernel));
  process.stderr.write(summary(output, kernel));
}

process.stdout.on("error", () => process.exit(1)); // who reads the list may stop, as `head` does
try {
  main();
} catch (error) {
  const usage = error instanceof CommanderError;
  if (!usage && !(error instanceof Refusal)) throw error;
  if (!usage || error.exitCode !== 0) {
    process.exitCode = 1;
    const hint = usage ? "; see scripts/kernel-symbols --help" : "";
    const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
    process.stderr.write(`scripts/kernel-symbols: ${message}${hint}\n`);
  }
}
