/** Boots images of ours in an emulated machine and collects what they print: the log from COM2, consoles from COM1. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeIso } from "../../tools/image/iso.ts";
import type { Machine, MachineKind } from "../../tools/machine/machine.ts";
import { projectDirectory, RunDirectory } from "../../tools/machine/run-directory.ts";
import { startMachine } from "../../tools/machine/start.ts";

export const nightly = process.env["NIGHTLY"] === "1";

export interface BootModule {
  file: string;
  /** Its role and options: "kernel memory=4M -- words". */
  text: string;
}

export interface BootOptions {
  /** One of tools/build/modules.ts; "typevisor" unless told. */
  image?: string;
  /** Words for the hypervisor, after those that choose the ports. */
  options?: string;
  modules?: BootModule[];
  machine?: MachineKind;
  cpu?: string;
  /** MiB. */
  memory?: number;
  /** Seconds. */
  timeout?: number;
  /** The log's last line, "halts" unless told. */
  last?: RegExp;
}

export interface Outcome {
  /** The hypervisor's lines without "(tv) ". */
  log: string[];
  /** What the guests printed. */
  console: string;
  ticks?: bigint;
  /** The text screen at the end. */
  screen: string;
}

export function builtFile(name: string): string {
  return join(projectDirectory, "build", name);
}

/** Assembles test/guests/NAME.asm to a bzImage. `defines` become %define, and part of the file's name. */
export function assembleGuest(name: string, defines: Record<string, string | number> = {}): string {
  const folder = builtFile("guests-of-tests");
  mkdirSync(folder, { recursive: true });
  const suffix = Object.entries(defines).map(([k, v]) => `-${k}-${v}`);
  const output = join(folder, `${name}${suffix.join("")}`);
  const guests = join(projectDirectory, "test/guests/");
  const flags = Object.entries(defines).map(([k, v]) => `-D${k}=${v}`);
  execFileSync("nasm", ["-f", "bin", "-Werror", `-I${guests}`, ...flags, "-o", output, join(guests, `${name}.asm`)]);
  return output;
}

/** A file with these bytes. */
export function guestFile(name: string, bytes: Uint8Array): string {
  const folder = builtFile("guests-of-tests");
  mkdirSync(folder, { recursive: true });
  const output = join(folder, name);
  writeFileSync(output, bytes);
  return output;
}

/** The line of a source file that is marked "// fault N", as a report writes it: FILE:LINE. */
export function faultLine(file: string, n: number): string {
  const lines = readFileSync(join(projectDirectory, file), "utf8").split("\n");
  const index = lines.findIndex((line) => new RegExp(`// fault ${n}\\b`).test(line));
  if (index < 0) throw new Error(`${file} marks no line "// fault ${n}"`);
  return `${file}:${index + 1}`;
}

/** Starts a machine with an image of ours. */
export async function startImage(options: BootOptions, directory: RunDirectory): Promise<Machine> {
  const image = options.image ?? "typevisor";
  const files = new Map([["/boot/typevisor", builtFile(`${image}.elf`)]]);
  const modules = [...(options.modules ?? []), { file: builtFile(`${image}.lines`), text: "lines" }];
  const loads = modules.map((module, i) => {
    files.set(`/boot/module${i}`, module.file);
    return { path: `/boot/module${i}`, text: module.text };
  });
  const words = ["console=com2", "vmconsole=com1", "reboot=no", options.options ?? ""].join(" ").trim();
  const iso = directory.file("image.iso");
  await makeIso(iso, { kind: "typevisor", hypervisor: { path: "/boot/typevisor", text: words }, modules: loads }, files);
  return startMachine(options.machine ?? "bochs", {
    image: iso,
    memory: options.memory ?? 512,
    ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
    noReboot: true,
  });
}

/** Boots until the hypervisor says that it halts. */
export async function bootImage(options: BootOptions): Promise<Outcome> {
  const directory = new RunDirectory("test");
  try {
    await using machine = await startImage(options, directory);
    const [consolePort, logPort] = machine.serial;
    let console = "";
    const log: string[] = [];
    consolePort.onText((text) => (console += text));
    const halted = new Promise<void>((resolve) =>
      logPort.onLine((line) => {
        if (!line.startsWith("(tv) ")) return;
        log.push(line.slice(5).trimEnd());
        if ((options.last ?? /^halts$/).test(log.at(-1)!)) resolve();
      }),
    );
    const late = new Promise<string>((resolve) => {
      setTimeout(() => resolve("time ran out"), (options.timeout ?? 300) * 1000).unref();
    });
    const trouble = await Promise.race([halted, late, machine.ended.then((end) => end.detail)]);
    if (trouble !== undefined) throw new Error(`${trouble}; the log ends with\n${log.slice(-20).join("\n")}`);
    const ticks = await machine.ticks();
    const screen = await machine.screenshot();
    await machine.stop();
    return { log, console, screen, ...(ticks === undefined ? {} : { ticks }) };
  } finally {
    directory.remove();
  }
}
