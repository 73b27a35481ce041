import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { chunks, Typist } from "../../tools/cli/typist.ts";
import { fakePort } from "./fake-port.ts";

async function cut(text: string): Promise<string[]> {
  const pieces: string[] = [];
  for await (const piece of chunks(Readable.from([Buffer.from(text)]))) pieces.push(piece.toString());
  return pieces;
}

test("Text is cut at line ends and at what a UART takes at once, never inside of a character", async () => {
  expect(await cut("ls\necho 0123456789abcdef\n")).toEqual(["ls\n", "echo 0123456789a", "bcdef\n"]);
  expect(await cut(`${"ü".repeat(9)}\n`)).toEqual(["üüüüüüüü", "ü\n"]);
  expect(await cut(`x${"ü".repeat(8)}`)).toEqual(["xüüüüüüü", "ü"]);
});

test("Nothing is typed before the guest is ready, and each piece waits for the echo of the last", async () => {
  await using fake = await fakePort();
  const typed: string[] = [];
  // A guest that echoes, in two pieces, and shows its prompt after each line.
  fake.guest.on("data", (bytes) => {
    const text = bytes.toString();
    typed.push(text);
    fake.guest.write(text.slice(0, 1));
    setImmediate(() => fake.guest.write(text.slice(1).replace("\n", "\r\noutput\r\n/root # ")));
  });
  const done = new Typist(fake.port, undefined).type(
    Readable.from([Buffer.from("echo 0123456789abcdef\npoweroff\n")]),
  );
  fake.guest.write("booting #1\r\n");
  await fake.port.waitFor("booting");
  expect(typed).toEqual([]);
  fake.guest.write("/root # ");
  await done;
  expect(typed).toEqual(["echo 0123456789a", "bcdef\n", "poweroff\n"]);
});

test("With --ready the text decides, wherever it stands", async () => {
  await using fake = await fakePort();
  const done = new Typist(fake.port, "press a key").type(Readable.from([Buffer.from("x")]));
  fake.guest.write("please press a key now");
  const got = new Promise((resolve) => fake.guest.once("data", resolve));
  expect(String(await got)).toBe("x");
  fake.guest.write("x");
  await done;
});

test("A guest that does not echo gets the rest after a silence", async () => {
  await using fake = await fakePort();
  const typed: string[] = [];
  fake.guest.on("data", (bytes) => typed.push(bytes.toString()));
  const done = new Typist(fake.port, undefined).type(Readable.from([Buffer.from("0123456789abcdefgh")]));
  fake.guest.write("> ");
  await done;
  await expect.poll(() => typed.join("")).toBe("0123456789abcdefgh");
});

test("After a restart of the guest nothing is typed before it is ready again", async () => {
  await using fake = await fakePort();
  const typed: string[] = [];
  const typist = new Typist(fake.port, undefined);
  fake.guest.on("data", (bytes) => {
    typed.push(bytes.toString());
    fake.guest.write(bytes.toString());
    if (typed.length === 1) typist.guestRestarted();
  });
  const done = typist.type(Readable.from([Buffer.from("reboot\nuname\n")]));
  fake.guest.write("# ");
  await fake.port.waitFor("reboot");
  fake.guest.write("starting\n");
  await fake.port.waitFor("starting");
  expect(typed).toEqual(["reboot\n"]);
  fake.guest.write("# ");
  await done;
  expect(typed).toEqual(["reboot\n", "uname\n"]);
});
