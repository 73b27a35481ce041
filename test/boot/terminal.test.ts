/** scripts/boot and scripts/debug on a terminal (a pseudo terminal by util-linux' script). */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { expect, test, vi } from "vitest";
import { PlainText } from "../../tools/machine/plain-text.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { quick } from "./command.ts";

vi.setConfig({ testTimeout: 600_000 });

class Terminal {
  private text = "";
  private wake: () => void = () => {};
  private readonly plain = new PlainText();
  private readonly script: ChildProcessWithoutNullStreams;

  constructor(command: string) {
    this.script = spawn("script", ["-qfec", command, "/dev/null"], { cwd: projectDirectory });
    this.script.stdout.on("data", (bytes: Buffer) => {
      this.text += this.plain.push(bytes.toString("latin1"));
      this.wake();
    });
  }

  type(keys: string): void {
    this.script.stdin.write(keys);
  }

  /** The text up to and including the match, which is taken off. */
  async waitFor(pattern: RegExp): Promise<string> {
    const deadline = Date.now() + 300_000;
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) {
        const end = match.index + match[0].length;
        const text = this.text.slice(0, end);
        this.text = this.text.slice(end);
        return text;
      }
      if (Date.now() > deadline)
        throw new Error(`no ${pattern} in ${JSON.stringify(this.text.slice(-2000))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.wake = () => (clearTimeout(timer), resolve());
      });
    }
  }

  [Symbol.dispose](): void {
    this.script.kill();
  }
}

test.each([
  ["without the hypervisor", "--bare --machine qemu-tcg"],
  ["of the hypervisor", "--machine qemu-tcg"],
])("The terminal is the console of a guest %s until Ctrl-], and as it was afterwards", async (_, machine) => {
  const boot = `scripts/boot ${machine} --append "${quick}"`;
  using terminal = new Terminal(`stty -a; ${boot}; echo "status $?"; stty -a`);
  const before = await terminal.waitFor(/speed[^]* -?echoke.*\n/);
  expect(before).toMatch(/ icanon /);
  await terminal.waitFor(/Ctrl-\] leaves/);
  await terminal.waitFor(/# $/);
  // Ctrl-C is the guest's, and job control works there.
  terminal.type("sh -c 'echo start\"\"ed; exec sleep 1000'\r");
  await terminal.waitFor(/started/);
  terminal.type("\x03");
  await terminal.waitFor(/# $/);
  terminal.type("echo $((6 * 7)) answers\r");
  await terminal.waitFor(/\n42 answers/);
  await terminal.waitFor(/# $/);
  terminal.type("\x1d");
  expect(await terminal.waitFor(/status \d+/)).toMatch(/left \(\S+, .*\)\nstatus 0/);
  expect((await terminal.waitFor(/speed[^]* -?echoke.*\n/)).trim()).toBe(before.trim());
});

test("In scripts/debug Ctrl-C is GDB's: it stops the guest, and the session goes on", async () => {
  // The shell gets Ctrl-C too, and dash would end of it.
  using terminal = new Terminal('trap : INT; scripts/debug --machine qemu-tcg; echo "status $?"');
  await terminal.waitFor(/\(gdb\) $/);
  terminal.type("continue\r");
  await terminal.waitFor(/Continuing\./);
  terminal.type("\x03");
  await terminal.waitFor(/received signal SIGINT[^]*\(gdb\) $/);
  terminal.type("info inferiors\r");
  await terminal.waitFor(/process 1[^]*process 2[^]*\(gdb\) $/);
  terminal.type("quit\r");
  expect(await terminal.waitFor(/status \d+/)).toMatch(/status 0$/);
});
