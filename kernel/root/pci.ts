/** PCI by configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2): root quietens what nobody uses. */
import { in32, out32 } from "../machine/port";

const ADDRESS: u32 = 0xcf8;
const DATA: u32 = 0xcfc;
const COMMAND_MASTER: u32 = 4;

function read(bdf: u32, register: u32): u32 {
  out32(ADDRESS, 0x80000000 | (bdf << 8) | register);
  return in32(DATA);
}

function write(bdf: u32, register: u32, value: u32): void {
  out32(ADDRESS, 0x80000000 | (bdf << 8) | register);
  out32(DATA, value);
}

/** Turns bus mastering off in every function but bridges; returns how many had it on. */
export function clearBusMasters(): u32 {
  let cleared: u32 = 0;
  for (let device: u32 = 0; device < 256 * 32; device++) {
    let functions: u32 = 1;
    for (let f: u32 = 0; f < functions; f++) {
      const bdf = (device << 3) | f;
      if ((read(bdf, 0) & 0xffff) == 0xffff) continue;
      const header = (read(bdf, 12) >> 16) & 0xff;
      if (f == 0 && header & 0x80) functions = 8;
      const command = read(bdf, 4);
      if ((header & 0x7f) != 0 || !(command & COMMAND_MASTER)) continue;
      write(bdf, 4, command & 0xffff & ~COMMAND_MASTER);
      cleared++;
    }
  }
  return cleared;
}
