/**
 * The VMCB in words of 8 bytes (APM Vol. 2 Appendix B, VMCB Layout). A word is an object whose address is its offset: it
 * folds to a constant, and a word where a value belongs does not compile. `read` and `write` are the monitor's, through its
 * allow list; root uses the offset (setup.ts).
 */
import { read, write } from "../machine/vmcb";


@unmanaged
export class Word {
  get offset(): u32 {
    return <u32>changetype<usize>(this);
  }
  read(): u64 {
    return read(this.offset);
  }
  write(value: u64): void {
    write(this.offset, value);
  }
}

// Control area                                                          who writes
export const INTERCEPT_CR = changetype<Word>(0x00); //                   root
export const INTERCEPT_EXCEPTIONS = changetype<Word>(0x08); //           root: and, above them, INTERCEPT_1
export const INTERCEPT_2 = changetype<Word>(0x10); //                    root: and, above it, INTERCEPT_3
export const PAUSE_FILTER = changetype<Word>(0x38); //                   root: threshold in 47:32, count in 63:48
export const IOPM_BASE = changetype<Word>(0x40); //                      root
export const MSRPM_BASE = changetype<Word>(0x48); //                     root
export const TSC_OFFSET = changetype<Word>(0x50); //                     root, monitor
export const ASID = changetype<Word>(0x58); //                           root: and, in 39:32, TLB_CONTROL
export const VIRTUAL_INTERRUPT = changetype<Word>(0x60); //              monitor; V_INTR_MASKING is always on
export const INTERRUPT_SHADOW = changetype<Word>(0x68); //               monitor
export const EXIT_CODE = changetype<Word>(0x70);
export const EXIT_INFO_1 = changetype<Word>(0x78);
export const EXIT_INFO_2 = changetype<Word>(0x80);
export const EXIT_INT_INFO = changetype<Word>(0x88); //                  monitor: to note that it has been seen
export const NESTED_CONTROL = changetype<Word>(0x90); //                 root
export const EVENT_INJECTION = changetype<Word>(0xa8); //                monitor
export const NESTED_CR3 = changetype<Word>(0xb0); //                     root
export const CLEAN = changetype<Word>(0xc0); //                          who changes what it is about
export const NEXT_RIP = changetype<Word>(0xc8);
/** How many bytes of the instruction the CPU has left here, and the first 7 of them; the other 8. */
export const CODE_LOW = changetype<Word>(0xd0);
export const CODE_HIGH = changetype<Word>(0xd8);

// State save area. A segment's selector, attributes and limit, and its base in the next word.
export const ES = changetype<Word>(0x400);
export const CS = changetype<Word>(0x410);
export const GDTR = changetype<Word>(0x460);
export const GDTR_BASE = changetype<Word>(0x468);
export const LDTR = changetype<Word>(0x470);
export const IDTR = changetype<Word>(0x480);
export const IDTR_BASE = changetype<Word>(0x488);
export const TR = changetype<Word>(0x490);
/** In 31:24. */
export const CPL = changetype<Word>(0x4c8);
export const EFER = changetype<Word>(0x4d0);
export const CR4 = changetype<Word>(0x548);
export const CR3 = changetype<Word>(0x550);
export const CR0 = changetype<Word>(0x558);
export const DR7 = changetype<Word>(0x560);
export const DR6 = changetype<Word>(0x568);
export const RFLAGS = changetype<Word>(0x570);
export const RIP = changetype<Word>(0x578);
export const RSP = changetype<Word>(0x5d8);
export const RAX = changetype<Word>(0x5f8);
export const CR2 = changetype<Word>(0x640);
export const PAT = changetype<Word>(0x668);

/** A field of an event: its vector in 7:0 and its type in 10:8 (15.20, Event Injection); an error code in 63:32. */
export const EVENT_HAS_ERROR: u64 = 1 << 11;
export const EVENT_VALID: u64 = 0x80000000;

// A virtual interrupt: its priority in 19:16, its vector in 39:32 (15.21, Interrupt and Local APIC Support).
export const V_IRQ: u64 = 1 << 8;
export const V_HIGHEST: u64 = 15 << 16;
export const V_IGNORE_TPR: u64 = 1 << 20;
export const V_VECTOR: u64 = 32;
