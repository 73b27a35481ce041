/** A root file system of one static busybox: enough for a shell and for whatever a test puts beside it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Refusal } from "../machine/errors.ts";
import { cpio, type CpioEntry } from "./cpio.ts";
import { fetchFile, type PackageFile } from "./debian.ts";

export const busyboxFile: PackageFile = { package: "busybox-static", path: "*bin/busybox" };
const here = dirname(fileURLToPath(import.meta.url));
const directories = [
  "bin",
  "sbin",
  "usr",
  "usr/bin",
  "usr/sbin",
  "dev",
  "etc",
  "proc",
  "root",
  "sys",
  "tmp",
  "lib",
];

/** Without -f these return at once and end the guest a little later: what is typed next would go to the old guest. */
const profile = 'for name in poweroff reboot halt; do alias $name="$name -f"; done\n';

/** cttyhack finds the terminal behind /dev/console and makes it the shell's own, for Ctrl-C and job control. */
const inittab = "::respawn:/bin/cttyhack /bin/sh -l\n";

/**
 * The archive's bytes. `extra` files come last and may replace ours; /etc/start, if there is one, is run before the
 * shell. Not compressed: a guest reads two megabytes in less time than it unpacks one.
 */
export async function makeInitramfs(extra: readonly CpioEntry[] = []): Promise<Buffer> {
  const busybox = await fetchFile(busyboxFile);
  const applets = execFileSync(busybox, ["--list-full"], { encoding: "utf8" }).trim().split("\n");
  const links = applets.filter((path) => !["bin/busybox", "linuxrc"].includes(path));
  return cpio([
    ...directories.map((path): CpioEntry => ({
      kind: "directory",
      path,
      mode: path === "root" ? 0o700 : 0o755,
    })),
    // What process 1 starts with, before devtmpfs is mounted.
    { kind: "character device", path: "dev/console", major: 5, minor: 1 },
    { kind: "character device", path: "dev/null", major: 1, minor: 3, mode: 0o666 },
    { kind: "file", path: "etc/inittab", data: Buffer.from(inittab) },
    { kind: "file", path: "etc/profile", data: Buffer.from(profile) },
    // The names that ls and id show.
    { kind: "file", path: "etc/passwd", data: Buffer.from("root::0:0:root:/root:/bin/sh\n") },
    { kind: "file", path: "etc/group", data: Buffer.from("root:x:0:\n") },
    { kind: "file", path: "init", mode: 0o755, data: readFileSync(join(here, "init")) },
    { kind: "file", path: "bin/busybox", mode: 0o755, data: readFileSync(busybox) },
    ...links.map((path): CpioEntry => ({ kind: "symlink", path, target: "/bin/busybox" })),
    { kind: "file", path: "bin/ticks", mode: 0o755, data: assemble(join(here, "ticks.asm")) },
    ...extra,
  ]);
}

/** The bytes of a flat binary. */
export function assemble(source: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), "typevisor-assemble-"));
  try {
    const output = join(directory, "program");
    execFileSync("nasm", ["-f", "bin", "-o", output, source], { stdio: "pipe" });
    return readFileSync(output);
  } catch (error) {
    throw new Refusal(`nasm cannot assemble ${source}: ${String((error as Error).message).split("\n")[0]}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
