/** The debug registers (SDM Vol. 3B 18.2.3, Debug Status Register; 18.2.4, Debug Control Register). */

/** After a reset. */
export const DR6_RESET: u64 = 0xffff0ff0;
export const DR7_RESET: u64 = 0x400;

/** DR6: B0 to B3; single step; and all that a debug exception sets, which is these and BD. */
export const DR6_BREAKPOINTS: u64 = 0xf;
export const DR6_BS: u64 = 1 << 14;
export const DR6_CAUSES: u64 = 0x600f;

/** DR7: general detect. */
export const DR7_GD: u64 = 1 << 13;
