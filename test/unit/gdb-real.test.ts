/** The real GDB, with the debugger and the fake machine at the other end of its pipe. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gdbVendors } from "./fake/gdbmachine.ts";
import { projectDirectory } from "./fake/layout.ts";

const loader = join(projectDirectory, "node_modules/tsx/dist/loader.mjs");
const server = join(import.meta.dirname, "fake/gdbserver.ts");
const present = spawnSync("gdb", ["--version"]).status === 0;

/** What GDB prints for commands. */
function gdb(vendor: string, commands: string[], target = "remote"): string {
  const all = [
    "set confirm off",
    "set architecture i386:x86-64",
    "set remotetimeout 30",
    `target ${target} | node --import ${loader} ${server} ${vendor}`,
    ...commands,
  ];
  const { stdout, stderr } = spawnSync("gdb", ["-nx", "-batch", ...all.flatMap((c) => ["-ex", c])], {
    encoding: "utf8",
    timeout: 50_000,
  });
  return stdout + stderr;
}

describe.skipIf(!present).each(gdbVendors)("GDB on %s", (vendor) => {
  test("sees the hypervisor and the VMs: threads, registers, memory", () => {
    const text = gdb(vendor, [
      "info threads",
      "info registers",
      "x/4xw 0x40000000",
      "print/x *(char*)0x40000000 = 0x7f",
      "x/1xb 0x40000000",
      "thread 2.1",
      "print/x $rbx",
      "print/x $rip",
      "unset tdesc filename",
      "info registers cr0 efer fs_base",
    ]);
    expect(text).toMatch(/\* 1\.1 +Thread 1\.1 "cpu0" +0x0*201000 in/);
    expect(text).toMatch(/2\.1 +Thread 2\.1 "vm0 vcpu0" +0x0*100000 in/);
    expect(text).toMatch(/3\.1 +Thread 3\.1 "vm1 vcpu0"/);
    expect(text).toMatch(/cr3 +0x600000/);
    expect(text).toMatch(/cr0 +<unavailable>/);
    expect(text).toContain("0x04030201\t0x08070605\t0x0c0b0a09\t0x100f0e0d");
    expect(text).toMatch(/0x40000000:\t0x7f/);
    expect(text).toContain("$2 = 0x4444");
    expect(text).toContain("$3 = 0x100000");
    expect(text).toMatch(/cr0 +0x60000010/);
    expect(text).not.toMatch(/rror|too long|unexpected/);
  });

  test("breaks, steps, changes registers, talks to the monitor", () => {
    const text = gdb(vendor, [
      "thread 2.1",
      "hbreak *0x100010",
      "continue",
      "delete",
      "break *0x100020",
      "continue",
      "x/1i $rip",
      "stepi",
      "print/x $rip",
      "set $rax = 0x1234",
      "print/x $rax",
      "monitor help",
      "monitor breakpoints",
      "monitor vms",
      "thread 1.1",
      "stepi",
      "print/x $rip",
      "kill inferiors 2",
      "detach",
    ]);
    expect(text).toMatch(/Thread 2\.1 "vm0 vcpu0" hit Breakpoint 1, 0x0*100010/);
    expect(text).toMatch(/Thread 2\.1 "vm0 vcpu0" hit Breakpoint 2, 0x0*100020/);
    expect(text).toMatch(/=> 0x100020:\tnop/);
    expect(text).toContain("$1 = 0x100021");
    expect(text).toContain("$2 = 0x1234");
    expect(text).toContain("catch kernel");
    expect(text).toContain("vm1: ready, 8 MiB, rip 0x100000");
    expect(text).toContain("$3 = 0x201001");
    expect(text).not.toMatch(/rror|too long|unexpected/);
  });

  test("takes the target as an extended one too", () => {
    const text = gdb(vendor, ["info threads", "detach"], "extended-remote");
    expect(text).toMatch(/3\.1 +Thread 3\.1 "vm1 vcpu0"/);
  });
});
