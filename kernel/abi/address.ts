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
/**
 * What CPUs other than the boot CPU have in place of the image's section .percpu, a slot each, in every address space: a
 * page with the block, GDT and TSS, then the interrupt stacks in the order of boot/percpu.asm.
 */
export const PERCPU_AREA: u64 = 0xffffe80040000000;
export const PERCPU_SLOT: u64 = 0x10000;
export const PERCPU_STACKS: u32 = 4;
/** Their stacks in root's space, a slot each: root's own at the slot's top, that for reports in its middle. */
export const ROOT_STACK_AREA: u64 = 0xffffec0000000000;
export const ROOT_STACK_SLOT: u64 = 0x10000;
export const ROOT_STACK_SIZE: u64 = 0x4000;
export const PANIC_STACK_END: u64 = 0x8000;
export const PANIC_STACK_SIZE: u64 = 0x2000;
/** CPUs that are used at most. */
export const MAX_CPUS: u32 = 64;

/** Size of root's linear memory. It is part of the image and mapped by one large page. */
export const ROOT_MEMORY: u64 = 0x200000;

// Fixed places in a monitor's linear memory; asc's own data starts at MONITOR_DATA (asconfig.json, memoryBase).
// Page 0 is left unmapped: a null reference is a trap.
export const VM_INFO: u32 = 0x1000;
export const CONSOLE_RING: u32 = 0x2000;
export const VCPU_AREA: u32 = 0x6000;
export const VCPU_AREA_SIZE: u32 = 0x1000;
export const MAX_VCPUS: u32 = 16;
export const MONITOR_DATA: u32 = 0x18000;
/**
 * The vCPUs' local APICs, a page each, laid out as the registers' page (kernel/device/lapicregister.ts), behind asc's data: as
 * far from a vCPU's area as every other one's.
 */
export const LAPIC_AREA: u32 = 0x30000;
