/** The wasm modules and the images that are made of them. */

export interface Module {
  /** Target in asconfig.json, and prefix of its symbols (with _ for -). */
  name: string;
  /** The file with the module's exports. */
  entry: string;
  /** What it may import: files of kernel/machine. `undefined` allows all of them. */
  allow?: string[];
  /** Target in asconfig.json, where it is not the name. */
  target?: string;
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
const monitorCapabilities = ["cpuid", "debug", "env", "fpu", "guest", "time", "vmcs"];
const monitorVmx: Module = { name: "monitor-vmx", entry: "kernel/monitor/vmx.ts", allow: monitorCapabilities };

export const typevisor: Image = { name: "typevisor", modules: [root, monitorVmx] };

export const images: Image[] = [typevisor];
