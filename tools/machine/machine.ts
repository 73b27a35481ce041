/** What every emulated machine offers; one driver a file (bochs.ts, qemu.ts). */
import type { SerialPort } from "./serial.ts";

export const machineKinds = ["bochs", "qemu-tcg", "qemu-kvm"] as const;
export type MachineKind = (typeof machineKinds)[number];

/** What a PC starts by. */
export const firmwares = ["bios", "uefi"] as const;
export type Firmware = (typeof firmwares)[number];

/**
 * How many processors a machine needs for `count` that run guests: in QEMU's emulator the first one of several runs none
 * (kernel/root/quirk.ts).
 */
export function processorsFor(kind: MachineKind, count: number): number {
  return kind === "qemu-tcg" && count > 1 ? count + 1 : count;
}

export interface MachineOptions {
  /** The bootable image. */
  image: string;
  /** What the image is in the machine: a CD, unless told or with UEFI; a USB stick on QEMU only. */
  medium?: "cd" | "usb";
  /** RAM in MiB. */
  memory: number;
  /** The processor model, in the words of the machine's own documentation. */
  cpu?: string;
  /** The number of processors, 1 unless told. */
  cpus?: number;
  /** QEMU TCG only: one TSC tick is one instruction, and two runs are the same. Slower. (Bochs always counts.) */
  exact?: boolean;
  /** Ends the machine when the guest resets it, instead of booting it again. */
  noReboot?: boolean;
  /** QEMU only: there are no UARTs, and nothing comes from `serial`. */
  withoutSerial?: boolean;
  /** QEMU only: the first serial port is a PCI card, and there is no COM1. */
  pciSerial?: boolean;
  /** Where to boot from: the PC's BIOS, unless told; UEFI on QEMU only. */
  firmware?: Firmware;
  /** QEMU only: the board, i440fx unless told. */
  board?: "i440fx" | "q35";
}

export interface MachineEnd {
  /** "failed" is an end that nobody asked for: a panic, a triple fault, a crash of the emulator. */
  cause: "powered off" | "reset" | "stopped" | "failed";
  /** What the emulator said about it. */
  detail: string;
  /** Instructions executed, where the machine counts them. */
  ticks?: bigint;
}

export interface Machine extends AsyncDisposable {
  readonly kind: MachineKind;
  /** COM1, COM2. */
  readonly serial: readonly [SerialPort, SerialPort];
  /** Resolves when the emulator is gone and all its output was passed on. Never rejects. */
  readonly ended: Promise<MachineEnd>;
  /** Runs one command of the emulator's own monitor (Bochs: its debugger; QEMU: HMP) and returns its answer. */
  monitor(command: string): Promise<string>;
  /** The text on the VGA screen, without trailing blanks. */
  screenshot(): Promise<string>;
  /** Instructions executed so far, where the machine counts them. */
  ticks(): Promise<bigint | undefined>;
  /** Calls `listener` at each reset after the first. */
  onReset(listener: () => void): void;
  /** Ends the machine at once, if it has not ended, and removes what it has left, logs included. */
  stop(): Promise<MachineEnd>;
  /** Before `stop`: keeps the logs under build/logs/ and says where. Done by itself when the end is "failed". */
  keepLogs(): string;
}
