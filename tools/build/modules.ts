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

/** The monitors' capability lists (kernel/machine/monitor-vmx.h, monitor-svm.h). */
const capabilities = ["cpuid", "env", "fpu", "guest", "time"];
const monitorVmx: Module = {
  name: "monitor-vmx",
  entry: "kernel/monitor/vmx.ts",
  allow: [...capabilities, "registers", "vmcs"],
};
const monitorSvm: Module = {
  name: "monitor-svm",
  entry: "kernel/monitor/svm.ts",
  allow: [...capabilities, "vmcb"],
};

export const typevisor: Image = { name: "typevisor", modules: [root, monitorVmx, monitorSvm] };

/** A monitor that fails when its guest says so, in the place of the one that ships (test/boot/bringup.test.ts). */
function failing(vendor: string, shipped: Module): Module {
  return {
    name: `containment-${vendor}`,
    as: shipped.name,
    entry: `test/images/containment/${vendor}.ts`,
    allow: shipped.allow,
    allowRecursion: true,
  };
}

const containment: Image = {
  name: "containment",
  modules: [root, failing("vmx", monitorVmx), failing("svm", monitorSvm)],
};

/** Root that faults on purpose (test/boot/panic.test.ts). */
const panic: Image = {
  name: "panic",
  modules: [
    { name: "root-panic", as: "root", entry: "test/images/panic/root.ts", small: true, allowRecursion: true },
    monitorVmx,
    monitorSvm,
  ],
};

export const images: Image[] = [typevisor, containment, panic];
