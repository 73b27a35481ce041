/** The command behind scripts/bench: figures in instructions, on an emulator that counts them, beside the budget. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Command, InvalidArgumentError, Option } from "commander";
import { stage } from "../cli/stages.ts";
import { parseCount } from "../cli/sizes.ts";
import type { Firmware, MachineKind } from "../machine/machine.ts";
import { measureExits } from "./exits.ts";
import { bootBareLinux, bootLinux, type LinuxResult, type ScreenMode } from "./linux.ts";
import { bootSticks, type Milestones } from "./stick.ts";
import { type Counts, countInstructions, meanRatio, qualityBudget, sumKernels } from "./toolchain.ts";

/**
 * Ticks of one exit, round trip, by machine, or machine and processor; what is not named has no budget. TCG's AMD-V saves no
 * next RIP: an exit there includes a look at the instruction (kernel/svm/length.ts).
 */
const budgets: Record<string, Record<string, number>> = {
  bochs: {
    cpuid: 110,
    "uart-status": 140,
    "pic-mask": 140,
    "rtc-index": 140,
    post: 140,
    "self-ipi": 500,
    "apic-timer": 400,
  },
  "bochs ryzen": { cpuid: 140, "self-ipi": 500, "apic-timer": 400 },
  "qemu-tcg": { cpuid: 300, "apic-timer": 400 },
};
/** The boot under the hypervisor may take so many times the ticks of the boot without. */
const bootBudget = 1.05;

/** An operation inside the guest may take so many times what it takes without the hypervisor. */
const operationBudgets: Record<string, number> = { "fresh-page": 1.03, "nanosleep-1ms": 1.02 };

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
  .description("Measures what exits, a Linux boot and generated code cost, in instructions, exactly counted.")
  .addOption(
    new Option("--machine <kind>", "the emulator that counts")
      .choices(["bochs", "qemu-tcg"])
      .default("bochs"),
  )
  .option("--cpu <model>", "the emulated processor; ryzen is Bochs' AMD-V")
  .option("--cpus <n>", "how many CPUs the machine has, and the Linux guest vCPUs", parseCpus, 1)
  .option("--hypervisor-options <text>", "of the exits: options for the hypervisor's command line", "")
  .option("--exits", "only the exits: a few seconds")
  .option("--screen", "only what the log and a guest's whole console on the screen cost a boot")
  .option("--toolchain", "only the generated code, against C by hand and wasm2c's, on this CPU")
  .option("--stick", "only the boot from a USB stick by BIOS and by UEFI, on QEMU, in seconds of this host")
  .showHelpAfterError("Try scripts/bench --help.")
  .parse();
const options = program.opts<{
  machine: MachineKind;
  cpu?: string;
  cpus: number;
  hypervisorOptions: string;
  exits?: boolean;
  toolchain?: boolean;
  stick?: boolean;
  screen?: boolean;
}>();

function parseCpus(text: string): number {
  try {
    return parseCount("--cpus", text, 16);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

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
  row("", "bare", "Typevisor", "ratio", "budget", "KVM 6.1", "Xen 4.17");
  for (const [name, value] of guest.operations) {
    const native = bare.operations.get(name);
    const ratio = value / (native ?? NaN);
    const other = options.cpu === undefined ? others[options.machine]?.[name] : undefined;
    const compared = native ? [String(native), String(value), ratio.toFixed(4)] : ["", String(value), ""];
    row(name, ...compared, verdict(ratio, operationBudgets[name]), ...(other ?? []).map(String));
  }
}

function printSticks(all: Map<Firmware, Milestones>): void {
  console.log("\nFrom power-on with a USB stick on QEMU (TCG, AMD-V), in seconds of this host:");
  const [first] = all.values();
  row("", ...all.keys());
  for (const name of first!.keys())
    row(name, ...Array.from(all.values(), (milestones) => milestones.get(name)!.toFixed(1)));
}

function printToolchain(counts: Counts[]): void {
  console.log("\nInstructions of one call, by TypeScript, by C, and by the same wasm through wasm2c:");
  row("", "TypeScript", "C", "ratio", "wasm2c", "ratio", "budget");
  const line = (name: string, { typescript, c, wasm2c }: Counts, judged: boolean) => {
    const ahead = typescript / wasm2c;
    const ratios = [(typescript / c).toFixed(3), String(wasm2c), ahead.toFixed(3)];
    row(name, String(typescript), String(c), ...ratios, judged ? verdict(ahead, 1) : "");
  };
  for (const count of counts) line(`${count.kernel} ${count.part}`, count, true);
  console.log("");
  for (const sum of sumKernels(counts)) line(sum.kernel, sum, false);
  const mean = meanRatio(counts);
  row("mean", "", "", mean.toFixed(3), "", "", verdict(mean, qualityBudget));
}

/** The boot with the screen may take so many times the ticks of that without. */
const screenBudget = 1.05;

async function measureScreen(): Promise<void> {
  await stage("Build", () => promisify(execFile)(join(root, "scripts/build"), ["--quiet"]));
  const host = { machine: options.machine, cpu: options.cpu, cpus: options.cpus };
  const modes: [string, ScreenMode][] = [
    ["none", { screen: false }],
    ["text", { screen: true }],
    ["1024x768x32", { screen: true, video: "1024x768x32" }],
  ];
  const ticks = new Map<string, number>();
  for (const [name, mode] of modes) {
    const guest = await stage(`Boot Linux with this screen: ${name}`, () => bootLinux(host, mode));
    ticks.set(name, guest.started - guest.entered + guest.shell);
  }
  console.log(
    "\nFrom the hypervisor's first instruction to the guest's shell, all of its console shown, in ticks:",
  );
  row("screen", "ticks", "ratio", "budget");
  const [, none] = [...ticks][0]!;
  for (const [name, value] of ticks)
    row(name, String(value), (value / none).toFixed(4), verdict(value / none, screenBudget));
}

const root = join(import.meta.dirname, "../..");
if (options.screen) {
  await measureScreen();
} else if (options.toolchain) {
  const folder = join(root, "build/bench/toolchain");
  printToolchain(await stage("Count the generated code's instructions", () => countInstructions(folder)));
} else if (options.stick) {
  printSticks(await bootSticks());
} else {
  await measureMachine();
  if (!options.exits) printSticks(await bootSticks());
}
if (missed > 0) console.log(`\n${missed} figures are over their budget.`);
process.exitCode = missed > 0 ? 1 : 0;

async function measureMachine(): Promise<void> {
  await stage("Build", () => promisify(execFile)(join(root, "scripts/build"), ["--quiet"]));
  printExits(
    await stage("Measure exits", () => measureExits(options.machine, options.cpu, options.hypervisorOptions)),
  );
  if (!options.exits) {
    const host = { machine: options.machine, cpu: options.cpu, cpus: options.cpus };
    const bare = await stage("Boot Linux without the hypervisor", () => bootBareLinux(host));
    const guest = await stage("Boot Linux on the hypervisor", () => bootLinux(host));
    printLinux(bare, guest);
  }
}
