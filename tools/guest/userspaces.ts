/** What our guests may find in their initial RAM disk: busybox, busybox with programs that strain a machine, Debian with systemd. */
import { dirname } from "node:path";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { cpio, type CpioEntry } from "./cpio.ts";
import { directoryEntries } from "./directory.ts";
import { makeInitramfs } from "./initramfs.ts";
import { neededFiles } from "./needed.ts";
import { unpackTree } from "./tree.ts";

/** How each is made; the first is made without packages but busybox' own. */
export const userspaces = {
  busybox: () => makeInitramfs(),
  stress: stressInitramfs,
  systemd: systemdInitramfs,
} satisfies Record<string, () => Promise<Buffer>>;

export type UserspaceName = keyof typeof userspaces;
export const userspaceNames = Object.keys(userspaces) as UserspaceName[];

/** stress-ng, cyclictest and what they need, beside busybox. */
async function stressInitramfs(): Promise<Buffer> {
  const tree = await unpackTree(["stress-ng", "rt-tests"]);
  const files = neededFiles(tree, ["usr/bin/stress-ng", "usr/bin/cyclictest"]);
  const directories = new Set<string>();
  for (const path of files.keys())
    for (let up = dirname(path); up !== "."; up = dirname(up)) directories.add(up);
  const made = ["lib", "usr", "usr/bin", "usr/sbin"];
  return makeInitramfs([
    ...[...directories]
      .filter((path) => !made.includes(path))
      .sort()
      .map((path): CpioEntry => ({ kind: "directory", path })),
    ...[...files].map(([path, file]): CpioEntry => ({
      kind: "file",
      path,
      mode: 0o755,
      data: readFileSync(file),
    })),
  ]);
}

/** The smallest Debian that systemd brings up to a login prompt on the console; root has no password. */
async function systemdInitramfs(): Promise<Buffer> {
  // apt takes Debian's essential packages for granted, so they are named too.
  const essential =
    "base-files base-passwd bash coreutils findutils grep gzip hostname login mount sed util-linux";
  const packages = [...essential.split(" "), "systemd-sysv", "dbus", "udev", "procps", "libpam-runtime"];
  const tree = await unpackTree(packages);
  const file = (path: string, text: string, mode = 0o644): CpioEntry => ({
    kind: "file",
    path,
    mode,
    data: Buffer.from(text),
  });
  const base = (name: string): string => readFileSync(`${tree}/usr/share/base-passwd/${name}.master`, "utf8");
  // What the packages' scripts would have made.
  const pam = (kind: string, modules: string): CpioEntry => file(`etc/pam.d/common-${kind}`, modules);
  return gzipSync(
    cpio([
      ...directoryEntries(tree),
      { kind: "symlink", path: "init", target: "usr/lib/systemd/systemd" },
      { kind: "symlink", path: "usr/bin/sh", target: "bash" },
      file(
        "etc/passwd",
        base("passwd").replace("root:*:", "root::") + "messagebus:x:100:100::/:/usr/sbin/nologin\n",
      ),
      file("etc/group", `${base("group")}messagebus:x:100:\n`),
      file("etc/hostname", "guest\n"),
      file("etc/machine-id", ""),
      file("etc/fstab", ""),
      file("etc/securetty", "ttyS0\n"),
      pam("auth", "auth sufficient pam_unix.so nullok\nauth required pam_deny.so\n"),
      pam("account", "account required pam_permit.so\n"),
      pam("password", "password required pam_unix.so nullok\n"),
      pam("session", "session required pam_permit.so\nsession optional pam_systemd.so\n"),
      pam("session-noninteractive", "session required pam_permit.so\n"),
    ]),
    { level: 1 },
  );
}
