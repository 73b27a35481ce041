/** PCI configuration space in memory (PCI Express Base 4.0, 7.2.2, Enhanced Configuration Access Mechanism): 4 KiB a function. */
import { readConfig, writeConfig } from "../device/pciconfig";

/** Of an address from ECAM_BASE on: bus, device and function, offset. The access is within one function. @noinline */
export function readEcam(at: u32, size: u32): u64 {
  let value: u64 = 0;
  for (let i: u32 = 0; i < size; i++) {
    value |= (<u64>readConfig(at >> 20, (at >> 12) & 0xff, (at & 0xfff) + i)) << (i * 8);
  }
  return value;
}

/** @noinline */
export function writeEcam(at: u32, size: u32, value: u64): void {
  for (let i: u32 = 0; i < size; i++) {
    writeConfig(at >> 20, (at >> 12) & 0xff, (at & 0xfff) + i, (<u32>(value >> (i * 8))) & 0xff);
  }
}
