/**
 * The fields of the VMCS (SDM Vol. 3D Appendix B, Field Encoding in VMCS). A field is an object whose address is its
 * encoding: it folds to a constant, and a field where a value belongs does not compile. `read` and `write` are the
 * monitor's, through its allow list; root uses the encoding (setup.ts).
 */
import { vmread, vmwrite } from "../machine/vmcs";


@unmanaged
export class Field16 {
  get encoding(): u32 {
    return <u32>changetype<usize>(this);
  }
  read(): u32 {
    return <u32>vmread(this.encoding);
  }
  write(value: u32): void {
    vmwrite(this.encoding, value);
  }
}


@unmanaged
export class Field32 {
  get encoding(): u32 {
    return <u32>changetype<usize>(this);
  }
  /** The value for arithmetic in 64 bits: VMREAD clears the upper half (SDM Vol. 3C 31.3, VMREAD). */
  readWide(): u64 {
    return vmread(this.encoding);
  }
  read(): u32 {
    return <u32>vmread(this.encoding);
  }
  write(value: u32): void {
    vmwrite(this.encoding, value);
  }
}

/** 64-bit and natural-width fields: the same on a CPU in long mode. */
@unmanaged
export class Field64 {
  get encoding(): u32 {
    return <u32>changetype<usize>(this);
  }
  read(): u64 {
    return vmread(this.encoding);
  }
  write(value: u64): void {
    vmwrite(this.encoding, value);
  }
}

// Control fields                                                             who writes
export const VPID = changetype<Field16>(0x0000); //                           root
export const IO_BITMAP_A = changetype<Field64>(0x2000); //                    root
export const IO_BITMAP_B = changetype<Field64>(0x2002); //                    root
export const MSR_BITMAP = changetype<Field64>(0x2004); //                     root
export const TSC_OFFSET = changetype<Field64>(0x2010); //                     root, monitor
export const VIRTUAL_APIC = changetype<Field64>(0x2012); //                   root
export const ENCLS_BITMAP = changetype<Field64>(0x202e); //                   root
export const TSC_MULTIPLIER = changetype<Field64>(0x2032); //                 root
export const ENCLV_BITMAP = changetype<Field64>(0x2036); //                   root
export const EOI_EXITS_0 = changetype<Field64>(0x201c); //                    root, monitor
export const EOI_EXITS_1 = changetype<Field64>(0x201e); //                    root, monitor
export const EOI_EXITS_2 = changetype<Field64>(0x2020); //                    root, monitor
export const EOI_EXITS_3 = changetype<Field64>(0x2022); //                    root, monitor
export const EPT_POINTER = changetype<Field64>(0x201a); //                    root
export const PIN_CONTROLS = changetype<Field32>(0x4000); //                   root
export const PROCESSOR_CONTROLS = changetype<Field32>(0x4002); //             root; windows by name
export const EXCEPTION_BITMAP = changetype<Field32>(0x4004); //               root
export const PAGE_FAULT_MASK = changetype<Field32>(0x4006); //                root
export const PAGE_FAULT_MATCH = changetype<Field32>(0x4008); //               root
export const CR3_TARGET_COUNT = changetype<Field32>(0x400a); //               root
export const EXIT_CONTROLS = changetype<Field32>(0x400c); //                  root
export const EXIT_MSR_STORE_COUNT = changetype<Field32>(0x400e); //           root
export const EXIT_MSR_LOAD_COUNT = changetype<Field32>(0x4010); //            root
export const ENTRY_CONTROLS = changetype<Field32>(0x4012); //                 root
export const ENTRY_MSR_LOAD_COUNT = changetype<Field32>(0x4014); //           root
export const ENTRY_INTERRUPTION = changetype<Field32>(0x4016); //             monitor
export const ENTRY_ERROR_CODE = changetype<Field32>(0x4018); //               monitor
export const ENTRY_LENGTH = changetype<Field32>(0x401a); //                   monitor
export const TPR_THRESHOLD = changetype<Field32>(0x401c); //                  root, monitor
export const SECONDARY_CONTROLS = changetype<Field32>(0x401e); //             root
export const CR0_MASK = changetype<Field64>(0x6000); //                       root
export const CR4_MASK = changetype<Field64>(0x6002); //                       root
export const CR0_SHADOW = changetype<Field64>(0x6004); //                     monitor
export const CR4_SHADOW = changetype<Field64>(0x6006); //                     monitor

// Read-only data: what an exit was about
export const GUEST_PHYSICAL = changetype<Field64>(0x2400);
export const INSTRUCTION_ERROR = changetype<Field32>(0x4400);
export const EXIT_REASON = changetype<Field32>(0x4402);
export const EXIT_INTERRUPTION = changetype<Field32>(0x4404);
export const EXIT_ERROR_CODE = changetype<Field32>(0x4406);
export const VECTORING = changetype<Field32>(0x4408);
export const VECTORING_ERROR_CODE = changetype<Field32>(0x440a);
export const EXIT_LENGTH = changetype<Field32>(0x440c);
export const INSTRUCTION_INFO = changetype<Field32>(0x440e);
export const QUALIFICATION = changetype<Field64>(0x6400);
export const GUEST_LINEAR = changetype<Field64>(0x640a);

