/** VM-execution, exit and entry controls by name (SDM Vol. 3C 25.6 to 25.8). */
import { Cr4 } from "../x86/cr";

/**
 * CR4 bits that a guest always runs with, whatever it reads: VMX operation wants VMXE (24.8), and without MCE a machine
 * check would shut the CPU down instead of exiting (Vol. 3A 6.15, Interrupt 18).
 */
export const CR4_FORCED: u64 = Cr4.VMXE | Cr4.MCE;

/** 25.6.1, Pin-Based VM-Execution Controls. */
export namespace Pin {
  export const EXTERNAL_INTERRUPT_EXITING: u32 = 1 << 0;
  export const NMI_EXITING: u32 = 1 << 3;
  export const VIRTUAL_NMIS: u32 = 1 << 5;
  export const ACTIVATE_PREEMPTION_TIMER: u32 = 1 << 6;
  export const POSTED_INTERRUPTS: u32 = 1 << 7;
}

/** 25.6.2, Processor-Based VM-Execution Controls: primary. */
export namespace Processor {
  export const INTERRUPT_WINDOW_EXITING: u32 = 1 << 2;
  export const USE_TSC_OFFSETTING: u32 = 1 << 3;
  export const HLT_EXITING: u32 = 1 << 7;
  export const MWAIT_EXITING: u32 = 1 << 10;
  export const RDPMC_EXITING: u32 = 1 << 11;
  export const USE_TPR_SHADOW: u32 = 1 << 21;
  export const CR8_LOAD_EXITING: u32 = 1 << 19;
  export const CR8_STORE_EXITING: u32 = 1 << 20;
  export const NMI_WINDOW_EXITING: u32 = 1 << 22;
  export const MOV_DR_EXITING: u32 = 1 << 23;
  export const UNCONDITIONAL_IO_EXITING: u32 = 1 << 24;
  export const USE_MSR_BITMAPS: u32 = 1 << 28;
  export const MONITOR_EXITING: u32 = 1 << 29;
  export const ACTIVATE_SECONDARY_CONTROLS: u32 = 0x80000000;
}

/** 25.6.2: secondary. */
export namespace Secondary {
  export const VIRTUALIZE_APIC_ACCESSES: u32 = 1 << 0;
  export const ENABLE_EPT: u32 = 1 << 1;
  export const ENABLE_RDTSCP: u32 = 1 << 3;
  export const VIRTUALIZE_X2APIC_MODE: u32 = 1 << 4;
  export const ENABLE_VPID: u32 = 1 << 5;
  export const WBINVD_EXITING: u32 = 1 << 6;
  export const UNRESTRICTED_GUEST: u32 = 1 << 7;
  export const APIC_REGISTER_VIRTUALIZATION: u32 = 1 << 8;
  export const VIRTUAL_INTERRUPT_DELIVERY: u32 = 1 << 9;
  export const ENABLE_INVPCID: u32 = 1 << 12;
  export const ENCLS_EXITING: u32 = 1 << 15;
  export const USE_TSC_SCALING: u32 = 1 << 25;
  export const ENCLV_EXITING: u32 = 1 << 28;
}

/** 25.7.1, VM-Exit Controls. */
export namespace Exit {
  export const SAVE_DEBUG_CONTROLS: u32 = 1 << 2;
  export const HOST_64: u32 = 1 << 9;
  export const SAVE_PAT: u32 = 1 << 18;
  export const LOAD_PAT: u32 = 1 << 19;
  export const SAVE_EFER: u32 = 1 << 20;
  export const LOAD_EFER: u32 = 1 << 21;
}

/** 25.8.1, VM-Entry Controls. */
export namespace Entry {
  export const LOAD_DEBUG_CONTROLS: u32 = 1 << 2;
  export const IA32E_GUEST: u32 = 1 << 9;
  export const LOAD_PAT: u32 = 1 << 14;
  export const LOAD_EFER: u32 = 1 << 15;
}
