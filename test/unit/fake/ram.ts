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
    let value = 0n;
    if (!this.contains(gpa, BigInt(size))) return (1n << BigInt(size * 8)) - 1n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[Number(gpa) + i]!);
    return value;
  }

  store(gpa: bigint, size: number, value: bigint): void {
    if (!this.holds(gpa, BigInt(size))) return;
    for (let i = 0; i < size; i++) this.bytes[Number(gpa) + i] = Number((value >> BigInt(i * 8)) & 0xffn);
  }

  /** Puts bytes, or the UTF-8 of a text, at an address. */
  put(gpa: number, bytes: Uint8Array | number[] | string): void {
    this.bytes.set(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes, gpa);
  }
}
