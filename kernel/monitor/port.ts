/** IN and OUT (SDM Vol. 2A, IN; Vol. 2B, OUT) by their operand's size: 1, 2 or 4 bytes. */
import { Vcpu } from "../vcpu/vcpu";
import { lock, unlock } from "./lock";
import { readByte, readWide, writeByte, writeWide } from "./platform";

export function readPort(v: Vcpu, port: u32, size: u32): u32 {
  lock();
  const value = size == 1 ? readByte(v, port) : readWide(v, port, size);
  unlock();
  return value;
}

export function writePort(v: Vcpu, port: u32, size: u32, value: u32): void {
  lock();
  if (size == 1) writeByte(v, port, value & 0xff);
  else writeWide(v, port, size, value);
  unlock();
}

/** The instruction with 2 or 4 bytes, but for the step to the next one. Of RAX, 4 clear the upper half. */
export function onWide(v: Vcpu, port: u32, size: u32, isIn: u32): void {
  if (!isIn) {
    writePort(v, port, size, <u32>v.rax);
    return;
  }
  const value = readPort(v, port, size);
  v.rax = size == 2 ? (v.rax & ~0xffff) | value : value;
}
