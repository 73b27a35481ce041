import { expect, test } from "vitest";
import { MachineFailure } from "../../tools/machine/errors.ts";
import { fakePort } from "./fake-port.ts";

test("A wait returns the text up to its end, and the next one begins there", async () => {
  await using fake = await fakePort();
  fake.guest.write("one two one two");
  expect(await fake.port.waitFor("two")).toBe("one two");
  expect(await fake.port.waitFor("two")).toBe(" one two");
});

test("A wait that comes first is served when the text comes, in pieces", async () => {
  await using fake = await fakePort();
  const wait = fake.port.waitFor(/login: $/);
  for (const piece of ["Debian\r\n", "log", "\x1b[1min", ": "]) fake.guest.write(piece);
  expect(await wait).toBe("Debian\nlogin: ");
});

test("A character that is cut between two reads arrives whole", async () => {
  await using fake = await fakePort();
  const bytes = Buffer.from("grüß");
  fake.guest.write(bytes.subarray(0, 3));
  await fake.port.waitFor("gr");
  fake.guest.write(bytes.subarray(3));
  expect(await fake.port.waitFor("ß")).toBe("üß");
});

test("Waits fail at once, with the tail of the output, when the machine ends", async () => {
  await using fake = await fakePort();
  const wait = fake.port.waitFor("never");
  const failed = expect(wait).rejects.toThrow(/^no "never" on com1: the emulator died\n.*last words$/s);
  fake.guest.end("first\nlast words");
  await fake.port.drained();
  fake.port.fail(new MachineFailure("the emulator died"));
  await failed;
  await expect(fake.port.waitFor("later")).rejects.toThrow("the emulator died");
});

test("What arrived before the machine ended still satisfies a wait", async () => {
  await using fake = await fakePort();
  fake.guest.end("goodbye");
  await fake.port.drained();
  fake.port.fail(new MachineFailure("the machine ended"));
  expect(await fake.port.waitFor("goodbye")).toBe("goodbye");
});

test("A wait that takes too long says what was there instead", async () => {
  await using fake = await fakePort();
  fake.guest.write("something else");
  await fake.port.waitFor("something");
  await expect(fake.port.waitFor("that", 0.05)).rejects.toThrow(/^no "that" on com1 within 0.05 s\n else$/);
});

test("Lines come whole, and only whole ones", async () => {
  await using fake = await fakePort();
  const lines: string[] = [];
  fake.port.onLine((line) => lines.push(line));
  fake.guest.write("a\r\nb");
  await fake.port.waitFor("b");
  fake.guest.write("c\n\nd");
  await fake.port.waitFor("d");
  expect(lines).toEqual(["a", "bc", ""]);
});
