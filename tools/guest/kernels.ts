/** The guest kernels that we test with, and the Debian packages they are in. */
import { type PackageFile } from "./debian.ts";

export type KernelName = "cloud" | "cloud-6.12" | "stock" | "rt" | "installer" | "memtest";

/** A kernel's file, and that of the initial RAM disk that comes with it; ours unless it has one. */
interface KernelFiles extends PackageFile {
  initrd?: PackageFile;
}

const installer = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";

export const kernels: Record<KernelName, KernelFiles> = {
  /** Linux 6.1, the default guest. */
  cloud: { package: "linux-image-cloud-amd64", path: "boot/vmlinuz-*" },
  /** The newest Linux 6.12. */
  "cloud-6.12": { package: "linux-image-6.12-cloud-amd64", path: "boot/vmlinuz-*" },
  /** Linux 6.1 with the drivers of real machines. */
  stock: { package: "linux-image-amd64", path: "boot/vmlinuz-*" },
  /** Linux 6.1 with PREEMPT_RT. */
  rt: { package: "linux-image-rt-amd64", path: "boot/vmlinuz-*" },
  /** Debian's installer: it asks its questions on the console. */
  installer: {
    package: "debian-installer-12-netboot-amd64",
    path: `${installer}/linux`,
    initrd: { package: "debian-installer-12-netboot-amd64", path: `${installer}/initrd.gz` },
  },
  memtest: { package: "memtest86+", path: "boot/memtest86+x64.bin" },
};

export const kernelNames = Object.keys(kernels) as KernelName[];
