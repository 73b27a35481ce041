/** The wasm modules and the images that are made of them. */

export interface Module {
  /** Name of its files, target in asconfig.json, prefix of its symbols (with _ for -). */
  name: string;
  /** The file with the module's exports. */
  entry: string;
  /** What it may import: files of kernel/machine. `undefined` allows all of them. */
  allow?: string[];
  /** The module that it takes the place of: its target, its symbols, its header. Unless told, it is itself. */
  as?: string;
  allowRecursion?: boolean;
  /** gcc's optimization: for speed, unless told to look for size. */
  small?: boolean;
}

export interface Image {
  name: string;
  modules: Module[];
}

const root: Module = { name: "root", entry: "kernel/root/main.ts", small: true };

/** The monitors' capability list (kernel/machine/monitor-vmx.h). */
const monitorCapabilities = ["cpuid", "env", "fpu", "guest", "registers", "time", "vmcs"];
const monitorVmx: Module = {
  name: "monitor-vmx",
  entry: "kernel/monitor/vmx.ts",
  allow: monitorCapabilities,
};

export const typevisor: Image = { name: "typevisor", modules: [root, monitorVmx] };

/** Monitors that fail when their guest says so (test/boot/bringup.test.ts). */
const containment: Image = {
  name: "containment",
  modules: [
    root,
    {
      name: "monitor-containment",
      as: "monitor-vmx",
      entry: "test/images/containment/monitor.ts",
      allow: monitorCapabilities,
      allowRecursion: true,
    },
  ],
};

/** Root that faults on purpose (test/boot/panic.test.ts). */
const panic: Image = {
  name: "panic",
  modules: [
    { name: "root-panic", as: "root", entry: "test/images/panic/root.ts", small: true, allowRecursion: true },
    monitorVmx,
  ],
};

export const images: Image[] = [typevisor, containment, panic];
