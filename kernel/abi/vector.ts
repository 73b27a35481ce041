/** The host's own vectors. Devices are of one priority class; the timer is of a higher one and gets through to them. */
export const VECTOR_DEVICE: u32 = 0x40;
export const VECTOR_TIMER: u32 = 0xf0;
export const VECTOR_SPURIOUS: u32 = 0xff;
