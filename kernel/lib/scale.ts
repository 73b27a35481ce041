/** Conversion between clocks by a fixed-point factor, without 128-bit arithmetic. */

/**
 * value * multiplier / divisor, rounded down, exact while the result fits 64 bits and divisor < 2^32 and
 * multiplier < 2^32.
 */
export function mulDiv(value: u64, multiplier: u64, divisor: u64): u64 {
  const whole = value / divisor;
  const rest = value % divisor;
  return whole * multiplier + (rest * multiplier) / divisor;
}
