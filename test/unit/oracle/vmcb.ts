/** The C bodies of a monitor's VMCB intrinsics, compiled for this machine (vmcb.c). */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../fake/layout.ts";

export type Call =
  | ["read" | "iret" | "virtual" | "flush", number]
  /** `poke` is what the CPU, or root, writes. */
  | ["write" | "poke", number, bigint];

/** Where a Result has CR2 of the CPU, if the call has written to it. */
export const CPU_CR2 = 0x1000;

/** What each call has changed, by offset; or what it has read, or "trap". */
export type Result = Map<number, bigint> | bigint | "trap";

let compiled: string | undefined;

function compile(): string {
  const directory = join(projectDirectory, "build/test");
  const program = join(directory, "vmcb");
  mkdirSync(directory, { recursive: true });
  const folders = ["kernel/machine", "tools/wasm3-build", "build/abi"];
  const includes = folders.map((folder) => `-I${join(projectDirectory, folder)}`);
  const source = join(import.meta.dirname, "vmcb.c");
  execFileSync("gcc", [
    "-O1",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    ...includes,
    "-o",
    program,
    source,
  ]);
  return program;
}

/** Makes all calls one after the other, on a VMCB that is all zeros at first. */
export function callAll(calls: Call[]): Result[] {
  const input = calls.map(([call, a, b = 0n]) => `${call} ${a.toString(16)} ${b.toString(16)}`).join("\n");
  const lines = execFileSync((compiled ??= compile()), { input, encoding: "utf8", maxBuffer: 1 << 28 }).split(
    "\n",
  );
  return calls.map(([call], n) => {
    const line = lines[n]!.trim();
    if (line === "trap") return "trap";
    if (call === "read") return BigInt(`0x${line}`);
    const changes = line.split(" ").filter((part) => part.includes(":"));
    return new Map(
      changes.map((part) => {
        const [at, value] = part.split(":") as [string, string];
        return [parseInt(at, 16), BigInt(`0x${value}`)];
      }),
    );
  });
}
