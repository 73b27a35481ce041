/** The wasm modules and the images that are made of them. kernel/machine/NAME.imports says what each may import. */

export interface Module {
  /** Name of its files, target in asconfig.json, prefix of its symbols (with _ for -). */
  name: string;
  /** The file with the module's exports. */
  entry: string;
  /** The module that it takes the place of: its target, its symbols, its imports. Unless told, it is itself. */
  as?: string;
  allowRecursion?: boolean;
  /** gcc's optimization: for speed, unless told to look for size. */
  small?: boolean;
}

/** What the names of a module's symbols begin with, before an underscore. */
export const prefixOf = ({ name, as }: Module): string => (as ?? name).replaceAll("-", "_");

/** The import modules that a file of imports lists, a line each: their bodies are the headers of the same names. */
export const capabilities = (imports: string): string[] =>
  imports.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

export interface Image {
  name: string;
  modules: Module[];
}

const root: Module = { name: "root", entry: "kernel/root/main.ts", small: true };

const monitorVmx: Module = { name: "monitor-vmx", entry: "kernel/monitor/vmx.ts" };
const monitorSvm: Module = { name: "monitor-svm", entry: "kernel/monitor/svm.ts" };

const debug: Module = { name: "debug", entry: "kernel/debug/main.ts", small: true };

export const typevisor: Image = { name: "typevisor", modules: [root, monitorVmx, monitorSvm, debug] };

/** A monitor that fails when its guest says so, in the place of the one that ships (test/boot/bringup.test.ts). */
function failing(vendor: string, shipped: Module): Module {
  return {
    name: `containment-${vendor}`,
    as: shipped.name,
    entry: `test/images/containment/${vendor}.ts`,
    allowRecursion: true,
  };
}

const containment: Image = {
  name: "containment",
  modules: [root, failing("vmx", monitorVmx), failing("svm", monitorSvm), debug],
};

/** Root that faults on purpose (test/boot/panic.test.ts). */
const panic: Image = {
  name: "panic",
  modules: [
    { name: "root-panic", as: "root", entry: "test/images/panic/root.ts", small: true, allowRecursion: true },
    monitorVmx,
    monitorSvm,
    debug,
  ],
};

export const images: Image[] = [typevisor, containment, panic];
