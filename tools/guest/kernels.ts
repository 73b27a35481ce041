/** The guest kernels that we test with, and the Debian packages they are in. */
import { type PackageFile } from "./debian.ts";

export const kernels = {
  /** Linux 6.1, the default guest. */
  cloud: { package: "linux-image-cloud-amd64", path: "boot/vmlinuz-*" },
  /** The newest Linux 6.12. */
  "cloud-6.12": { package: "linux-image-6.12-cloud-amd64", path: "boot/vmlinuz-*" },
  /** Linux 6.1 with the drivers of real machines. */
  stock: { package: "linux-image-amd64", path: "boot/vmlinuz-*" },
  memtest: { package: "memtest86+", path: "boot/memtest86+x64.bin" },
} satisfies Record<string, PackageFile>;

export type KernelName = keyof typeof kernels;
export const kernelNames = Object.keys(kernels) as KernelName[];
