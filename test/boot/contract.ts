/** What other scripts may count on when they call scripts/boot: the same with the hypervisor and without. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { boot, bootScript, quick } from "./command.ts";

/** Tests of Debian's cloud kernel in a machine that `args` choose; without `all` only that it boots, is used and ends. */
export function contract(args: string[], all = true): void {
  const quickly = [...args, "--append", quick];

  test("Linux boots, runs what is typed at its shell, and switches off", async () => {
    const lines = ["uname -r", "echo $((6 * 7)) answers", "cat", "typed into cat", "\x04", "ticks"];
    // What Linux has to say of a CPU's speculation is no warning of the kernel.
    const dmesg = 'dmesg | grep -c -e "WARNING: CPU" -e "BUG:" -e "Call Trace"';
    const { status, stdout, stderr } = await boot(quickly, `${[...lines, dmesg, "poweroff"].join("\n")}\n`);
    expect(stderr).toMatch(/the guest ended: powered off \(\S+, [\d.]+ s(, [\d,]+ instructions)?\)\n/);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^6\.\d+\.\d+-\d+-cloud-amd64$/m);
    expect(stdout).toMatch(/^42 answers$/m);
    expect(stdout.match(/^typed into cat$/gm)).toHaveLength(2); // echoed, and printed by cat
    expect(stdout).toMatch(/^\d{9,}$/m);
    expect(stdout).toMatch(/-c -e .*\n0$/m);
    expect(stdout).not.toContain("can't access tty");
    expect(stdout).not.toContain("\x1b");
  });
  if (!all) return;

  test("With --until the status is 0 as soon as the text appears", async () => {
    const { status, stdout } = await boot([...args, "--until", "Linux version 6"]);
    expect(status).toBe(0);
    expect(stdout).toContain("Linux version 6");
    expect(stdout).not.toContain("is up."); // not even by the way
    expect(stdout).toMatch(/\n$/);
  });

  test("With --until the status is 1 if the guest ends without the text", async () => {
    const { status, stderr } = await boot([...quickly, "--until", "never"], "poweroff\n");
    expect(stderr).toMatch(/the guest ended: powered off, without "never"/);
    expect(status).toBe(1);
  });

  test("A reset starts the guest again, or ends the boot with a status of its own", async () => {
    const again = await boot(quickly, "reboot\nuname -r\npoweroff\n");
    expect(again.stdout.match(/is up\./g)).toHaveLength(2);
    expect(again.status).toBe(0);
    const once = await boot([...quickly, "--no-reboot"], "reboot\n");
    expect(once.stderr).toContain("the guest ended: reset");
    expect(once.status).toBe(4);
  });

  test("When time runs out the status is 2 and the logs are kept", async () => {
    const { status, stderr } = await boot([...args, "--until", "never", "--timeout", "1"]);
    expect(stderr).toMatch(/time ran out after 1 s .*\nlogs: build\/logs\/\S+\/\n$/);
    expect(status).toBe(2);
  });

  test("SIGINT ends a boot that is not attached to a terminal", async () => {
    const child = spawn(bootScript, [...args, "--until", "never"]);
    const ended = new Promise((resolve) => child.once("exit", (status, signal) => resolve(signal ?? status)));
    child.stdout.once("data", () => child.kill("SIGINT"));
    expect(await ended).toBe("SIGINT");
  });
}
