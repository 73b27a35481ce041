/** The command behind scripts/bench: figures in instructions, on an emulator that counts them, beside the budget. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Command, Option } from "commander";
import { stage } from "../cli/stages.ts";
import { type MachineKind } from "../machine/machine.ts";
import { measureExits } from "./exits.ts";
import { bootBareLinux, bootLinux, type LinuxResult } from "./linux.ts";

/**
 * Ticks of one exit, round trip, by machine, or machine and processor; what is not named has no budget. TCG's AMD-V saves no
 * next RIP: an exit there includes a look at the instruction (kernel/svm/length.ts).
 */
const budgets: Record<string, Record<string, number>> = {
  bochs: { cpuid: 110, "uart-status": 140, "pic-mask": 140, "rtc-index": 140, post: 140 },
  "bochs ryzen": { cpuid: 140 },
  "qemu-tcg": { cpuid: 300 },
};
/** The boot under the hypervisor may take so many times the ticks of the boot without. */
const bootBudget = 1.05;

/** Inside a Linux guest on the machine: KVM of Linux 6.1, and Xen 4.17 PVH (docs/benchmarks.md). */
const others: Record<string, Record<string, [kvm: number, xen: number]>> = {
  bochs: {
    cpuid: [1127, 1036],
    "uart-status": [4302, 1459],
    "fresh-page": [6270, 3927],
    "nanosleep-1ms": [64186, 66462],
    "fork-wait": [173878, 188856],
  },
  "qemu-tcg": { cpuid: [3055, 6557] },
};

const program = new Command("scripts/bench")
  .description("Measures what exits and a Linux boot cost, in instructions, on an emulator that counts them.")
  .addOption(
    new Option("--machine <kind>", "the emulator that counts")
      .choices(["bochs", "qemu-tcg"])
      .default("bochs"),
  )
  .option("--cpu <model>", "the emulated processor; ryzen is Bochs' AMD-V")
  .option("--exits", "only the exits: a few seconds")
  .showHelpAfterError("Try scripts/bench --help.")
  .parse();
const options = program.opts<{ machine: MachineKind; cpu?: string; exits?: boolean }>();

let missed = 0;

function row(name: string, ...cells: string[]): void {
  console.log(`  ${name.padEnd(16)}${cells.map((cell) => cell.padStart(14)).join("")}`);
}

function verdict(value: number, budget: number | undefined): string {
  if (budget === undefined) return "";
  if (value <= budget) return `<= ${budget}`;
  missed++;
  return `> ${budget} !`;
}

function printExits(ticks: Map<string, number>): void {
  console.log("\nOne exit, round trip, in ticks:");
  row("", "ticks", "budget");
  const budget = budgets[`${options.machine} ${options.cpu}`] ?? budgets[options.machine];
  for (const [name, value] of ticks) row(name, String(value), verdict(value, budget?.[name]));
}

function printLinux(bare: LinuxResult, guest: LinuxResult): void {
  console.log("\nDebian's cloud kernel until its shell, in ticks:");
  const kernelBare = bare.shell - guest.entered;
  const whole = (guest.started + guest.shell) / bare.shell;
  row("", "bare", "Typevisor", "ratio", "budget");
  row(
    "from power-on",
    String(bare.shell),
    String(guest.started + guest.shell),
    whole.toFixed(4),
    verdict(whole, bootBudget),
  );
  // The boot loader is as long at work in both; its time is known from the hypervisor's first instruction.
  const kernel = guest.shell / kernelBare;
  row(
    "kernel alone",
    String(kernelBare),
    String(guest.shell),
    kernel.toFixed(4),
    verdict(kernel, bootBudget),
  );
  console.log("\nWhat the VM cost:");
  for (const line of guest.costs) console.log(`  ${line}`);
  console.log("\nOne operation inside the guest, in ticks:");
  row("", "bare", "Typevisor", "KVM 6.1", "Xen 4.17");
  for (const [name, value] of guest.operations) {
    const other = options.cpu === undefined ? others[options.machine]?.[name] : undefined;
    row(name, String(bare.operations.get(name) ?? ""), String(value), ...(other ?? []).map(String));
  }
}

const root = join(import.meta.dirname, "../..");
await stage("Build", () => promisify(execFile)(join(root, "scripts/build"), ["--quiet"]));
printExits(await stage("Measure exits", () => measureExits(options.machine, options.cpu)));
if (!options.exits) {
  const bare = await stage("Boot Linux without the hypervisor", () =>
    bootBareLinux(options.machine, options.cpu),
  );
  const guest = await stage("Boot Linux on the hypervisor", () => bootLinux(options.machine, options.cpu));
  printLinux(bare, guest);
}
if (missed > 0) console.log(`\n${missed} figures are over their budget.`);
process.exitCode = missed > 0 ? 1 : 0;
