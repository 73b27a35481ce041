/**
 * What the boot loader tells: memory, modules, the command line, the ACPI root pointer. Multiboot 0.6.96 3.3 (Boot
 * information format) and Multiboot2 2.0 3.6 (Boot information) are both read into one form. What makes no sense is
 * refused by name.
 */
import { Text } from "../lib/text";
import { alignUp } from "../lib/bits";
import * as image from "../machine/image";
import { load32, load64, load8 } from "../machine/phys";
import { EARLY_END, WINDOW_SIZE, physicalBits, physicalEnd } from "./physical";
import { Kind, display } from "./screen/display";

const MAGIC1: u32 = 0x2badb002;
const MAGIC2: u32 = 0x36d76289;

export const MAX_REGIONS: u32 = 128;
export const MAX_MODULES: u32 = 130;
/** Longest string of a loader's, and bytes that one can take in memory: GRUB escapes some. */
export const TEXT_MAX: u32 = 2047;
export const TEXT_BYTES: u64 = 2 * <u64>TEXT_MAX + 2;

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
  /** The firmware is UEFI: without a word of the loader there is no text screen. With Multiboot 1 nobody tells. */
  isUefi: bool;
  /** The information is Multiboot's, not Multiboot2's. */
  isOld: bool;
}

export const boot = changetype<Boot>(memory.data(56, 8));
const regions = memory.data(3072, 8);
const modules = memory.data(3120, 8);

export function region(n: u32): Region {
  return changetype<Region>(regions + <usize>n * offsetof<Region>());
}

export function module(n: u32): Module {
  return changetype<Module>(modules + <usize>n * offsetof<Module>());
}

/** Why the information is refused: what was found first. */
const problem = changetype<Text>(memory.data(16));
const ignored = changetype<Text>(memory.data(16));

function wrong(): Text {
  return problem.length == 0 ? problem.str("the boot loader: ") : ignored.over(0, 0);
}

function addRegion(base: u64, length: u64, kind: u32): void {
  if (length == 0) return;
  if (boot.regions == MAX_REGIONS) {
    wrong().str("more than ").dec(MAX_REGIONS).str(" memory regions");
    return;
  }
  const limit = (<u64>1) << physicalBits();
  let end = base + length;
  if (end < base || end > limit) {
    if (kind == Memory.Ram) {
      wrong()
        .str("memory region ")
        .dec(boot.regions)
        .str(": expected to end within the ")
        .dec(physicalBits())
        .str(" address bits of this CPU, is ")
        .hex(length)
        .str(" bytes at ")
        .hex(base);
      return;
    }
    end = limit;
  }
  end = min(end, WINDOW_SIZE);
  if (base >= end) return;
  const r = region(boot.regions++);
  r.base = base;
  r.length = end - base;
  r.kind = kind;
}

function addModule(start: u64, end: u64, text: u64): void {
  if (boot.modules == MAX_MODULES) {
    wrong().str("more than ").dec(MAX_MODULES).str(" modules");
    return;
  }
  const m = module(boot.modules++);
  m.start = start;
  m.end = end;
  m.text = text;
}

/** How far from `at` on there is RAM without a gap. */
function ramEnd(at: u64): u64 {
  // The regions are in no order.
  for (let i: u32 = 0; i < boot.regions;) {
    const r = region(i);
    const isIn = r.kind == Memory.Ram && at >= r.base && at < r.end;
    if (isIn) at = r.end;
    i = isIn ? 0 : i + 1;
  }
  return at;
}

export function isRam(at: u64): bool {
  return ramEnd(at) != at;
}

/** Modules are in RAM, where root can copy them from, and root itself is in none of them. */
function checkModules(): void {
  for (let i: u32 = 0; i < boot.modules; i++) {
    const m = module(i);
    const isApart = m.end <= image.start() || m.start >= image.end();
    if (m.start == m.end || (m.start < m.end && isApart && ramEnd(m.start) >= m.end)) continue;
    wrong()
      .str("module ")
      .dec(i)
      .str(": expected in RAM and apart from the hypervisor, is from ")
      .hex(m.start)
      .str(" to ")
      .hex(m.end);
  }
}

const BACKSLASH: u32 = 92;

function isEscaped(c: u32): bool {
  return c == BACKSLASH || c == 34 || c == 39;
}

/**
 * Copies a string that ends with 0 into linear memory, without the 0; returns its length, or TEXT_MAX + 1 when it is
 * longer than TEXT_MAX. GRUB puts a backslash before each quote and backslash of a command line
 * (grub_create_loader_cmdline): it is taken out again.
 */
export function textAt(hpa: u64, to: usize): u32 {
  let n: u32 = 0;
  if (hpa == 0) return 0;
  for (; hpa < EARLY_END; hpa++) {
    let c = load8(hpa);
    if (c == 0) break;
    if (n == TEXT_MAX) return TEXT_MAX + 1;
    if (c == BACKSLASH && hpa + 1 < EARLY_END && isEscaped(load8(hpa + 1))) c = load8(++hpa);
    store<u8>(to + n++, <u8>c);
  }
  return n;
}

