import { execFile } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parseOptions } from "../../tools/cli/command.ts";
import { getGuest, type Guest } from "../../tools/cli/guest.ts";
import { checkRequest } from "../../tools/cli/request.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { busyboxFile } from "../../tools/guest/initramfs.ts";
import { kernels } from "../../tools/guest/kernels.ts";
import { availability } from "../../tools/machine/available.ts";
import { Refusal } from "../../tools/machine/errors.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { elf, pvhNote } from "../unit/fake/elf.ts";
import { multibootHeader } from "../unit/fake/multiboot.ts";

vi.setConfig({ testTimeout: 60_000 });

const directory = mkdtempSync(join(tmpdir(), "typevisor-bad-"));
const files = ["truncated", "random", "empty", "big", "directory", "pvh", "multiboot"];
const file = (name: string): string => join(directory, name);

beforeAll(async () => {
  const kernel = readFileSync(await fetchFile(kernels.cloud));
  await fetchFile(busyboxFile);
  writeFileSync(file("truncated"), kernel.subarray(0, 5_000_000));
  writeFileSync(file("random"), Buffer.alloc(100_000, "typevisor"));
  writeFileSync(file("empty"), "");
  const part = Buffer.concat([multibootHeader(0), Buffer.alloc(100)]);
  const parts = [{ at: 16 << 20, bytes: part }];
  writeFileSync(file("pvh"), elf({ parts, notes: pvhNote(16 << 20) }));
  writeFileSync(file("multiboot"), elf({ bits: 32, entry: 16 << 20, parts }));
  writeFileSync(file("big"), "");
  truncateSync(file("big"), 600 << 20);
  mkdirSync(file("directory"));
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

interface Result {
  status: number;
  stdout: string;
  stderr: string;
  /** What it has left in its temporary directory. */
  left: string[];
}

/** Runs scripts/boot with a temporary directory of its own. */
function boot(args: string[]): Promise<Result> {
  const temporary = mkdtempSync(join(directory, "tmp-"));
  return new Promise((resolve) => {
    const options = { env: { ...process.env, TMPDIR: temporary }, cwd: directory };
    const child = execFile(join(projectDirectory, "scripts/boot"), args, options, (error, stdout, stderr) => {
      const left = readdirSync(temporary).filter((name) => name.startsWith("typevisor-"));
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr, left });
    });
    child.stdin?.end();
  });
}

/** What scripts/boot does before it starts anything. */
async function prepare(args: string[]): Promise<Guest> {
  const options = parseOptions(
    args.map((argument) => (files.includes(argument) ? file(argument) : argument)),
  );
  return getGuest(checkRequest(options!), file("initramfs"));
}

test("A multiboot kernel has no module unless one is named, others have our busybox", async () => {
  expect((await prepare(["--kernel", "multiboot"])).initrd).toBeUndefined();
  expect((await prepare(["--kernel", "multiboot", "--initrd", "random"])).initrd).toBe(file("random"));
  expect((await prepare(["--kernel", "pvh"])).initrd).toBe(file("initramfs"));
});

