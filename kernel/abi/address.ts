/** The address map that root, the monitors, NASM and C share (docs/memory-layout.md draws it). */

export const PAGE: u64 = 4096;
/** The kernel image is linked and loaded here; text and read-only data end below LARGE_PAGE * 2. */
export const IMAGE_BASE: u64 = 0x200000;
/** Base of every instance's wasm linear memory. The page tables tell the instances apart. */
export const LINEAR_BASE: u64 = 0x40000000;
/** Guest RAM as its own monitor sees it: this plus the guest-physical address. */
export const GUEST_WINDOW: u64 = 0xffff800000000000;
/** All physical memory, cached. Root only. */
export const PHYSICAL_WINDOW: u64 = 0xffffc00000000000;
/** Device memory, uncached. Root only, and pages are mapped when root asks for them. */
export const UNCACHED_WINDOW: u64 = 0xffffd00000000000;
/** vCPU stacks of one VM: slot n starts here plus n * STACK_SLOT. The slot's lower part is the guard. */
export const STACK_AREA: u64 = 0xffffe00000000000;
export const STACK_SLOT: u64 = 0x10000;
export const STACK_SIZE: u64 = 0x4000;
/** VMCBs of one VM's vCPUs, a page each, on AMD-V: only its monitor has them here. */
export const CONTROL_AREA: u64 = 0xffffe40000000000;
/** The local APIC's registers, on CPUs without x2APIC, at the same place in every address space. */
export const APIC_PAGE: u64 = 0xffffe80000000000;

/** Size of root's linear memory. It is part of the image and mapped by one large page. */
export const ROOT_MEMORY: u64 = 0x200000;

// Fixed places in a monitor's linear memory; asc's own data starts at MONITOR_DATA (asconfig.json, memoryBase).
// Page 0 is left unmapped: a null reference is a trap.
export const VM_INFO: u32 = 0x1000;
export const CONSOLE_RING: u32 = 0x2000;
export const VCPU_AREA: u32 = 0x6000;
export const VCPU_AREA_SIZE: u32 = 0x1000;
export const MAX_VCPUS: u32 = 8;
export const MONITOR_DATA: u32 = 0x10000;
