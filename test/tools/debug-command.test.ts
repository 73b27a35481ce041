/** What scripts/debug takes and what it tells GDB. Sessions are test/boot/debug.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseRequest } from "../../tools/debug/command.ts";
import { gdbCommands } from "../../tools/debug/gdb-commands.ts";
import { relay } from "../../tools/debug/relay.ts";
import { Refusal } from "../../tools/machine/errors.ts";
import { SerialPort } from "../../tools/machine/serial.ts";

const folder = mkdtempSync(join(tmpdir(), "typevisor-debug-command-"));
afterAll(() => rmSync(folder, { recursive: true }));
const script = join(folder, "some.gdb");
writeFileSync(script, "info threads\n");

describe("scripts/debug", () => {
  test("boots paused, with the log on the guest's console", () => {
    const request = parseRequest(["--machine", "qemu-tcg"])!;
    expect(request.boot.debug).toBe("wait");
    expect(request).toMatchObject({ script: undefined, og: false, timeout: undefined });
  });

  test("takes a script, a time limit, and what scripts/boot takes", () => {
    const request = parseRequest(
      `--machine bochs --script ${script} --timeout 90 --og --guest stock --memory 1G --append quiet`.split(
        " ",
      ),
    )!;
    expect(request).toMatchObject({ script, og: true, timeout: 90 });
    expect(request.boot).toMatchObject({ guest: "stock", memory: 1024, machine: "bochs" });
  });

  test.each([
    [["--script", "/nowhere"], "--script /nowhere: no such file"],
    [["--script", folder], `--script ${folder}: no such file`],
    [["--machine", "vmware"], "option '--machine <kind>' argument 'vmware' is invalid. Allowed choices are"],
    [["--memory", "much"], "--memory"],
    [["--timeout", "soon"], "--timeout"],
    [["--kernel", "/nowhere"], "--kernel /nowhere: no such file"],
    [["more"], "too many arguments"],
  ])("refuses %j in one line", (args, words) => {
    const parse = () => parseRequest(["--machine", "qemu-tcg", ...args]);
    expect(parse).toThrow(Refusal);
    expect(parse).toThrow(words);
    expect(parse).not.toThrow("\n");
  });
});

test("GDB is told words as it takes them, and a script gets no pages", () => {
  const setup = { hypervisor: 'a "b\\c.debug', kernel: undefined, socket: "/tmp/x y", unattended: true };
  const commands = gdbCommands(setup);
  expect(commands).toContain('file "a \\"b\\\\c.debug"\n');
  expect(commands).toMatch(/^typevisor-connect "\/tmp\/x y" *$/m);
  expect(commands).toContain("set pagination off\n");
  expect(gdbCommands({ ...setup, kernel: "k.elf", unattended: false })).toContain('"/tmp/x y" "k.elf"\n');
  expect(gdbCommands({ ...setup, unattended: false })).not.toContain("pagination");
});

test("The relay passes every byte both ways, to one GDB after the other", async () => {
  const port = await SerialPort.listen("com2", join(folder, "com2.log"), join(folder, "com2"));
  const machine = connect(join(folder, "com2"));
  const server = await relay(port, join(folder, "gdb"));
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const read = (socket: ReturnType<typeof connect>, length: number) =>
    new Promise<Buffer>((resolve) => {
      let got = Buffer.alloc(0);
      socket.on("data", (part) => {
        got = Buffer.concat([got, part]);
        if (got.length >= length) resolve(got);
      });
    });
  for (let i = 0; i < 2; i++) {
    const gdb = connect(join(folder, "gdb"));
    const arrived = read(machine, 256);
    gdb.write(bytes);
    expect(await arrived).toEqual(bytes);
    machine.removeAllListeners("data");
    const answered = read(gdb, 256);
    machine.write(bytes);
    expect(await answered).toEqual(bytes);
    gdb.destroy();
    await new Promise((resolve) => gdb.once("close", resolve));
  }
  server.close();
  machine.destroy();
  await port.drained();
});
