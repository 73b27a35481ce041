/** The guest's files: those that were given, or Debian's kernel and our busybox. */
import { statSync, writeFileSync } from "node:fs";
import { fetchFile, findFile, type PackageFile } from "../guest/debian.ts";
import { busyboxFile, makeInitramfs } from "../guest/initramfs.ts";
import { kernels } from "../guest/kernels.ts";
import { checkGuest, type Request } from "./request.ts";
import { stage } from "./stages.ts";

export interface Guest {
  kernel: string;
  initrd: string | undefined;
}

/** Kernel and initrd, checked. Our own initrd is written to `initramfs`. Says nothing unless it has to download. */
export async function getGuest(request: Request, initramfs: string): Promise<Guest> {
  const kernel = request.kernel ?? (await getFile(kernels[request.guest]));
  let initrd = request.initrd === "none" ? undefined : request.initrd;
  if (request.initrd === undefined) {
    await getFile(busyboxFile);
    initrd = initramfs;
    writeFileSync(initrd, await makeInitramfs());
  }
  const source = request.kernel === undefined ? "kernel" : "--kernel";
  checkGuest(request, source, kernel, initrd === undefined ? 0 : statSync(initrd).size);
  return { kernel, initrd };
}

async function getFile(file: PackageFile): Promise<string> {
  return (await findFile(file)) ?? stage(`Download Debian's ${file.package}`, () => fetchFile(file));
}
