/**
 * The compressed vmlinux in a bzImage (linux: Documentation/arch/x86/boot.rst, payload_offset). Whatever compressed it,
 * the payload's last four bytes are the size of what comes out: gzip's own trailer, or appended by the kernel's build.
 */
import { spawnSync } from "node:child_process";
import { gunzipSync } from "node:zlib";
import { Refusal } from "../../machine/errors.ts";

interface Format {
  name: string;
  magic: number[];
  /** What decompresses standard input to standard output, and the Debian package it is in; Node itself if left out. */
  program?: { command: [string, ...string[]]; package: string };
}

const formats: Format[] = [
  { name: "gzip", magic: [0x1f, 0x8b] },
  {
    name: "xz",
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    program: { command: ["xz", "-dc"], package: "xz-utils" },
  },
  {
    name: "lzma",
    magic: [0x5d, 0x00, 0x00],
    program: { command: ["xz", "-dc", "--format=lzma"], package: "xz-utils" },
  },
  {
    name: "zstd",
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    // The kernel's build asks for windows that the program refuses by default.
    program: { command: ["zstd", "-dc", "--long=31"], package: "zstd" },
  },
  {
    name: "lz4",
    magic: [0x02, 0x21, 0x4c, 0x18],
    program: { command: ["lz4", "-dc"], package: "lz4" },
  },
  { name: "bzip2", magic: [0x42, 0x5a, 0x68], program: { command: ["bzip2", "-dc"], package: "bzip2" } },
];

/** No kernel is as large; a size above it is damage. */
const largest = 1 << 30;

/** What the payload decompresses to, or a refusal that begins with `name`. */
export function decompress(name: string, payload: Buffer): Buffer {
  const format = formats.find(({ magic }) => magic.every((byte, i) => payload[i] === byte));
  if (format === undefined || payload.length < 16) {
    const known = formats.map((one) => one.name).join(", ");
    const start = payload.subarray(0, 6).toString("hex");
    throw new Refusal(`${name}: the kernel in it begins with ${start}, expected one of ${known}`);
  }
  const size = payload.readUInt32LE(payload.length - 4);
  if (size > largest) throw new Refusal(`${name}: it says that its kernel has ${size} bytes, expected fewer`);
  const result =
    format.program === undefined
      ? gunzip(payload, size)
      : runProgram(name, format.program, payload.subarray(0, -4), size);
  if (typeof result === "string") {
    throw new Refusal(`${name}: the kernel in it does not decompress (${format.name}: ${result})`);
  }
  if (result.length !== size) {
    const sizes = `${result.length} bytes, expected ${size}`;
    throw new Refusal(`${name}: the kernel in it decompresses to ${sizes} (${format.name})`);
  }
  return result;
}

/** What comes out, or what is wrong. */
type Result = Buffer | string;

function gunzip(payload: Buffer, size: number): Result {
  try {
    return gunzipSync(payload, { maxOutputLength: size + 1 });
  } catch (error) {
    return (error as Error).message;
  }
}

function runProgram(
  name: string,
  { command, package: debian }: NonNullable<Format["program"]>,
  input: Buffer,
  size: number,
): Result {
  const [file, ...args] = command;
  const ran = spawnSync(file, args, { input, maxBuffer: size + 1, env: { ...process.env, LC_ALL: "C" } });
  const code = ran.error && "code" in ran.error ? ran.error.code : undefined;
  if (code === "ENOENT") {
    throw new Refusal(`${name}: ${file} is needed to decompress it (Debian package ${debian})`);
  }
  if (code === "ENOBUFS") return `more than the ${size} bytes that it says it has`;
  if (ran.status === 0) return ran.stdout;
  return ran.stderr.toString().trim().split("\n")[0] || `${file} failed`;
}
