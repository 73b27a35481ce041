/** The guest's files: those that were given, or Debian's kernel with its own initial RAM disk or with a userspace of ours. */
import { statSync, writeFileSync } from "node:fs";
import { fetchFile, findFile, type PackageFile } from "../guest/debian.ts";
import { busyboxFile } from "../guest/initramfs.ts";
import { kernels } from "../guest/kernels.ts";
import { userspaces } from "../guest/userspaces.ts";
import { checkGuest, type GuestRequest } from "./request.ts";
import { stage } from "./stages.ts";

export interface Guest {
  kernel: string;
  initrd: string | undefined;
}

/** Kernel and initrd, checked. Our own initrd is written to `initramfs`. Says nothing unless it has to download. */
export async function getGuest(request: GuestRequest, initramfs: string): Promise<Guest> {
  const kernel = request.kernel ?? (await getFile(kernels[request.guest]));
  let initrd = request.initrd === "none" ? undefined : request.initrd;
  const own = request.kernel === undefined ? kernels[request.guest].initrd : undefined;
  if (request.initrd === undefined && own !== undefined) initrd = await getFile(own);
  const source = request.kernel === undefined ? "kernel" : "--kernel";
  const check = (size: number) => checkGuest(request, source, kernel, size);
  if (request.initrd === undefined && own === undefined && check(0).format !== "multiboot") {
    await getFile(busyboxFile);
    initrd = initramfs;
    const make = async () => writeFileSync(initramfs, await userspaces[request.userspace]());
    if (request.userspace === "busybox") await make();
    else await stage(`Make the userspace ${request.userspace} of Debian's packages`, make);
  }
  check(initrd === undefined ? 0 : statSync(initrd).size);
  return { kernel, initrd };
}

async function getFile(file: PackageFile): Promise<string> {
  return (await findFile(file)) ?? stage(`Download Debian's ${file.package}`, () => fetchFile(file));
}
