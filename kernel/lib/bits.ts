/** Bits the way the manuals write them: from the high one to the low one, both included. */

export function bits(value: u64, high: u32, low: u32): u64 {
  return (value >> low) & (~(<u64>0) >> (63 - (high - low)));
}

export function bit(value: u64, n: u32): bool {
  return ((value >> n) & 1) != 0;
}

export function alignUp(value: u64, to: u64): u64 {
  return (value + to - 1) & ~(to - 1);
}

export function alignDown(value: u64, to: u64): u64 {
  return value & ~(to - 1);
}
