/** Conversion between clocks by a fraction, without 128-bit arithmetic. */

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
