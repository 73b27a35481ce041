/** Guest RAM of a fake machine: [0, size), below 4 GiB. Like the guest intrinsics, it never throws for an address. */
export class FakeRam {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Writes to where no RAM is. */
  lost = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  contains(gpa: bigint, length: bigint): boolean {
    const size = BigInt(this.bytes.length);
    return gpa >= 0n && gpa < size && length <= size - gpa;
  }

  /** Whether a write lands in RAM. One that does not is counted. */
  holds(gpa: bigint, length: bigint): boolean {
    const good = this.contains(gpa, length);
    if (!good) this.lost++;
    return good;
  }

  load(gpa: bigint, size: number): bigint {
    if (!this.contains(gpa, BigInt(size))) return BigInt.asUintN(size * 8, -1n);
    const at = Number(gpa);
    if (size === 8) return this.view.getBigUint64(at, true);
    return BigInt(
      size === 4
        ? this.view.getUint32(at, true)
        : size === 2
          ? this.view.getUint16(at, true)
          : this.bytes[at]!,
    );
  }

  store(gpa: bigint, size: number, value: bigint): void {
    if (!this.holds(gpa, BigInt(size))) return;
    const at = Number(gpa);
    if (size === 8) return this.view.setBigUint64(at, value, true);
    const low = Number(BigInt.asUintN(32, value));
    if (size === 4) this.view.setUint32(at, low, true);
    else if (size === 2) this.view.setUint16(at, low, true);
    else this.bytes[at] = low;
  }

  /** Puts bytes, or the UTF-8 of a text, at an address. */
  put(gpa: number, bytes: Uint8Array | number[] | string): void {
    this.bytes.set(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes, gpa);
  }
}