// Guest state: a segment's four fields are at the same distance from those of ES
export const GUEST_ES_SELECTOR = changetype<Field16>(0x0800);
export const GUEST_CS_SELECTOR = changetype<Field16>(0x0802);
export const GUEST_SS_SELECTOR = changetype<Field16>(0x0804);
export const GUEST_LDTR_SELECTOR = changetype<Field16>(0x080c);
export const GUEST_TR_SELECTOR = changetype<Field16>(0x080e);
export const GUEST_INTERRUPT_STATUS = changetype<Field16>(0x0810); //         root, monitor
export const LINK_POINTER = changetype<Field64>(0x2800); //                   root
export const GUEST_DEBUGCTL = changetype<Field64>(0x2802); //                 root
export const GUEST_PAT = changetype<Field64>(0x2804);
export const GUEST_EFER = changetype<Field64>(0x2806);
export const GUEST_PDPTE0 = changetype<Field64>(0x280a);
export const GUEST_ES_LIMIT = changetype<Field32>(0x4800);
export const GUEST_CS_LIMIT = changetype<Field32>(0x4802);
export const GUEST_GDTR_LIMIT = changetype<Field32>(0x4810);
export const GUEST_IDTR_LIMIT = changetype<Field32>(0x4812);
export const GUEST_ES_RIGHTS = changetype<Field32>(0x4814);
export const GUEST_CS_RIGHTS = changetype<Field32>(0x4816);
export const GUEST_SS_RIGHTS = changetype<Field32>(0x4818);
export const GUEST_TR_RIGHTS = changetype<Field32>(0x4822);
export const GUEST_INTERRUPTIBILITY = changetype<Field32>(0x4824);
export const GUEST_ACTIVITY = changetype<Field32>(0x4826);
export const PREEMPTION_TIMER = changetype<Field32>(0x482e); //               root
export const GUEST_SYSENTER_CS = changetype<Field32>(0x482a);
export const GUEST_CR0 = changetype<Field64>(0x6800);
export const GUEST_CR3 = changetype<Field64>(0x6802);
export const GUEST_CR4 = changetype<Field64>(0x6804);
export const GUEST_ES_BASE = changetype<Field64>(0x6806);
export const GUEST_CS_BASE = changetype<Field64>(0x6808);
export const GUEST_FS_BASE = changetype<Field64>(0x680e);
export const GUEST_GS_BASE = changetype<Field64>(0x6810);
export const GUEST_TR_BASE = changetype<Field64>(0x6814);
export const GUEST_GDTR_BASE = changetype<Field64>(0x6816);
export const GUEST_IDTR_BASE = changetype<Field64>(0x6818);
export const GUEST_DR7 = changetype<Field64>(0x681a);
export const GUEST_RSP = changetype<Field64>(0x681c);
export const GUEST_RIP = changetype<Field64>(0x681e);
export const GUEST_RFLAGS = changetype<Field64>(0x6820);
export const GUEST_PENDING_DEBUG = changetype<Field64>(0x6822);
export const GUEST_SYSENTER_ESP = changetype<Field64>(0x6824);
export const GUEST_SYSENTER_EIP = changetype<Field64>(0x6826);

// Host state: root's
export const HOST_ES_SELECTOR = changetype<Field16>(0x0c00);
export const HOST_CS_SELECTOR = changetype<Field16>(0x0c02);
export const HOST_SS_SELECTOR = changetype<Field16>(0x0c04);
export const HOST_DS_SELECTOR = changetype<Field16>(0x0c06);
export const HOST_FS_SELECTOR = changetype<Field16>(0x0c08);
export const HOST_GS_SELECTOR = changetype<Field16>(0x0c0a);
export const HOST_TR_SELECTOR = changetype<Field16>(0x0c0c);
export const HOST_PAT = changetype<Field64>(0x2c00);
export const HOST_EFER = changetype<Field64>(0x2c02);
export const HOST_SYSENTER_CS = changetype<Field32>(0x4c00);
export const HOST_CR0 = changetype<Field64>(0x6c00);
export const HOST_CR3 = changetype<Field64>(0x6c02);
export const HOST_CR4 = changetype<Field64>(0x6c04);
export const HOST_FS_BASE = changetype<Field64>(0x6c06);
export const HOST_GS_BASE = changetype<Field64>(0x6c08);
export const HOST_TR_BASE = changetype<Field64>(0x6c0a);
export const HOST_GDTR_BASE = changetype<Field64>(0x6c0c);
export const HOST_IDTR_BASE = changetype<Field64>(0x6c0e);
export const HOST_SYSENTER_ESP = changetype<Field64>(0x6c10);
export const HOST_SYSENTER_EIP = changetype<Field64>(0x6c12);
export const HOST_RSP = changetype<Field64>(0x6c14);
export const HOST_RIP = changetype<Field64>(0x6c16);
