/** Values that break things, and reproducible random ones. */

export const edges32: bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  31n,
  32n,
  33n,
  63n,
  64n,
  127n,
  128n,
  255n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0x80000001n,
  0xffff8000n,
  0xffffff80n,
  0xfffffffen,
  0xffffffffn,
];

export const edges64: bigint[] = [
  ...edges32,
  0x100000000n,
  0x100000001n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0x8000000000000001n,
  0xffffffff00000000n,
  0xffffffff80000000n,
  0xffffffffffffff80n,
  0xfffffffffffffffen,
  0xffffffffffffffffn,
];

/** xorshift64*, seeded: a failure can be run again. */
export class Random {
  private state: bigint;

  constructor(seed: number) {
    this.state = BigInt(seed) * 0x9e3779b97f4a7c15n + 1n;
    for (let i = 0; i < 4; i++) this.u64();
  }

  u64(): bigint {
    let x = this.state;
    x ^= x >> 12n;
    x = BigInt.asUintN(64, x ^ (x << 25n));
    x ^= x >> 27n;
    this.state = x;
    return BigInt.asUintN(64, x * 0x2545f4914f6cdd1dn);
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Number(this.u64() >> 33n) % limit;
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** An edge as often as not; random bits otherwise. */
  value(): bigint {
    return this.once(2) ? this.pick(edges64) : this.u64() >> BigInt(this.below(64));
  }
}
