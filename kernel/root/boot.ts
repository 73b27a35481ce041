/**
 * What the boot loader tells: memory, modules, the command line, the ACPI root pointer. Multiboot 0.6.96 3.3 (Boot
 * information format) and Multiboot2 2.0 3.6 (Boot information) are both read into one form.
 */
import { load32, load64, load8 } from "../machine/phys";

const MAGIC1: u32 = 0x2badb002;
const MAGIC2: u32 = 0x36d76289;

export const MAX_REGIONS: u32 = 128;
export const MAX_MODULES: u32 = 130;
export const TEXT_MAX: u32 = 2047;

export namespace Memory {
  export const Ram: u32 = 1;
  export const AcpiReclaimable: u32 = 3;
  export const AcpiNvs: u32 = 4;
}


@unmanaged
export class Region {
  base: u64;
  length: u64;
  kind: u32;
  padding: u32;

  get end(): u64 {
    return this.base + this.length;
  }
}


@unmanaged
export class Module {
  start: u64;
  end: u64;
  /** Physical address of its string, which ends with 0. */
  text: u64;

  get size(): u64 {
    return this.end - this.start;
  }
}


@unmanaged
class Boot {
  regions: u32;
  modules: u32;
  /** Physical address of the hypervisor's command line, 0 for none. */
  commandLine: u64;
  /** Physical address of a copy of the RSDP, 0 when the loader gave none. */
  rsdp: u64;
  /** The loader's own structure: it must not be overwritten while it is read. */
  infoStart: u64;
  infoEnd: u64;
  /** More regions or modules came than there is room for. */
  overflow: u32;
  padding: u32;
}

export const boot = changetype<Boot>(memory.data(48, 8));
const regions = memory.data(3072, 8);
const modules = memory.data(3120, 8);

export function region(n: u32): Region {
  return changetype<Region>(regions + <usize>n * offsetof<Region>());
}

export function module(n: u32): Module {
  return changetype<Module>(modules + <usize>n * offsetof<Module>());
}

function addRegion(base: u64, length: u64, kind: u32): void {
  if (boot.regions == MAX_REGIONS || base + length < base) {
    boot.overflow = 1;
    return;
  }
  const r = region(boot.regions++);
  r.base = base;
  r.length = length;
  r.kind = kind;
}

function addModule(start: u64, end: u64, text: u64): void {
  if (boot.modules == MAX_MODULES || end < start) {
    boot.overflow = 1;
    return;
  }
  const m = module(boot.modules++);
  m.start = start;
  m.end = end;
  m.text = text;
}

const BACKSLASH: u32 = 92;

function isEscaped(c: u32): bool {
  return c == BACKSLASH || c == 34 || c == 39;
}

/**
 * Copies a string that ends with 0 into linear memory, without the 0; returns its length, at most TEXT_MAX. GRUB puts a
 * backslash before each quote and backslash of a command line (grub_create_loader_cmdline): it is taken out again.
 */
export function textAt(hpa: u64, to: usize): u32 {
  let n: u32 = 0;
  if (hpa == 0) return 0;
  for (let c = load8(hpa); c != 0 && n < TEXT_MAX; c = load8(++hpa)) {
    if (c == BACKSLASH && isEscaped(load8(hpa + 1))) c = load8(++hpa);
    store<u8>(to + n++, <u8>c);
  }
  return n;
}

function parse1(info: u64): void {
  const flags = load32(info);
  boot.infoStart = info;
  boot.infoEnd = info + 120;
  if (flags & (1 << 2)) boot.commandLine = load32(info + 16);
  if (flags & (1 << 3)) {
    const count = load32(info + 20);
    const list = <u64>load32(info + 24);
    for (let i: u32 = 0; i < count; i++) {
      const m = list + i * 16;
      addModule(load32(m), load32(m + 4), load32(m + 8));
    }
  }
  if (flags & (1 << 6)) {
    const length = load32(info + 44);
    const list = <u64>load32(info + 48);
    // Each entry is preceded by its size, which does not count itself.
    for (let at: u64 = 0; at + 24 <= length; at += load32(list + at) + 4) {
      addRegion(load64(list + at + 4), load64(list + at + 12), load32(list + at + 20));
    }
  }
}

function parse2(info: u64): void {
  const size = load32(info);
  boot.infoStart = info;
  boot.infoEnd = info + size;
  let at = info + 8;
  while (at + 8 <= info + size) {
    const kind = load32(at);
    const length = load32(at + 4);
    if (kind == 0 || length < 8) break;
    if (kind == 1) boot.commandLine = at + 8;
    else if (kind == 3) addModule(load32(at + 8), load32(at + 12), at + 16);
    else if (kind == 6) {
      const step = load32(at + 8);
      for (let e = at + 16; step > 0 && e + step <= at + length; e += step) {
        addRegion(load64(e), load64(e + 8), load32(e + 16));
      }
    } else if (kind == 15 || (kind == 14 && boot.rsdp == 0)) boot.rsdp = at + 8;
    at += (length + 7) & ~7;
  }
}

/** False when the loader is none that we know. */
export function readBoot(magic: u32, info: u64): bool {
  if (magic == MAGIC1) parse1(info);
  else if (magic == MAGIC2) parse2(info);
  else return false;
  return true;
}
