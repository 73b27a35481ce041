/**
 * Runs the hypervisor's own preflight on a machine that is described: the root module that ships, with imports that only read. It
 * writes no MSR and touches no port.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Cpuid, ReadMsr, ReadPci } from "./linux.ts";
import { INFO, MULTIBOOT2, type Machine, load } from "./loader.ts";
import { Memory } from "./memory.ts";

/** Where a row's name starts (kernel/root/preflight/report.ts). */
const INDENT = 19;

export interface Row {
  state: string;
  name: string;
  text: string;
}

export interface Diagnosis {
  /** 0: the machine can run the hypervisor, 1: it cannot, 2: that is not known here. */
  status: number;
  /** The table as it is printed. */
  lines: string[];
  rows: Row[];
  /** What the hypervisor's log said meanwhile. */
  warnings: string[];
}

export interface Patient {
  machine: Machine;
  readable: number;
  cpuid: Cpuid;
  readMsr: ReadMsr;
  readPci: ReadPci;
}

const rootModule = join(import.meta.dirname, "../../build/modules/root.wasm");

/** Rows of a table: lines that start with blanks go on. */
export function rowsOf(lines: string[]): Row[] {
  const rows: Row[] = [];
  for (const line of lines) {
    if (line.startsWith(" ")) {
      rows[rows.length - 1]!.text += ` ${line.trim()}`;
      continue;
    }
    const rest = line.slice(INDENT);
    const colon = rest.indexOf(": ");
    rows.push({
      state: line.slice(0, INDENT).trim(),
      name: rest.slice(0, colon),
      text: rest.slice(colon + 2),
    });
  }
  return rows;
}

/** Every import that is not given here ends the examination: nothing is to be done to a running machine. */
function onlyReading(given: WebAssembly.Imports, module: WebAssembly.Module): WebAssembly.Imports {
  const all: WebAssembly.Imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    all[from] ??= {};
    all[from][name] =
      given[from]?.[name] ??
      (() => {
        throw new Error(`${from}.${name} is none of an examination's business`);
      });
  }
  return all;
}

export function examine(patient: Patient): Diagnosis {
  const { cpuid, readMsr } = patient;
  const memory = new Memory();
  load(memory, patient.machine);
  const module = new WebAssembly.Module(readFileSync(rootModule));
  const linear = () => (instance.exports["memory"] as WebAssembly.Memory).buffer;
  const at = (address: bigint) => Number(BigInt.asUintN(64, address));
  const number = (size: number) => (address: bigint) => Number(memory.load(at(address), size));
  let selected = 0;
  const written = new Map<number, bigint>();
  const imports: WebAssembly.Imports = {
    env: {
      abort: () => {
        throw new Error("an assertion of the hypervisor's failed");
      },
    },
    cpuid: {
      query: (leaf: number, subleaf: number, out: number) =>
        new Uint32Array(linear(), out, 4).set(cpuid(leaf >>> 0, subleaf)),
    },
    msr: {
      exists: (index: number) => (readMsr(index >>> 0) === undefined ? 0 : 1),
      read: (index: number) => written.get(index >>> 0) ?? readMsr(index >>> 0) ?? 0n,
      // What the hypervisor would change is changed for itself only. The microcode's version stays what it is.
      write: (index: number, value: bigint) => void (index !== 0x8b && written.set(index >>> 0, value)),
    },
    phys: {
      load8: number(1),
      load16: number(2),
      load32: number(4),
      load64: (a: bigint) => memory.load(at(a), 8),
    },
    // Of ports only those of PCI's configuration mechanism 1, and only to read.
    port: {
      out32: (port: number, value: number) => {
        if (port !== 0xcf8) throw new Error(`port ${port.toString(16)} is none of an examination's business`);
        selected = value >>> 0;
      },
      in32: (port: number) =>
        port === 0xcfc ? patient.readPci((selected >>> 8) & 0xffff, selected & 0xfc) | 0 : -1,
    },
    image: { start: () => 0n, end: () => 0n },
  };
  const instance = new WebAssembly.Instance(module, onlyReading(imports, module));
  const doctor = instance.exports["doctor"] as (magic: number, info: number, readable: number) => number;
  const [able, start, length, , log, logged] = new Uint32Array(
    linear(),
    doctor(MULTIBOOT2, INFO | 0, patient.readable),
    6,
  );
  const text = (from: number, n: number) => Buffer.from(linear().slice(from, from + n)).toString("latin1");
  const lines = text(start!, length!).split("\n").slice(0, -1);
  const warnings = text(log!, logged!)
    .split("\r\n")
    .filter((line) => line !== "");
  const rows = rowsOf(lines);
  const verdict = rows.at(-1).state;
  return {
    status: able ? 0 : verdict === "unknown" ? 2 : 1,
    lines,
    rows,
    warnings: warnings.map((l) => l.slice(5)),
  };
}
