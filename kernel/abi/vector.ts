/** The host's own vectors. Devices are of one priority class; the timer is of a higher one and gets through to them. */
export const VECTOR_DEVICE: u32 = 0x40;
/** A vCPU's monitor has something for another one: root's business only where several vCPUs live on the CPU. */
export const VECTOR_LOOK: u32 = 0xd0;
/** Another CPU wants root to look at what has changed. Of a class of its own: a device in service does not hold it back. */
export const VECTOR_KICK: u32 = 0xe0;
export const VECTOR_TIMER: u32 = 0xf0;
export const VECTOR_SPURIOUS: u32 = 0xff;
