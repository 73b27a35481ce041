import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { cpio, type CpioEntry } from "../../tools/guest/cpio.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { busyboxFile, makeInitramfs } from "../../tools/guest/initramfs.ts";

const entries: CpioEntry[] = [
  { kind: "directory", path: "/dev" },
  { kind: "character device", path: "dev/console", major: 5, minor: 1 },
  { kind: "file", path: "init", mode: 0o755, data: Buffer.from("12345") },
  { kind: "file", path: "readme", data: Buffer.from("") },
  { kind: "symlink", path: "link", target: "init" },
];

/** The archive's table of contents by another implementation. */
async function list(archive: Buffer): Promise<string[]> {
  const busybox = await fetchFile(busyboxFile);
  const text = execFileSync(busybox, ["cpio", "-t", "-v"], {
    input: archive,
    stdio: ["pipe", "pipe", "ignore"],
  });
  return text.toString().trim().split("\n");
}

test("Another cpio reads names, types, modes, sizes and device numbers", async () => {
  const fields = (await list(cpio(entries))).map((line) =>
    line.replace(/\s+/g, " ").replace(/ [\d-]+ [\d:]+ /, " "),
  );
  expect(fields).toEqual([
    "drwxr-xr-x 0/0 0 dev",
    expect.stringMatching(/^crw------- 0\/0 .*dev\/console$/),
    "-rwxr-xr-x 0/0 5 init",
    "-rw-r--r-- 0/0 0 readme",
    "lrwxrwxrwx 0/0 0 link -> init", // busybox shows no size,
  ]);
});

test("A header is laid out as Linux reads it", () => {
  const [header] = [cpio([{ kind: "character device", path: "x", major: 5, minor: 1 }]).toString("latin1")];
  // magic inode mode uid gid links mtime size device(2) rdevice(2) namesize checksum
  expect(header.slice(0, 112)).toBe(
    "070701" +
      "00000001" + // inode
      "00002180" + // 020600
      "00000000".repeat(2) +
      "00000001" +
      "00000000".repeat(4) +
      "00000005" +
      "00000001" +
      "00000002" +
      "00000000" +
      "x\0",
  );
});

test("The initramfs is the same each time and has what a kernel needs to start it", async () => {
  const first = await makeInitramfs();
  expect(first.equals(await makeInitramfs())).toBe(true);
  const names = (await list(first)).map((line) =>
    line
      .replace(/ -> .*/, "")
      .split(" ")
      .at(-1),
  );
  for (const path of ["init", "dev/console", "bin/sh", "sbin/poweroff", "bin/ticks", "proc", "sys", "tmp"]) {
    expect(names).toContain(path);
  }
  expect(first.length % 4).toBe(0);
});

test("A test's own files come last", async () => {
  const extra: CpioEntry = { kind: "file", path: "bin/extra", mode: 0o755, data: Buffer.from("x") };
  expect((await list(await makeInitramfs([extra]))).at(-1)).toContain("bin/extra");
});
