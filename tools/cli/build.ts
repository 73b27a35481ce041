/** Runs scripts/build from another command, with its progress. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";
import { projectDirectory } from "../machine/run-directory.ts";

/** @throws a MachineFailure with the last lines of the build if it fails */
export async function build(progress: (line: string) => void, ...options: string[]): Promise<void> {
  const script = join(projectDirectory, "scripts/build");
  if (!existsSync(script)) throw new Refusal("scripts/build is missing: is this a whole checkout?");
  const child = spawn(script, options, { cwd: projectDirectory, stdio: ["ignore", "pipe", "pipe"] });
  const forget = onExit(() => child.kill());
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on("line", (line) => {
      progress(line);
      last.push(line);
      if (last.length > 20) last.shift();
    });
  }
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  forget();
  if (status !== 0) throw new MachineFailure(`scripts/build failed:\n${last.join("\n")}`);
}
