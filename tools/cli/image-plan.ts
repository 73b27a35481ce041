/** What stands on the boot image and what GRUB does with it. The texts of the modules are what the hypervisor reads. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Boot, Load } from "../image/grub.ts";
import { projectDirectory } from "../machine/run-directory.ts";
import type { Guest } from "./guest.ts";
import type { Request } from "./request.ts";

const hypervisor = join(projectDirectory, "build/typevisor.elf");
/** Which address is which line of TypeScript: for reports. */
const lineTable = join(projectDirectory, "build/typevisor.lines");

export interface ImagePlan {
  boot: Boot;
  /** Path on the image -> file. */
  files: ReadonlyMap<string, string>;
}

export function planImage(request: Request, guest: Guest): ImagePlan {
  return request.bare ? planBare(request, guest) : planTypevisor(request, guest);
}

function planBare(request: Request, guest: Guest): ImagePlan {
  const files = new Map([["/boot/kernel0", guest.kernel]]);
  if (guest.initrd !== undefined) files.set("/boot/initrd0", guest.initrd);
  const kernel = { path: "/boot/kernel0", text: request.append };
  return { boot: { kind: "bare", kernel, initrd: guest.initrd && "/boot/initrd0" }, files };
}

function planTypevisor(request: Request, guest: Guest): ImagePlan {
  const files = new Map([["/boot/typevisor", request.hypervisor ?? hypervisor]]);
  const modules: Load[] = [];
  const add = (path: string, file: string, text: string): void => {
    files.set(path, file);
    modules.push({ path, text });
  };
  const cpus = (request.cpus ?? 1) > 1 ? ` cpus=${request.cpus}` : "";
  const tsc = request.tscKhz === undefined ? "" : ` tsckhz=${request.tscKhz}`;
  add("/boot/kernel0", guest.kernel, `kernel memory=${request.memory}M${cpus}${tsc} -- ${request.append}`);
  if (guest.initrd !== undefined) add("/boot/initrd0", guest.initrd, "initrd");
  const lines = request.hypervisor?.replace(/\.elf$/, ".lines") ?? lineTable;
  if (existsSync(lines)) add("/boot/typevisor.lines", lines, "lines");
  // An emulated machine has a port for each; one of the user's own has COM1, or a screen alone.
  const consoles =
    request.debug !== undefined
      ? `console=com1,115200 vmconsole=com1 debug=com2,115200${request.debug === "wait" ? ",wait" : ""}`
      : request.iso === undefined
        ? "console=com2,115200 vmconsole=com1"
        : "console=com1,115200 console=screen";
  const reboot = request.reboot ? "yes" : "no";
  const text = `${consoles} reboot=${reboot} ${request.hypervisorOptions}`.trim();
  return { boot: { kind: "typevisor", hypervisor: { path: "/boot/typevisor", text }, modules }, files };
}
