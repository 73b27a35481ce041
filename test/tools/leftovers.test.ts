import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { makeTinyImage, type TinyImage } from "./tiny.ts";

const loader = fileURLToPath(import.meta.resolve("tsx"));
const owner = fileURLToPath(new URL("owner.ts", import.meta.url));

vi.setConfig({ testTimeout: 60_000 });

let image: TinyImage;
beforeAll(async () => (image = await makeTinyImage("")));
afterAll(() => image.remove());

/** Starts a process that starts a machine; resolves with the machine's directory once the machine runs. */
async function startOwner(kind: string, end: string): Promise<{ process: ChildProcess; directory: string }> {
  const args = ["--import", loader, owner, kind, image.path, end];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface(child.stdout)) return { process: child, directory: line };
  throw new Error("the owner said nothing");
}

/** Whether some process works in this directory, as emulators do in theirs. */
function inUse(directory: string): boolean {
  return readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(directory);
    } catch {
      return false; // it has just ended
    }
  });
}

test.each([
  ["bochs", "by itself", undefined],
  ["bochs", "by an exception", undefined],
  ["bochs", "by a rejection", undefined],
  ["bochs", "never", "SIGINT"],
  ["bochs", "never", "SIGTERM"],
  ["bochs", "never", "SIGHUP"],
  ["qemu-tcg", "never", "SIGTERM"],
] as const)("No %s and no directory is left when its owner ends %s (%s)", async (kind, end, signal) => {
  const { process: child, directory } = await startOwner(kind, end);
  if (signal !== undefined) {
    expect(inUse(directory)).toBe(true);
    child.kill(signal);
  }
  await new Promise((resolve) =>
    (child.exitCode ?? child.signalCode) === null ? child.once("exit", resolve) : resolve(0),
  );
  if (signal !== undefined) expect(child.signalCode).toBe(signal);
  await expect.poll(() => inUse(directory), { timeout: 5000 }).toBe(false);
  expect(existsSync(directory)).toBe(false);
});

test.each(["bochs", "qemu-tcg"])("No %s is left even when its owner is killed", async (kind) => {
  const { process: child, directory } = await startOwner(kind, "never");
  child.kill("SIGKILL");
  await expect.poll(() => inUse(directory), { timeout: 5000 }).toBe(false);
});
