/**
 * Which machines can run a hypervisor here. KVM only counts if it nests: /dev/kvm may exist on a host whose CPU, or
 * whose own hypervisor, gives guests no VT-x and no AMD-V.
 */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Refusal } from "./errors.ts";
import { type MachineKind, machineKinds } from "./machine.ts";

/** What `auto` tries, in order: a real extension, the quicker emulator, the other one. */
const preference: readonly MachineKind[] = ["qemu-kvm", "qemu-tcg", "bochs"];

export type Extension = "vmx" | "svm";
const extensionNames = { vmx: "VT-x", svm: "AMD-V" } as const;
const modules = { vmx: "kvm_intel", svm: "kvm_amd" } as const;

export interface Availability {
  available: boolean;
  /** What was found, and what to do about it if it is not enough. */
  reason: string;
}

/** What decides: the file system below `root`, and the directories of PATH. Tests have their own. */
export interface Host {
  root: string;
  path: string;
}
const thisHost = (): Host => ({ root: "/", path: process.env["PATH"] ?? "" });

export function availability(kind: MachineKind, host: Host = thisHost()): Availability {
  if (kind === "bochs") return installed("bochs", "bochs", "Bochs emulates VT-x", host);
  if (kind === "qemu-tcg") return qemu("QEMU emulates AMD-V", host);
  const nests = nesting(host);
  return nests.available ? qemu(nests.reason, host) : nests;
}

function qemu(reason: string, host: Host): Availability {
  return installed("qemu-system-x86_64", "qemu-system-x86", reason, host);
}

/** Available for `reason` if the program is there. */
function installed(program: string, debianPackage: string, reason: string, host: Host): Availability {
  if (host.path.split(delimiter).some((directory) => existsSync(join(directory, program)))) {
    return { available: true, reason };
  }
  return {
    available: false,
    reason: `${program} is not installed: run "apt-get install ${debianPackage}" as root`,
  };
}

/** The machine asked for, or the best there is for "auto". */
export function chooseMachine(
  wanted: MachineKind | "auto",
  host: Host = thisHost(),
): { kind: MachineKind; reason: string } {
  if (wanted !== "auto") {
    const { available, reason } = availability(wanted, host);
    if (!available) throw new Refusal(`--machine ${wanted} is not available: ${reason}`);
    return { kind: wanted, reason };
  }
  const reasons: string[] = [];
  for (const kind of preference) {
    const { available, reason } = availability(kind, host);
    if (available) return { kind, reason: [reason, ...reasons].join(". ") };
    reasons.push(`Not ${kind}: ${reason}`);
  }
  throw new Refusal(`none of ${machineKinds.join(", ")} is available: ${reasons.join("; ")}`);
}

function nesting(host: Host): Availability {
  const no = (reason: string): Availability => ({ available: false, reason });
  const device = join(host.root, "dev/kvm");
  const extension = cpuExtension(host);
  if (!existsSync(device)) {
    return no(
      extension === undefined
        ? "there is no /dev/kvm and the CPU shows neither vmx nor svm (switched off by firmware, or not given to this VM)"
        : `there is no /dev/kvm: run "modprobe ${modules[extension]}" as root`,
    );
  }
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
  } catch {
    return no('/dev/kvm may not be opened: run "adduser $USER kvm" as root and log in again');
  }
  if (extension === undefined) {
    const loaded = readdirSync(join(host.root, "sys/module")).filter((name) => name.startsWith("kvm_"));
    const by = loaded.length === 0 ? "" : ` (it belongs to ${loaded.join(", ")})`;
    return no(`/dev/kvm is there${by}, but the CPU shows neither vmx nor svm, so nothing can be nested`);
  }
  const module = modules[extension];
  const nested = read(host, `sys/module/${module}/parameters/nested`).trim();
  if (!/^[Y1]/.test(nested)) {
    const found = nested === "" ? "it has no parameter nested" : `its parameter nested is ${nested}`;
    return no(
      `${module} does not nest (${found}): write "options ${module} nested=1" to /etc/modprobe.d/kvm-nested.conf, ` +
        `then run "modprobe -r ${module} && modprobe ${module}" as root`,
    );
  }
  return {
    available: true,
    reason: `KVM nests ${extensionNames[extension]} (${module}: nested is ${nested})`,
  };
}

function cpuExtension(host: Host): Extension | undefined {
  const flags = /^flags\s*:(.*)$/m.exec(read(host, "proc/cpuinfo"))?.[1]?.split(" ") ?? [];
  return (["vmx", "svm"] as const).find((flag) => flags.includes(flag));
}

function read(host: Host, path: string): string {
  try {
    return readFileSync(join(host.root, path), "utf8");
  } catch {
    return "";
  }
}
