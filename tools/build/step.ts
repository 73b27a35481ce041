/** Steps of a build that are skipped while neither their inputs nor their command have changed. */
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export interface Step {
  /** Files and texts that decide the result. */
  inputs: string[];
  salt?: string;
  outputs: string[];
  run: () => Promise<void>;
}

/** Runs the step if it is needed; true if it ran. The digest of what went in is kept beside the first output. */
export async function step({ inputs, salt, outputs, run }: Step): Promise<boolean> {
  const stamp = `${outputs[0]}.stamp`;
  const hash = createHash("sha256").update(salt ?? "");
  for (const file of inputs) hash.update(file).update("\0").update(readFileSync(file));
  const digest = hash.digest("hex");
  const fresh =
    outputs.every((f) => existsSync(f)) && existsSync(stamp) && readFileSync(stamp, "utf8") === digest;
  if (fresh) return false;
  mkdirSync(dirname(stamp), { recursive: true });
  await run();
  writeFileSync(stamp, digest);
  return true;
}

/** A failed command: what it was and what it said. */
export class CommandError extends Error {}

/** Runs a command and returns its standard output; what it says on standard error is part of the error if it fails. */
export function command(program: string, args: string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    child.on("error", (e) => reject(new CommandError(`${program}: ${e.message}`)));
    child.on("close", (status) => {
      if (status === 0) resolve(out);
      else reject(new CommandError(`${program} failed with status ${status}\n${(err || out).trim()}`));
    });
  });
}
