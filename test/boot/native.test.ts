/** Debian's kernel without the hypervisor: what the boots with it are compared to, and a test of all the tools. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

vi.setConfig({ testTimeout: 300_000 });

interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

function boot(args: string[], typed = ""): Promise<Result> {
  const child = spawn(join(projectDirectory, "scripts/boot"), ["--bare", "--timeout", "240", ...args]);
  const result = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes) => (result.stdout += bytes));
  child.stderr.on("data", (bytes) => (result.stderr += bytes));
  child.stdin.end(typed);
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, ...result })));
}

/** The crypto self-tests take half of a boot on Bochs. */
const quick = ["--append", "quiet cryptomgr.notests"];

test("Linux boots in Bochs, runs what is typed at its shell, and switches off", async () => {
  const lines = ["uname -r", "echo $((6 * 7)) answers", "cat", "typed into cat", "\x04", "ticks", "poweroff"];
  const { status, stdout, stderr } = await boot([...quick, "--machine", "bochs"], `${lines.join("\n")}\n`);
  expect(stderr).toMatch(/the guest ended: powered off \(bochs, [\d.]+ s, [\d,]+ instructions\)\n$/);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^6\.\d+\.\d+-\d+-cloud-amd64$/m);
  expect(stdout).toMatch(/^42 answers$/m);
  expect(stdout.match(/^typed into cat$/gm)).toHaveLength(2); // echoed, and printed by cat
  expect(stdout).toMatch(/^\d{9,}$/m);
  expect(stdout).not.toContain("can't access tty");
  expect(stdout).not.toContain("\x1b");
});

test("With --until the status is 0 as soon as the text appears", async () => {
  const { status, stdout } = await boot(["--machine", "qemu-tcg", "--until", "Linux version 6"]);
  expect(status).toBe(0);
  expect(stdout).toContain("Linux version 6");
  expect(stdout).not.toContain("is up."); // not even by the way
});

test("With --until the status is 1 if the guest ends without the text", async () => {
  const { status, stderr } = await boot(
    [...quick, "--machine", "qemu-tcg", "--until", "never"],
    "poweroff\n",
  );
  expect(stderr).toMatch(/the guest ended: powered off, without "never"/);
  expect(status).toBe(1);
});

test("A reset starts the guest again, or ends the boot with a status of its own", async () => {
  const again = await boot([...quick, "--machine", "qemu-tcg"], "reboot\nuname -r\npoweroff\n");
  expect(again.stdout.match(/is up\./g)).toHaveLength(2);
  expect(again.status).toBe(0);
  const once = await boot([...quick, "--machine", "qemu-tcg", "--no-reboot"], "reboot\n");
  expect(once.stderr).toContain("the guest ended: reset");
  expect(once.status).toBe(4);
});

test("When time runs out the status is 2 and the logs are kept", async () => {
  const { status, stderr } = await boot(["--machine", "qemu-tcg", "--until", "never", "--timeout", "1"]);
  expect(stderr).toMatch(/time ran out after 1 s .*\nlogs: build\/logs\/\S+\/\n$/);
  expect(status).toBe(2);
});

test("SIGINT ends a boot that is not attached to a terminal", async () => {
  const child = spawn(join(projectDirectory, "scripts/boot"), [
    "--bare",
    "--machine",
    "qemu-tcg",
    "--until",
    "never",
  ]);
  await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  child.kill("SIGINT");
  expect(await new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)))).toBe("SIGINT");
});