test.each([
  [["--kernel", "pvh", "--bare"], "pvh: a PVH kernel, but --bare boots bzImages only"],
  [["--kernel", "pvh", "--memory", "16M"], "--memory: 16M is too small, this kernel needs at least "],
  [["--kernel", "nowhere"], "nowhere: no such file"],
  [["--kernel", "directory"], "directory: not a file"],
  [["--kernel", "empty"], "empty: the file is empty"],
  [["--kernel", "truncated"], "truncated: the file is truncated: it has 5000000 of "],
  [["--kernel", "random"], "random: not a kernel: no bzImage, no PVH ELF file and no multiboot kernel"],
  [["--initrd", "nowhere"], "nowhere: no such file"],
  [["--initrd", "empty"], "empty: the file is empty"],
  [["--initrd", "big"], "the initrd of 600M is too large for the guest: "],
  [["--memory", "32M"], "--memory: 32M is too small, this kernel needs at least "],
  [
    ["--memory", "3G", "--machine", "bochs"],
    "--memory: 3072M is too much for bochs, which can give a guest 1920M",
  ],
  [["--memory", "lots"], '--memory: "lots" is no size'],
  [["--timeout", "soon"], '--timeout: "soon" is no number of seconds'],
  [["--until", ""], "--until: the text is empty"],
  [["--append", "a\nb"], "--append: control characters cannot be passed on"],
  [["--iso", "/nowhere/x.iso"], "--iso /nowhere/x.iso: no such directory"],
  [["--iso", "directory"], "directory: not a file"],
  [["--frobnicate"], "unknown option '--frobnicate'; see scripts/boot --help"],
  [["--machine", "vax"], "option '--machine <kind>' argument 'vax' is invalid."],
  [["surplus"], "too many arguments"],
])("%j is refused by name", async (args, why) => {
  await expect(prepare(args)).rejects.toThrow(why);
  await expect(prepare(args)).rejects.toThrow(Refusal);
});

test.each(["bochs", "qemu-tcg"])("Bad input is refused on %s alike", async (machine) => {
  const on = ["--machine", machine];
  await expect(prepare([...on, "--kernel", "truncated"])).rejects.toThrow("truncated: the file is truncated");
  await expect(prepare([...on, "--kernel", "random"])).rejects.toThrow("random: not a kernel: ");
  await expect(prepare([...on, "--initrd", "big"])).rejects.toThrow("the initrd of 600M is too large");
  await expect(prepare([...on, "--memory", "32M"])).rejects.toThrow("--memory: 32M is too small");
});

// On a host that nests there is nothing to refuse.
test.runIf(!availability("qemu-kvm").available)(
  "scripts/boot --machine qemu-kvm without nesting says in one line what is missing, and has status 3",
  async () => {
    const { status, stdout, stderr, left } = await boot(["--machine", "qemu-kvm"]);
    expect(stderr).toMatch(
      /^scripts\/boot: --machine qemu-kvm is not available: [^\n]*(\/dev\/kvm|nest)[^\n]*\n$/,
    );
    expect({ status, stdout, left }).toEqual({ status: 3, stdout: "", left: [] });
  },
);

test.each(["bochs", "qemu-tcg"])(
  "A processor that %s does not have is refused in one line",
  async (machine) => {
    const { status, stdout, stderr, left } = await boot(["--machine", machine, "--cpu", "no_such_cpu"]);
    expect(stderr).toMatch(/^scripts\/boot: [^\n]*no_such_cpu[^\n]*\n$/m);
    expect({ status, stdout, left }).toEqual({ status: 3, stdout: "", left: [] });
  },
);

test.each([[["--kernel", "truncated"]], [["--bare", "--memory", "32M"]], [["--frobnicate"]]])(
  "scripts/boot %j says one line, has status 3 and leaves nothing",
  async (args) => {
    const { status, stdout, stderr, left } = await boot(args);
    expect(stderr).toMatch(/^scripts\/boot: [^\n]*\n$/);
    expect({ status, stdout, left }).toEqual({ status: 3, stdout: "", left: [] });
  },
);

test("scripts/boot --help names every option and status", async () => {
  const { status, stdout } = await boot(["--help"]);
  expect(status).toBe(0);
  const contract =
    "kernel initrd append memory machine until timeout ready no-reboot bare cpu hypervisor-options";
  for (const option of contract.split(" ")) expect(stdout).toContain(`--${option} `);
  for (const kind of ["auto", "bochs", "qemu-tcg", "qemu-kvm"])
    expect(stdout).toMatch(new RegExp(`^  ${kind}  `, "m"));
  for (const number of [0, 1, 2, 3, 4, 5]) expect(stdout).toMatch(new RegExp(`^  ${number}  `, "m"));
});