function parse1(info: u64): void {
  boot.isOld = true;
  boot.infoStart = info;
  boot.infoEnd = info + 120;
  if (boot.infoEnd > EARLY_END) {
    wrong().str("its information: expected below 4 GiB, is at ").hex(info);
    return;
  }
  const flags = load32(info);
  if (flags & (1 << 2)) boot.commandLine = load32(info + 16);
  if (flags & (1 << 3)) modules1(load32(info + 24), load32(info + 20));
  if (flags & (1 << 6)) map1(load32(info + 48), load32(info + 44));
  if (flags & (1 << 12)) display.tell(info + 88, info + 110);
}

function modules1(list: u64, count: u64): void {
  if (count <= MAX_MODULES && list + count * 16 > EARLY_END) {
    wrong().str("its list of modules: expected below 4 GiB");
    return;
  }
  if (count > MAX_MODULES) {
    wrong().str("more than ").dec(MAX_MODULES).str(" modules");
    return;
  }
  for (let i: u64 = 0; i < count; i++) {
    const m = list + i * 16;
    addModule(load32(m), load32(m + 4), load32(m + 8));
  }
}

/** Each entry is preceded by its size, which does not count itself. */
function map1(list: u64, length: u64): void {
  if (list + length > EARLY_END) {
    wrong().str("its memory map: expected below 4 GiB");
    return;
  }
  for (let at: u64 = 0; at + 24 <= length;) {
    const size = load32(list + at);
    if (size < 20) {
      wrong().str("its memory map: expected entries of 20 bytes or more, has one of ").dec(size);
      return;
    }
    addRegion(load64(list + at + 4), load64(list + at + 12), load32(list + at + 20));
    at += <u64>size + 4;
  }
}

function parse2(info: u64): void {
  boot.infoStart = info;
  boot.infoEnd = info + 8;
  if (boot.infoEnd > EARLY_END) {
    wrong().str("its information: expected below 4 GiB, is at ").hex(info);
    return;
  }
  const end = min(info + load32(info), EARLY_END);
  for (let at = info + 8; at + 8 <= end;) {
    const kind = load32(at);
    const length = load32(at + 4);
    if (kind == 0) return;
    if (length < 8 || length > end - at) {
      wrong()
        .str("its tag of type ")
        .dec(kind)
        .str(": expected a size of 8 to ")
        .dec(end - at)
        .str(", has ")
        .dec(length);
      return;
    }
    tag(kind, at, length);
    at = alignUp(at + length, 8);
    boot.infoEnd = at + 8;
  }
}

/** Whether the tag's string, from `from` on, ends within the tag. */
function hasText(at: u64, length: u32, from: u32): bool {
  return length > from && load8(at + length - 1) == 0;
}

function tag(kind: u32, at: u64, length: u32): void {
  if (kind == 1) {
    if (hasText(at, length, 8)) boot.commandLine = at + 8;
    else wrong().str("its command line: expected to end with 0 within its tag");
  } else if (kind == 3) {
    if (hasText(at, length, 16)) addModule(load32(at + 8), load32(at + 12), at + 16);
    else wrong().str("module ").dec(boot.modules).str(": expected a string that ends with 0 within its tag");
  } else if (kind == 6) {
    map2(at, length);
  } else if ((kind == 15 && length >= 44) || (kind == 14 && length >= 28 && boot.rsdp == 0)) {
    boot.rsdp = at + 8;
  } else if (kind == 8 && length >= 32) {
    // Text has no masks: what is behind the tag is read, and not used.
    display.tell(at + 8, at + 32);
  } else if (kind == 11 || kind == 12) {
    boot.isUefi = true;
  }
}

function map2(at: u64, length: u32): void {
  const step = length >= 16 ? load32(at + 8) : 0;
  if (step < 24) {
    wrong().str("its memory map: expected entries of 24 bytes or more, has ").dec(step);
    return;
  }
  for (let e = at + 16; e + step <= at + length; e += step) {
    addRegion(load64(e), load64(e + 8), load32(e + 16));
  }
}

/** Whether a region of memory, ACPI's included, overlaps [base, end). */
function overlapsMemory(base: u64, end: u64): bool {
  for (let i: u32 = 0; i < boot.regions; i++) {
    const r = region(i);
    const isMemory = r.kind == Memory.Ram || r.kind == Memory.AcpiReclaimable || r.kind == Memory.AcpiNvs;
    if (isMemory && base < r.end && end > r.base) return true;
  }
  return false;
}

/**
 * Decides what the screen is; without a word of the loader's, a PC's text screen, which all BIOSes leave on. Says in `why` if
 * the loader's words make no sense.
 */
export function judgeDisplay(why: Text): void {
  if (!display.given) {
    display.kind = boot.isUefi ? Kind.None : Kind.Text;
    return;
  }
  display.judge(physicalEnd(), why);
  if (display.kind != Kind.Pixels || !overlapsMemory(display.address, display.end)) return;
  display.kind = Kind.None;
  display.place(why.str("screen: the boot loader's framebuffer: expected apart from memory"));
}

/** Reads what the loader has left. Writes what makes no sense, if something does, to `why`. */
export function readBoot(magic: u32, info: u64, why: Text): void {
  problem.over(why.start, why.capacity);
  if (magic == MAGIC1) parse1(info);
  else if (magic == MAGIC2) parse2(info);
  else wrong().str("expected one of Multiboot or Multiboot2, its magic number is ").hex(magic, 8);
  if (boot.regions == 0) wrong().str("no memory map");
  checkModules();
  why.length = problem.length;
}
