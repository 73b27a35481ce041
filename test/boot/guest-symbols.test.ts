/** A kernel that waits for its disk in QEMU, seen by GDB through QEMU's own stub: its symbols, where it is, and its whole stack. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readKernel } from "../../tools/debug/kernel-symbols/read-kernel.ts";
import { symbolFile } from "../../tools/debug/kernel-symbols/symbol-file.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { kernels } from "../../tools/guest/kernels.ts";
import { onExit } from "../../tools/machine/exit-hooks.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

vi.setConfig({ testTimeout: 300_000 });

let directory: string;
let qemu: ChildProcess | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "typevisor-guest-"));
});
afterEach(async () => {
  if (qemu !== undefined && qemu.exitCode === null) {
    qemu.kill("SIGKILL");
    await once(qemu, "close");
  }
  rmSync(directory, { recursive: true });
});

/** Stopped at its first instruction; GDB connects through the socket. */
function boot(kernel: string, append: string): string {
  const socket = join(directory, "gdb");
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none", "-S"],
      ...["-chardev", `socket,path=${socket},server=on,wait=off,id=gdb`, "-gdb", "chardev:gdb"],
      ...["-kernel", kernel, "-append", append],
    ],
    { stdio: "ignore" },
  );
  child.on(
    "close",
    onExit(() => child.kill("SIGKILL")),
  );
  qemu = child;
  return socket;
}

/** Tries until the kernel is there; it sleeps and looks for its disk again from then on, and its timer interrupts it. */
const script = (socket: string, symbols: string): string => `
set pagination off
source ${join(projectDirectory, "tools/debug/guest.py")}
target remote ${socket}
python
import threading
def guest_symbols():
    try:
        gdb.execute("guest-symbols ${symbols}")
        return True
    except gdb.error as error:
        print("not yet:", error)
        return False
def run(seconds):
    threading.Timer(seconds, lambda: gdb.post_event(lambda: gdb.execute("interrupt"))).start()
    gdb.execute("continue", False, True)
while not guest_symbols():
    run(0.3)
end
hbreak msleep
continue
backtrace
delete
hbreak __sysvec_apic_timer_interrupt
continue
echo interrupted\\n
backtrace
disconnect
`;

test.each([
  ["cloud", ""],
  ["cloud", "nokaslr"],
  ["cloud-6.12", ""],
] as const)("GDB finds %s booted with '%s' and unwinds its stacks to the end", async (name, append) => {
  const kernel = await fetchFile(kernels[name]);
  const symbols = join(directory, "symbols.elf");
  writeFileSync(symbols, symbolFile(readKernel(kernel, readFileSync(kernel))));
  const socket = boot(kernel, `root=/dev/sda1 rootwait ${append}`);
  const commands = join(directory, "commands");
  await vi.waitFor(() => execFileSync("test", ["-S", socket]));
  writeFileSync(commands, script(socket, symbols));
  const said = execFileSync("gdb", ["-nx", "-q", "-batch", "-x", commands], {
    encoding: "utf8",
    timeout: 100_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  expect(said).toContain("not yet: the guest's kernel is not mapped yet");
  const slide = /^guest kernel at (0x[0-9a-f]+): slide (0x[0-9a-f]+), \d+ symbols$/m.exec(said);
  expect(Number(slide?.[2]) % 0x200000, said).toBe(0);
  if (append === "nokaslr") expect(slide?.[1]).toBe("0xffffffff81000000");
  const [sleeping, interrupted] = said.split("\ninterrupted\n").map(chain);
  const forked = name === "cloud" ? ["ret_from_fork"] : ["ret_from_fork", "ret_from_fork_asm"];
  const start = ["prepare_namespace", "kernel_init_freeable", "kernel_init", ...forked];
  expect(sleeping![0], said).toBe("msleep");
  expect(sleeping!.slice(-start.length), said).toEqual(start);
  // The handler runs on another stack than what it interrupted.
  expect(interrupted!.slice(0, 3), said).toEqual([
    "__sysvec_apic_timer_interrupt",
    "sysvec_apic_timer_interrupt",
    "asm_sysvec_apic_timer_interrupt",
  ]);
  expect(interrupted!.length, said).toBeGreaterThan(5);
  expect(interrupted!.at(-1), said).toMatch(
    /^(ret_from_fork(_asm)?|secondary_startup_64.*|common_startup_64)$/,
  );
});

function chain(text: string): string[] {
  return Array.from(text.matchAll(/^#\d+ .* in ([\w.]+) \(\)$/gm), ([, frame]) => frame!);
}
