/** What a boot loader leaves: modules in memory, and Multiboot 1 or Multiboot2 information about them. */
import type { PhysicalMemory } from "./physical.ts";

export interface BootModule {
  bytes: Uint8Array;
  text: string;
  /** Where it is; by default one page-aligned after the other from 16 MiB on. */
  at?: bigint;
}

export interface Region {
  base: bigint;
  length: bigint;
  /** 1 is RAM. */
  kind: number;
}

export interface BootInfo {
  commandLine: string | undefined;
  regions: Region[];
  modules: { start: bigint; end: bigint; text: string }[];
  /** A copy of the RSDP, as the ACPI tags have it. */
  rsdp?: Uint8Array;
  framebuffer?: Framebuffer;
  /** There is an EFI system table. */
  efi?: boolean;
}

/** As Multiboot2 3.6.12 and Multiboot 3.3 have it. */
export interface Framebuffer {
  address: bigint;
  pitch: number;
  width: number;
  height: number;
  depth: number;
  /** 1 RGB, 2 text; 1 unless told. */
  type?: number;
  /** Position and size of red, green and blue. */
  masks: number[];
}

/** Address, pitch, width, height, depth and type, as both have them one behind the other. */
const framebufferBytes = ({ address, pitch, width, height, depth, type = 1 }: Framebuffer): Uint8Array =>
  Buffer.concat([u64(address), u32(pitch, width, height), Buffer.from([depth, type])]);

export const INFO = 0x10000n;

/** Puts modules into memory. */
export function placeModules(memory: PhysicalMemory, modules: BootModule[]): BootInfo["modules"] {
  let next = 0x1000000n;
  return modules.map(({ bytes, text, at }) => {
    const start = at ?? next;
    const end = start + BigInt(bytes.length);
    memory.put(start, bytes);
    if (at === undefined) next = (end + 0xfffn) & ~0xfffn;
    return { start, end, text };
  });
}

const zeroTerminated = (text: string) => Buffer.from(`${text}\0`, "latin1");

/** Multiboot 0.6.96 3.3, Boot information format, as GRUB fills it; strings may be elsewhere. Returns its end. */
export function multiboot1(memory: PhysicalMemory, info: BootInfo, strings?: bigint): bigint {
  const map = INFO + 0x400n;
  const list = map + BigInt(info.regions.length * 24);
  let texts = strings ?? list + BigInt(info.modules.length * 16);
  const text = (s: string) => {
    const at = texts;
    memory.put(at, zeroTerminated(s));
    texts += BigInt(s.length + 1);
    return at;
  };
  memory.store(INFO, 4, info.commandLine === undefined ? 0x48n : 0x4cn);
  if (info.commandLine !== undefined) memory.store(INFO + 16n, 4, text(info.commandLine));
  memory.store(INFO + 20n, 4, BigInt(info.modules.length));
  memory.store(INFO + 24n, 4, list);
  info.modules.forEach((m, i) => {
    const at = list + BigInt(i * 16);
    memory.store(at, 4, m.start);
    memory.store(at + 4n, 4, m.end);
    memory.store(at + 8n, 4, text(m.text));
  });
  if (info.framebuffer) {
    memory.store(INFO, 4, memory.load(INFO, 4) | 0x1000n);
    memory.put(INFO + 88n, framebufferBytes(info.framebuffer));
    memory.put(INFO + 110n, Uint8Array.from(info.framebuffer.masks));
  }
  memory.store(INFO + 44n, 4, BigInt(info.regions.length * 24));
  memory.store(INFO + 48n, 4, map);
  info.regions.forEach(({ base, length, kind }, i) => {
    const at = map + BigInt(i * 24);
    memory.store(at, 4, 20n);
    memory.store(at + 4n, 8, base);
    memory.store(at + 12n, 8, length);
    memory.store(at + 20n, 4, BigInt(kind));
  });
  return texts;
}

/** A tag of Multiboot2 information. `size` is what the tag says of itself, its true one unless told. */
export interface Tag {
  kind: number;
  body: Uint8Array;
  size?: number;
}

const u32 = (...values: (number | bigint)[]) => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32LE(Number(value) >>> 0, i * 4));
  return bytes;
};
const u64 = (value: bigint) => u32(value & 0xffffffffn, value >> 32n);

export function tagsOf(info: BootInfo): Tag[] {
  const map = [
    u32(24, 0),
    ...info.regions.map((r) => Buffer.concat([u64(r.base), u64(r.length), u32(r.kind, 0)])),
  ];
  return [
    ...(info.commandLine === undefined ? [] : [{ kind: 1, body: zeroTerminated(info.commandLine) }]),
    ...info.modules.map((m) => ({
      kind: 3,
      body: Buffer.concat([u32(m.start, m.end), zeroTerminated(m.text)]),
    })),
    { kind: 6, body: Buffer.concat(map) },
    ...(info.framebuffer
      ? [
          {
            kind: 8,
            body: Buffer.concat([
              framebufferBytes(info.framebuffer),
              Buffer.from([0, 0, ...info.framebuffer.masks]),
            ]),
          },
        ]
      : []),
    ...(info.rsdp ? [{ kind: info.rsdp.length > 20 ? 15 : 14, body: info.rsdp }] : []),
    ...(info.efi ? [{ kind: 12, body: u64(0n) }] : []),
    { kind: 0, body: new Uint8Array(0) },
  ];
}

/** Multiboot2 2.0 3.6, Boot information: tags, each on 8 bytes. Returns the structure's end. */
export function multiboot2(memory: PhysicalMemory, tags: Tag[], totalSize?: number): bigint {
  let at = INFO + 8n;
  for (const { kind, body, size } of tags) {
    memory.store(at, 4, BigInt(kind));
    memory.store(at + 4n, 4, BigInt(size ?? body.length + 8));
    memory.put(at + 8n, body);
    at = (at + BigInt(body.length) + 15n) & ~7n;
  }
  memory.store(INFO, 4, BigInt(totalSize ?? Number(at - INFO)));
  return at;
}
