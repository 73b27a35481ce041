/**
 * Writes a "newc" cpio archive, the format of Linux' initramfs (linux: Documentation/driver-api/early-userspace/
 * buffer-format.rst). Owners, modes and device nodes are what we say, whoever builds it, and the same entries give the
 * same bytes.
 */

export type CpioEntry = { path: string } & (
  | { kind: "directory"; mode?: number }
  | { kind: "file"; data: Uint8Array; mode?: number }
  | { kind: "symlink"; target: string }
  | { kind: "character device"; major: number; minor: number; mode?: number }
);

const type = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  "character device": 0o020000,
} as const;
const defaultMode = { directory: 0o755, file: 0o644, symlink: 0o777, "character device": 0o600 } as const;

export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  let inode = 1;
  for (const entry of entries) {
    const data =
      entry.kind === "file"
        ? entry.data
        : entry.kind === "symlink"
          ? Buffer.from(entry.target)
          : Buffer.alloc(0);
    const mode = type[entry.kind] | (("mode" in entry ? entry.mode : undefined) ?? defaultMode[entry.kind]);
    const device =
      entry.kind === "character device" ? ([entry.major, entry.minor] as const) : ([0, 0] as const);
    parts.push(...record(entry.path.replace(/^\//, ""), { inode: inode++, mode, device, data }));
  }
  parts.push(...record("TRAILER!!!", { inode: 0, mode: 0, device: [0, 0], data: Buffer.alloc(0) }));
  return Buffer.concat(parts);
}

interface Fields {
  inode: number;
  mode: number;
  device: readonly [number, number];
  data: Uint8Array;
}

function record(name: string, { inode, mode, device, data }: Fields): Uint8Array[] {
  const encoded = Buffer.from(`${name}\0`);
  const links = 1;
  // Magic, then 8 hexadecimal digits each: inode, mode, uid, gid, links, mtime, size, device (2), represented device
  // (2), length of the name, checksum (unused).
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, ...device, encoded.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  return [padded(Buffer.concat([Buffer.from(header), encoded])), padded(data)];
}

/** Header with name, and contents, each end on a multiple of four. */
function padded(data: Uint8Array): Uint8Array {
  const rest = -data.length & 3;
  return rest === 0 ? data : Buffer.concat([data, Buffer.alloc(rest)]);
}
