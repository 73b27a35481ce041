/** Multiboot kernels (Multiboot 0.6.96 3.1, OS image format): which parts of the file go where. The monitor checks the same. */
import { Refusal } from "../machine/errors.ts";
import { isElf, type Part, partsOf, readElf } from "./elf.ts";

const magic = 0x1badb002;
const searched = 8192;
const videoMode = 1 << 2;
const served = 3; // modules on pages, memory
const addresses = 1 << 16;

interface Header {
  at: number;
  flags: number;
}

function findHeader(file: Buffer): Header | undefined {
  for (let at = 0; at + 12 <= Math.min(file.length, searched); at += 4) {
    if (file.readUInt32LE(at) !== magic) continue;
    const flags = file.readUInt32LE(at + 4);
    if ((magic + flags + file.readUInt32LE(at + 8)) % 2 ** 32 === 0) return { at, flags };
  }
  return undefined;
}

/** What is loaded, or undefined for a file that is no multiboot kernel; or a refusal that begins with `name`. */
export function readMultiboot(name: string, file: Buffer): { entry: number; parts: Part[] } | undefined {
  const header = findHeader(file);
  if (header === undefined) return undefined;
  const hasAddresses = (header.flags & addresses) !== 0;
  if (!hasAddresses && !(isElf(file) && file[4] === 1)) return undefined;
  if (header.flags & videoMode) throw new Refusal(`${name}: its multiboot header demands a video mode`);
  if (header.flags & 0xffff & ~served) {
    throw new Refusal(
      `${name}: its multiboot header demands what is unknown (flags ${header.flags & 0xffff})`,
    );
  }
  if (hasAddresses) return readAddresses(name, file, header.at);
  const elf = readElf(name, file);
  const { entry } = elf;
  const parts = partsOf(name, file, elf);
  const around = parts.find(({ virtual, room }) => entry >= virtual && entry < virtual + room);
  return { entry: around === undefined ? entry : entry - around.virtual + around.at, parts };
}

function readAddresses(name: string, file: Buffer, at: number): { entry: number; parts: Part[] } {
  const truncated = () => new Refusal(`${name}: the file is truncated: it has ${file.length} bytes`);
  if (at + 32 > file.length) throw truncated();
  const word = (n: number) => file.readUInt32LE(at + n * 4);
  const [header, start, loadEnd, bssEnd, entry] = [word(3), word(4), word(5), word(6), word(7)] as const;
  const offset = at - (header - start);
  const size = loadEnd === 0 ? file.length - offset : loadEnd - start;
  if (start > header || offset < 0 || size < 0 || (bssEnd !== 0 && bssEnd < start + size)) {
    throw new Refusal(`${name}: its multiboot header's addresses make no sense`);
  }
  if (size > 0 && offset + size > file.length) throw truncated();
  return { entry, parts: [{ at: start, virtual: start, size, room: bssEnd === 0 ? size : bssEnd - start }] };
}
