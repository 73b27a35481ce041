/**
 * Addresses of a kernel as numbers: the 64-bit address taken as signed. A kernel's image lies in the top 2 GiB of the
 * address space, so that its addresses are small negative numbers and exact, where 0xffffffff81000000 itself is too
 * large for a number. Per-CPU variables of kernels before 6.15 have addresses from 0 up.
 */
export type Address = number;

/** Where kernels are linked to run: the top 2 GiB. */
export const lowestKernelAddress: Address = -(2 ** 31);

export function isKernelAddress(address: Address): boolean {
  return address >= lowestKernelAddress && address < 0;
}

/** The 64 bits at `offset`; an address that is neither the kernel's nor small loses its low bits. */
export function readAddress(bytes: Buffer, offset: number): Address {
  return Number(bytes.readBigInt64LE(offset));
}

export function writeAddress(bytes: Buffer, address: Address, offset: number): void {
  bytes.writeBigInt64LE(BigInt(address), offset);
}

/** Sixteen digits, as nm and /proc/kallsyms write addresses. */
export function digits(address: Address): string {
  return BigInt.asUintN(64, BigInt(address)).toString(16).padStart(16, "0");
}
