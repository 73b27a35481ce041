/** The configuration of a headless Bochs 2.7 PC, as Debian packages it. */
import type { MachineOptions } from "./machine.ts";

/** The processor model whose timers Linux calibrates correctly. */
export const defaultModel = "broadwell_ult";

/**
 * Emulated instructions a second of emulated time. With fewer, a nested guest spends all of it on its timer ticks.
 */
export const instructionsPerSecond = 50_000_000;

/** MiB. Bochs takes no more of our memory; with more in the machine it swaps to a file, and loses some of it. */
export const largestMemory = 2048;

/** Why a request for UEFI is refused. */
export const noUefi = "Bochs has no UEFI firmware: use a QEMU machine";

export function bochsConfig(options: MachineOptions, serialPorts: readonly [number, number]): string {
  const [com1, com2] = serialPorts;
  const cpus = options.cpus ?? 1;
  const cpu = [
    `model=${options.cpu ?? defaultModel}`,
    `count=${cpus}`,
    `ips=${instructionsPerSecond}`,
    "quantum=16",
    "reset_on_triple_fault=0", // a triple fault of ours is a failure to report, not one to boot over
    "ignore_bad_msrs=1",
  ];
  // What else Bochs has to say is left out not for its length: when it receives SIGINT (bochs-debugger.ts) it logs that
  // from within the signal handler, and waits for ever if it was just writing another message.
  const talkers = ["pc_system", "biosdev", ...Array.from({ length: cpus }, (_, index) => `cpu${index}`)];
  // The display `rfb` needs no screen; it listens on the first free port from 5900 on, up to 50 of them.
  // Debian's sound plugin overflows a buffer unless it is told to use the dummy driver.
  return `
config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: ${cpu.join(", ")}
memory: guest=${options.memory}, host=${options.memory}
clock: sync=none, time0=1700000000, rtc_sync=0
boot: cdrom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="${options.image}", status=inserted
com1: enabled=1, mode=socket-client, dev=127.0.0.1:${com1}
com2: enabled=1, mode=socket-client, dev=127.0.0.1:${com2}
port_e9_hack: enabled=1
pci: enabled=1, chipset=i440fx
sound: driver=dummy
speaker: enabled=0
mouse: enabled=0
private_colormap: enabled=0
panic: action=fatal
error: action=report
info: action=ignore, ${talkers.map((name) => `${name}=report`).join(", ")}
debug: action=ignore
`.trimStart();
}
