/** linux_banner, the text with which a kernel says its version: a guest's kernel is recognized by it. */
import { Refusal } from "../../machine/errors.ts";
import type { Address } from "./address.ts";
import type { KernelSymbol } from "./kallsyms.ts";
import { type Vmlinux, bytesAt } from "./vmlinux.ts";

export interface Banner {
  address: Address;
  text: string;
  /** 6.1 is [6, 1]. */
  version: [number, number];
}

const start = "Linux version ";

/** The banner; kernels without CONFIG_KALLSYMS_ALL have no symbol for it, so that the text itself is searched for. */
export function findBanner(name: string, kernel: Vmlinux, symbols: KernelSymbol[]): Banner {
  const address = symbols.find((symbol) => symbol.name === "linux_banner")?.address;
  const banner = address === undefined ? search(kernel) : read(kernel, address);
  if (banner === undefined) {
    throw new Refusal(`${name}: the kernel does not say its version: no "${start}" where linux_banner is`);
  }
  return banner;
}

function read(kernel: Vmlinux, address: Address): Banner | undefined {
  const line = bytesAt(kernel, address, 512) ?? bytesAt(kernel, address, 64);
  const match = /^Linux version (\d+)\.(\d+)[^\n\0]*/.exec(line?.toString("latin1") ?? "");
  return match ? { address, text: match[0], version: [Number(match[1]), Number(match[2])] } : undefined;
}

function search(kernel: Vmlinux): Banner | undefined {
  for (const { bytes, address } of kernel.segments) {
    for (let at = bytes.indexOf(start); at >= 0; at = bytes.indexOf(start, at + 1)) {
      const banner = read(kernel, address + at);
      if (banner !== undefined) return banner;
    }
  }
  return undefined;
}
