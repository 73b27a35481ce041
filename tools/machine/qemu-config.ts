/** QEMU's command line for each of our machines. */
import type { MachineKind, MachineOptions } from "./machine.ts";

export interface QemuFiles {
  image: string;
  com1: string;
  com2: string;
  qmp: string;
  /** Where resets and triple faults are reported. */
  resets: string;
  /** A private copy of the UEFI variables. */
  uefiVariables: string;
}

export const uefiCode = "/usr/share/OVMF/OVMF_CODE.fd";
export const uefiVariables = "/usr/share/OVMF/OVMF_VARS.fd";

/** A comma separates options in QEMU's arguments, and stands for itself when doubled. */
const path = (file: string): string => file.replaceAll(",", ",,");

export function qemuArguments(
  kind: Exclude<MachineKind, "bochs">,
  options: MachineOptions,
  files: QemuFiles,
): string[] {
  return [
    ...processor(kind, options),
    ...(options.board === "q35" ? ["-machine", "q35", "-global", "ICH9-LPC.noreboot=false"] : []),
    ...["-smp", String(options.cpus ?? 1), "-m", `${options.memory}M`],
    ...["-nodefaults", "-no-user-config", "-no-shutdown", "-vga", "std", "-display", "none"],
    ...["-chardev", `socket,id=com1,path=${path(files.com1)}`],
    ...["-chardev", `socket,id=com2,path=${path(files.com2)}`],
    ...serialPorts(options),
    ...["-chardev", `socket,id=qmp,path=${path(files.qmp)}`, "-mon", "chardev=qmp,mode=control"],
    ...["-d", "cpu_reset", "-D", files.resets],
    ...(options.firmware === "uefi" ? uefi(files) : []),
    ...((options.medium ?? (options.firmware === "uefi" ? "usb" : "cd")) === "usb"
      ? stick(files)
      : cd(files)),
  ];
}

function serialPorts(options: MachineOptions): string[] {
  if (options.withoutSerial) return [];
  if (!options.pciSerial) return ["-serial", "chardev:com1", "-serial", "chardev:com2"];
  return ["-device", "pci-serial,chardev=com1", "-device", "isa-serial,index=1,chardev=com2"];
}

function processor(kind: Exclude<MachineKind, "bochs">, options: MachineOptions): string[] {
  if (kind === "qemu-kvm") return ["-accel", "kvm", "-cpu", options.cpu ?? "host"];
  if (!options.exact) return ["-accel", "tcg", "-cpu", options.cpu ?? "max,+svm"];
  // Virtual time follows the count of instructions, and nothing random is left: two runs are the same.
  const time = ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01T00:00:00,clock=vm"];
  return ["-accel", "tcg,thread=single", ...time, "-cpu", `${options.cpu ?? "max,+svm"},-rdrand,-rdseed`];
}

function cd(files: QemuFiles): string[] {
  return ["-drive", `file=${path(files.image)},format=raw,media=cdrom,readonly=on`, "-boot", "d"];
}

function stick(files: QemuFiles): string[] {
  return [
    ...["-drive", `if=none,id=stick,format=raw,readonly=on,file=${path(files.image)}`],
    ...["-device", "qemu-xhci", "-device", "usb-storage,drive=stick,removable=on,bootindex=0"],
  ];
}

function uefi(files: QemuFiles): string[] {
  return [
    ...["-drive", `if=pflash,format=raw,readonly=on,file=${uefiCode}`],
    ...["-drive", `if=pflash,format=raw,file=${path(files.uefiVariables)}`],
  ];
}
