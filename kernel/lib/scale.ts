/**
 * Conversion between clocks: by a fraction of two numbers, or by a fixed-point factor, a 64-bit number with 48 bits behind the point,
 * as the CPU itself scales a guest's TSC (SDM Vol. 3C 25.6.5, Time-Stamp Counter Offset and Multiplier). Factor 0 is 1.
 */

/** value * multiplier / divisor, rounded down; exact while the result and divisor * multiplier fit 64 bits. */
export function mulDiv(value: u64, multiplier: u64, divisor: u64): u64 {
  const whole = value / divisor;
  const rest = value % divisor;
  return whole * multiplier + (rest * multiplier) / divisor;
}

/** The same, rounded up: the first count of the other clock at which mulDiv back gives `value`, or more. */
export function mulDivUp(value: u64, multiplier: u64, divisor: u64): u64 {
  const whole = value / divisor;
  const rest = value % divisor;
  return whole * multiplier + (rest * multiplier + divisor - 1) / divisor;
}

const HALF: u64 = 0xffffffff;
const MOST: u64 = ~(<u64>0);
/** Bits behind the point of a factor. */
const POINT: u32 = 48;

/** The upper half of the product's 128 bits. */
function high(a: u64, b: u64): u64 {
  const middle = (a >> 32) * (b & HALF) + (((a & HALF) * (b & HALF)) >> 32);
  const other = (a & HALF) * (b >> 32) + (middle & HALF);
  return (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);
}

/** Bits 111 to 48 of the product. Apart, so that who has no factor does not pay for it. @noinline */
function multiply(value: u64, factor: u64): u64 {
  return (high(value, factor) << (64 - POINT)) | ((value * factor) >> POINT);
}

/** value * factor, rounded down; of a result of more than 64 bits the lower ones, as RDTSC gives it. */
export function scale(value: u64, factor: u64): u64 {
  return factor ? multiply(value, factor) : value;
}

/** @noinline */
function multiplyUp(value: u64, factor: u64): u64 {
  if (high(value, factor) >> POINT) return MOST;
  const result = multiply(value, factor);
  const more: u64 = (value * factor) & (MOST >> (64 - POINT)) ? 1 : 0;
  return result + (result == MOST ? 0 : more);
}

/** value * factor, rounded up; ~0 when it is more than that. */
export function scaleUp(value: u64, factor: u64): u64 {
  return factor ? multiplyUp(value, factor) : value;
}

/** value / divisor as a factor, rounded down; value / divisor is below 2^16. */
export function factorOf(value: u64, divisor: u64): u64 {
  let factor = value / divisor;
  let rest = value % divisor;
  for (let n: u32 = 0; n < POINT; n++) {
    const carry = rest >> 63;
    rest <<= 1;
    factor <<= 1;
    if (!carry && rest < divisor) continue;
    rest -= divisor;
    factor |= 1;
  }
  return factor;
}

/** 1 / factor, rounded up: what has been scaled down by it and up again is not less than before. The factor is above 2^32, or 0. */
export function inverseOf(factor: u64): u64 {
  if (!factor) return 0;
  const down = factorOf((<u64>1) << POINT, factor);
  return down * factor ? down + 1 : down;
}
