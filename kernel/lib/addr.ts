/**
 * Byte addresses by the space that they are in. To asc they are u64; tsc reads addr.brand.ts instead and refuses to
 * mix them (docs/decisions/address-types.md).
 */
export type Gpa = u64;
export type Hpa = u64;
export type Hva = u64;
