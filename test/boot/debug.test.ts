/** The debugger on real machines: the sessions of docs/debugging.md, and its line by hand. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { projectDirectory, RunDirectory } from "../../tools/machine/run-directory.ts";
import { startImage } from "../../tools/trial/boot.ts";
import { assembleGuest, optionsOf, type Place, svm, vtx } from "./harness.ts";
import { RspClient } from "./rsp.ts";

vi.setConfig({ testTimeout: 900_000 });

interface Result {
  status: number | null;
  output: string;
}

/** scripts/debug; its standard output and error together. */
function debug(place: Place, ...args: string[]): Promise<Result> {
  const child = spawn(join(projectDirectory, "scripts/debug"), [
    "--timeout",
    "600",
    ...optionsOf(place),
    ...args,
  ]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (output += bytes));
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, output })));
}

const example = (name: string) => ["--script", join(projectDirectory, `docs/debugging/${name}.gdb`)];

/** Not Bochs' ryzen: docs/machines.md says why. */
const places: [string, Place][] = [
  ["VT-x", vtx],
  ["AMD-V", svm],
];

describe.each(places)("On %s", (_, place) => {
  test("docs/debugging/exit-handler.gdb stops on a line of TypeScript and prints its variables", async () => {
    const { status, output } = await debug(place, "--og", ...example("exit-handler"));
    expect(output).toMatch(
      /hit Breakpoint 1.* \(v=\d+, kind=0\) at kernel\/vcpu\/cpuid\.ts:(\d+)\n\1\s+give\(/,
    );
    expect(output).toMatch(/^v = \d+\nkind = 0$/m);
    expect(output).toMatch(/^onCpuid_v = \d+$/m); // of a function that is inlined there
    expect(output).toMatch(
      /^#[12] .* (\w+_)?onOther \(v=\d+, (code|reason)=\d+\) at kernel\/monitor\/(vmx|svm|run)\.ts:\d+$/m,
    );
    expect(output).toMatch(/^the guest is at 0x[0-9a-f]+ and asks for leaf 0x[0-9a-f]+$/m);
    expect(output).toMatch(/:\tcpuid/);
    expect(status).toBe(0);
  });

  test("docs/debugging/guest-kernel.gdb stops in a function of the guest's kernel and says who called it", async () => {
    const { status, output } = await debug(place, ...example("guest-kernel"));
    expect(output).toMatch(/guest kernel at 0xffffffff[0-9a-f]{8}: slide 0x[0-9a-f]+, \d{5,} symbols/);
    expect(output).toMatch(/hit Breakpoint \d, 0x[0-9a-f]+ in ksys_write \(\)/);
    expect(output).toMatch(/#1 .* in do_syscall_64 \(\)\n#2 .* in entry_SYSCALL_64_after_hwframe \(\)/);
    expect(output).toMatch(/^\d+ bytes: "/m);
    expect(status).toBe(0);
  });

  test("docs/debugging/watch.gdb stops when the guest writes to a place of its physical memory", async () => {
    const { status, output } = await debug(place, ...example("watch"));
    const [, gpa] = /ticks at guest-physical (0x[0-9a-f]+)/.exec(output) ?? [];
    expect(output).toContain(`vm0: write to guest-physical ${gpa} (watch ${gpa}+8)`);
    expect(output).toMatch(/#0 .* in do_timer \(\)/);
    expect(output).toMatch(/hit Hardware watchpoint \d: \*\(long \*\)&jiffies_64/);
    const [, before, after] = /Old value = (\d+)\nNew value = (\d+)/.exec(output) ?? [];
    expect(BigInt(after!)).toBe(BigInt(before!) + 1n);
    expect(status).toBe(0);
  });

  test("docs/debugging/second-vcpu.gdb follows a second vCPU, with the first one beside it", async () => {
    const { status, output } = await debug(place, "--cpus", "2", ...example("second-vcpu"));
    expect(output).toMatch(
      /^Thread 2\.2 "vm0 vcpu1" hit Breakpoint \d, (0x[0-9a-f]+) in start_secondary \(\)$/m,
    );
    expect(output).toMatch(/^ +2\.1 +Thread 2\.1 "vm0 vcpu0" 0x[0-9a-f]+ in \w+ \(\)$/m);
    expect(output).toMatch(/^#1 .* in secondary_startup_64_no_verify \(\)$/m);
    // The one that waits is somewhere below this.
    expect(output).toMatch(/^#3 .* in (\w+) \(\)$/m);
    expect(output.match(/^0x[0-9a-f]+ in start_secondary \(\)$/gm)).toHaveLength(2); // stepi
    expect(output).toMatch(/^Thread 2\.[12] "vm0 vcpu[01]" hit Temporary breakpoint \d, .* in ksys_write/m);
    expect(output).toMatch(/^vm0: ready, 512 MiB, rip 0x[0-9a-f]+, 0x[0-9a-f]+$/m);
    expect(status).toBe(0);
  });

  test("the line takes a debugger that comes while guests run, and lets go of it", async () => {
    const directory = new RunDirectory("trial");
    const { machine: kind, cpu } = place;
    await using machine = await startImage(
      {
        machine: kind,
        ...(cpu === undefined ? {} : { cpu }),
        options: "console=com1 debug=com2",
        modules: [{ file: assembleGuest("spin", { PAUSE: 1 }), text: "kernel memory=4M" }],
      },
      directory,
    );
    const [console, line] = machine.serial;
    await console.waitFor("debugger: on COM2");
    await console.waitFor("spins");
    const gdb = new RspClient(line);
    // It attaches: the machine stops, in the guest.
    expect(await gdb.ask("qSupported:multiprocess+;swbreak+;hwbreak+")).toContain("multiprocess+");
    expect(await gdb.ask("?")).toMatch(/^T02thread:p2\.1;$/);
    expect(await gdb.ask("qfThreadInfo")).toBe("mp1.1,p2.1");
    // What is no packet, or no request, is answered as the protocol says.
    expect(await gdb.ask("Xffffffffffffffff,10:")).toMatch(/^E/);
    expect(await gdb.ask("mffffffffffffffff,ffffffff")).toMatch(/^E/);
    expect(await gdb.ask("vNonsense")).toBe("");
    await gdb.send("qC", "00");
    await gdb.send("qC");
    expect(await gdb.next()).toMatch(/^QC/);
    // It runs, and is interrupted.
    await gdb.send("vCont;c");
    await gdb.interrupt();
    expect(await gdb.next()).toMatch(/^T02thread:p2\.1;$/);
    // It may have been caught behind its last byte, before its loop: PAUSE and the jump back to it.
    const rip = async () => Buffer.from(await gdb.ask("p10"), "hex").readBigUInt64LE();
    expect(await gdb.ask("Hgp2.1")).toBe("OK");
    const instruction = async () => gdb.ask(`m${(await rip()).toString(16)},2`);
    const step = async () => expect(await gdb.ask("vCont;s:p2.1;c")).toMatch(/^T05thread:p2\.1;$/);
    for (let steps = 0; steps < 100 && !["f390", "ebfc"].includes(await instruction()); steps++) await step();
    // A breakpoint on the jump, where it may be already.
    const jump = (await rip()) + ((await instruction()) === "f390" ? 2n : 0n);
    const hit = async () => {
      expect(await gdb.ask(`Z0,${jump.toString(16)},1`)).toBe("OK");
      expect(await gdb.ask("vCont;c")).toMatch(/^T05swbreak:;thread:p2\.1;$/);
      expect(await rip()).toBe(jump);
    };
    if ((await rip()) !== jump) await hit();
    // One instruction, which a debugger takes the breakpoint away for, and the breakpoint again.
    expect(await gdb.ask(`z0,${jump.toString(16)},1`)).toBe("OK");
    await step();
    expect(await rip()).toBe(jump - 2n);
    await hit();
    // It goes: nothing of it is left, and the guest runs until somebody else comes.
    expect(await gdb.ask("D")).toBe("OK");
    expect(await gdb.ask("qSupported:multiprocess+")).toContain("multiprocess+");
    expect(await gdb.ask("?")).toMatch(/^T02thread:p2\.1;$/);
    // It ends the VM, and hears of the hypervisor's end, as there is no other.
    expect(await gdb.ask("qfThreadInfo")).toBe("mp1.1,p2.1");
    expect(await gdb.ask("vKill;2")).toBe("OK");
    await gdb.send("vCont;c");
    await console.waitFor("vm0: ended: ended by the debugger");
    expect(await gdb.next()).toBe("W00;process:1");
    directory.remove();
  });
});

test("scripts/debug returns GDB's status, and says in one line what it cannot do", async () => {
  const folder = mkdtempSync(join(tmpdir(), "typevisor-debug-test-"));
  const script = join(folder, "wrong.gdb");
  writeFileSync(script, "info inferiors\nfrobnicate\n");
  const place: Place = { machine: "qemu-tcg" };
  const failed = await debug(place, "--script", script);
  expect(failed.output).toContain('Undefined command: "frobnicate"');
  expect(failed.status).toBe(1);
  rmSync(folder, { recursive: true });
  const missing = await debug(place, "--script", "/nowhere.gdb");
  expect(missing).toEqual({ status: 3, output: "scripts/debug: --script /nowhere.gdb: no such file\n" });
  const wrong = await debug(place, "--frob");
  expect(wrong.status).toBe(3);
  expect(wrong.output).toMatch(/^scripts\/debug: unknown option '--frob'.*; see scripts\/debug --help\n$/);
  expect(wrong.output.split("\n").length).toBe(2);
});
