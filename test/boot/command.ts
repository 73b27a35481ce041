/** scripts/boot as a program that others call. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

export const bootScript = join(projectDirectory, "scripts/boot");

/** The crypto self-tests take half of a boot on Bochs. */
export const quick = "quiet cryptomgr.notests";

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs scripts/boot with `typed` as its standard input. */
export function boot(args: string[], typed = ""): Promise<Result> {
  const child = spawn(bootScript, ["--timeout", "900", ...args]);
  const result = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes) => (result.stdout += bytes));
  child.stderr.on("data", (bytes) => (result.stderr += bytes));
  child.stdin.end(typed);
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, ...result })));
}
