/** What a running Linux shows of its machine. What it does not let this user read is left out, and never guessed. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import type { Machine, Region } from "./loader.ts";

const project = join(import.meta.dirname, "../..");

export type Registers = [eax: number, ebx: number, ecx: number, edx: number];
export type Cpuid = (leaf: number, subleaf: number) => Registers;

/** CPUID by a program of ten lines of C, built when it is missing or older than its source. */
export function readCpuid(): Cpuid {
  const source = join(project, "tools/doctor/cpuid.c");
  const program = join(project, "build/tools/cpuid");
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(join(project, "build/tools"), { recursive: true });
    execFileSync("gcc", ["-O1", "-o", program, source]);
  }
  return parseCpuid(execFileSync(program, { encoding: "utf8" }));
}

/** Leaves that the CPU does not have answer as its last basic one does (SDM Vol. 2A, CPUID). */
export function parseCpuid(text: string): Cpuid {
  const answers = new Map<string, Registers>();
  for (const line of text.trim().split("\n")) {
    const [leaf, subleaf, ...registers] = line.split(" ").map((word) => parseInt(word, 16));
    answers.set(`${leaf}/${subleaf}`, registers as Registers);
  }
  return (leaf, subleaf) => answers.get(`${leaf >>> 0}/${subleaf}`) ?? [0, 0, 0, 0];
}

/** Reads a file of bytes, or undefined when there is none or it may not be read. */
function bytesOf(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

const textOf = (file: string) => bytesOf(file)?.toString("latin1").trim();

/** Reads an MSR of CPU 0: undefined where the CPU has none of that number. */
export type ReadMsr = (index: number) => bigint | undefined;

/** MSRs by the msr module; undefined when it is not there or may not be used. */
export function openMsrs(device = "/dev/cpu/0/msr"): ReadMsr | undefined {
  let file: number;
  try {
    file = openSync(device, "r");
  } catch {
    return undefined;
  }
  process.once("exit", () => closeSync(file));
  return (index) => {
    const bytes = Buffer.alloc(8);
    try {
      return readSync(file, bytes, 0, 8, index) === 8 ? bytes.readBigUInt64LE(0) : undefined;
    } catch {
      return undefined;
    }
  };
}

/** The microcode's version as IA32_BIOS_SIGN_ID has it, from /proc/cpuinfo. */
export function microcodeMsr(cpuinfo = textOf("/proc/cpuinfo") ?? ""): bigint {
  const version = BigInt(/^microcode\s*:\s*(0x[0-9a-f]+)$/m.exec(cpuinfo)?.[1] ?? 0);
  return /^vendor_id\s*:\s*GenuineIntel$/m.test(cpuinfo) ? version << 32n : version;
}

const kinds: Record<string, number> = {
  "System RAM": 1,
  "ACPI Tables": 3,
  "ACPI Non-volatile Storage": 4,
};

/** The firmware's memory map as Linux was given it; undefined when it does not say. */
export function memoryMap(folder = "/sys/firmware/memmap"): Region[] | undefined {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return undefined;
  }
  const regions = names.flatMap((name) => {
    const [start, end, type] = ["start", "end", "type"].map((what) => textOf(join(folder, name, what)));
    if (!start || !end || !type) return [];
    return [{ start: BigInt(start), end: BigInt(end) + 1n, kind: kinds[type] ?? 2 }];
  });
  return regions.length > 0 ? regions.sort((a, b) => (a.start < b.start ? -1 : 1)) : undefined;
}

/** ACPI's tables; undefined when there are some that may not be read. */
export function acpiTables(folder = "/sys/firmware/acpi/tables"): Uint8Array[] | undefined {
  let names: string[];
  try {
    names = readdirSync(folder, { withFileTypes: true }).flatMap((e) => (e.isFile() ? [e.name] : []));
  } catch {
    return [];
  }
  const tables = names.map((name) => bytesOf(join(folder, name)));
  return tables.includes(undefined) ? undefined : (tables as Buffer[]);
}

/** A PCI function's registers in their first 64 bytes, which everybody may read; all ones where there is none. */
export type ReadPci = (bdf: number, register: number) => number;

export const readPci: ReadPci = (bdf, register) => {
  const hex = (n: number) => n.toString(16).padStart(2, "0");
  const name = `0000:${hex(bdf >> 8)}:${hex((bdf >> 3) & 31)}.${bdf & 7}`;
  const bytes = bytesOf(`/sys/bus/pci/devices/${name}/config`);
  return bytes && register + 4 <= bytes.length ? bytes.readUInt32LE(register) : 0xffffffff;
};

/** Bits of `readable` (kernel/root/preflight/report.ts, Readable). */
export const Readable = { Msr: 1, Memory: 2, Acpi: 4 };

export interface Linux {
  machine: Machine;
  readable: number;
  cpuid: Cpuid;
  readMsr: ReadMsr;
  readPci: ReadPci;
}

/** Looks at this machine. */
export function look(): Linux {
  const msrs = openMsrs();
  const regions = memoryMap();
  const tables = acpiTables();
  return {
    machine: { regions: regions ?? [], efi: existsSync("/sys/firmware/efi"), tables: tables ?? [] },
    readable: (msrs ? Readable.Msr : 0) | (regions ? Readable.Memory : 0) | (tables ? Readable.Acpi : 0),
    cpuid: readCpuid(),
    readPci,
    readMsr: msrs ?? ((index) => (index === 0x8b ? microcodeMsr() : undefined)),
  };
}
