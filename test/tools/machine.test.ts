import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Machine, MachineKind, MachineOptions } from "../../tools/machine/machine.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { startMachine } from "../../tools/machine/start.ts";
import { FakeQemu } from "./fake-qemu.ts";
import { makeTinyImage, type TinyImage } from "./tiny.ts";

const commandLine = `a 'b' $c {d} --`;
/** GRUB's backslashes are the reader's to take out. */
const printed = `hello a \\'b\\' $c {d} --\n`;

vi.setConfig({ testTimeout: 60_000 });

let image: TinyImage;
beforeAll(async () => (image = await makeTinyImage(commandLine)));
afterAll(() => image.remove());

function start(kind: MachineKind, options: Partial<MachineOptions> = {}): Promise<Machine> {
  return startMachine(kind, { image: image.path, memory: 64, ...options });
}

describe.each(["bochs", "qemu-tcg"] as const)("%s", (kind) => {
  test("passes both serial ports on, shows the screen, and ends when the guest switches off", async () => {
    await using machine = await start(kind);
    const [com1, com2] = machine.serial;
    await Promise.all([com1.waitFor(printed), com2.waitFor(printed)]);
    await com1.write("abc");
    await com1.waitFor("abc");
    expect(await machine.screenshot()).toMatch(/^SCREEN/);
    expect(await machine.monitor(kind === "bochs" ? "info cpu" : "info registers")).toMatch(/cs/i);
    await com1.write("q");
    expect(await machine.ended).toMatchObject({ cause: "powered off" });
  });

  test("boots again after a reset, or ends when told not to", async () => {
    await using again = await start(kind);
    let resets = 0;
    const reset = new Promise<void>((resolve) =>
      again.onReset(() => {
        resets++;
        resolve();
      }),
    );
    await again.serial[0].waitFor(printed);
    await again.serial[0].write("r");
    await again.serial[0].waitFor(printed);
    await reset; // it is told on a line of its own, at times later
    expect(resets).toBe(1);
    await again.stop();
    await using once = await start(kind, { noReboot: true });
    await once.serial[0].waitFor(printed);
    await once.serial[0].write("r");
    expect(await once.ended).toMatchObject({ cause: "reset" });
  });

  test("calls a triple fault a failure, with the registers and where its logs are", async () => {
    await using machine = await start(kind);
    await machine.serial[0].waitFor(printed);
    const wait = machine.serial[0].waitFor("never");
    const failed = expect(wait).rejects.toThrow(new RegExp(`^no "never" on com1: ${kind}: `));
    await machine.serial[0].write("t");
    const end = await machine.ended;
    await failed;
    expect(end.cause).toBe("failed");
    expect(end.detail).toMatch(kind === "bochs" ? /3rd \(13\) exception/ : /^Triple fault/);
    expect(end.detail).toMatch(/EIP=0*101/);
    const logs = /Its logs are in (\S+)\/$/.exec(end.detail)![1]!;
    expect(existsSync(join(projectDirectory, logs, "com1.log"))).toBe(true);
  });

  test("stops at once, leaving nothing in the way of a second stop", async () => {
    const machine = await start(kind);
    expect(await machine.stop()).toMatchObject({ cause: "stopped" });
    expect(await machine.stop()).toMatchObject({ cause: "stopped" });
    expect(await machine.monitor("info")).toBe("");
    await expect(machine.serial[0].waitFor("x")).rejects.toThrow("the machine ended (stopped)");
  });
});

test("Machines that run side by side do not meet", async () => {
  const machines = await Promise.all([start("bochs"), start("bochs"), start("qemu-tcg"), start("qemu-tcg")]);
  try {
    await Promise.all(
      machines.map(async ({ serial: [com1] }, index) => {
        await com1.waitFor(printed);
        await com1.write(`${index}`);
        expect(await com1.waitFor(/./)).toBe(`${index}`);
      }),
    );
  } finally {
    await Promise.all(machines.map((machine) => machine.stop()));
  }
});

test("Bochs counts the same instructions in every run, and looking changes next to nothing", async () => {
  const short = await makeTinyImage("quit");
  const count = async (looks: number): Promise<bigint | undefined> => {
    await using machine = await startMachine("bochs", { image: short.path, memory: 64 });
    for (let look = 0; look < looks; look++) await machine.ticks();
    return (await machine.ended).ticks;
  };
  try {
    const ticks = await count(0);
    expect(ticks).toBeGreaterThan(100_000_000n);
    expect(await count(0)).toBe(ticks);
    expect(Math.abs(Number((await count(50))! - ticks!))).toBeLessThan(1000);
  } finally {
    short.remove();
  }
});

test("QEMU TCG counts instructions when asked to, and until the end", async () => {
  await using machine = await start("qemu-tcg", { exact: true });
  await machine.serial[0].waitFor(printed);
  const ticks = (await machine.ticks())!;
  expect(ticks).toBeGreaterThan(10_000_000n);
  await machine.serial[0].write("q");
  const end = await machine.ended;
  expect(end.ticks!).toBeGreaterThan(ticks);
});

test("QEMU boots the same image from a USB stick by UEFI", async () => {
  await using machine = await start("qemu-tcg", { firmware: "uefi", memory: 256 });
  await machine.serial[0].waitFor(printed);
});

test("What a machine cannot do is refused by name", async () => {
  await expect(start("bochs", { cpu: "no_such_cpu" })).rejects.toThrow(
    /^Bochs has no processor model no_such_cpu/,
  );
  await expect(start("bochs", { firmware: "uefi" })).rejects.toThrow("Bochs has no UEFI firmware");
  await expect(start("qemu-kvm", { exact: true })).rejects.toThrow("count instructions exactly");
});

test("An emulator that cannot start says why", async () => {
  await using bochs = await start("bochs", { memory: 0 });
  expect(await bochs.ended).toMatchObject({
    cause: "failed",
    detail: expect.stringContaining("out of range"),
  });
  const qemu = start("qemu-tcg", { cpu: "no_such_cpu" });
  await expect(qemu).rejects.toThrow(/^qemu-tcg does not start: unable to find CPU model 'no_such_cpu'$/);
});

test("A machine that QEMU has stopped because it cannot go on has failed", async () => {
  using fake = new FakeQemu("KVM internal error. Suberror: 1", "internal-error");
  await using machine = await start("qemu-kvm");
  expect(await machine.ended).toMatchObject({
    cause: "failed",
    detail: expect.stringMatching(
      /^QEMU cannot go on \(internal-error\): [^]*KVM internal error. Suberror: 1\n/,
    ),
  });
  expect(fake.arguments()).toMatch(/-accel kvm -cpu host /);
});
