/** From power-on to the guest's shell on the stick that scripts/usb-image makes, in seconds of this host. */
import { makeImage } from "../usb/image.ts";
import { type Firmware, firmwares } from "../machine/machine.ts";
import { RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";

/** Seconds from power-on until it was there, by what it was. */
export type Milestones = Map<string, number>;

/** Seconds: each step may take so long. */
const patience = 600;
const memory = 512;

/** What each of them says on COM1. */
const steps: [name: string, text: string][] = [
  ["GRUB's menu", "Memory test"],
  ["hypervisor", "(tv) Typevisor starts"],
  ["VM started", "(tv) vm0: started"],
  ["guest's shell", "/ # "],
];

/** Boots a stick by each firmware. The menu does not wait: Return is pressed as soon as it is there. */
export async function bootSticks(): Promise<Map<Firmware, Milestones>> {
  const directory = new RunDirectory("bench-stick");
  try {
    const image = directory.file("stick.img");
    const request = { memory, append: "console=ttyS0,115200 quiet", size: undefined };
    await makeImage(image, {}, request, directory);
    const all = new Map<Firmware, Milestones>();
    for (const firmware of firmwares) all.set(firmware, await boot(image, firmware));
    return all;
  } finally {
    directory.remove();
  }
}

async function boot(image: string, firmware: Firmware): Promise<Milestones> {
  const begin = performance.now();
  await using machine = await startMachine("qemu-tcg", {
    ...{ image, medium: "usb", firmware, memory: memory + 256, noReboot: true },
  });
  const [com1] = machine.serial;
  const milestones: Milestones = new Map();
  for (const [name, text] of steps) {
    await com1.waitFor(text, patience);
    milestones.set(name, (performance.now() - begin) / 1000);
    if (milestones.size === 1) await com1.write("\r");
  }
  return milestones;
}
