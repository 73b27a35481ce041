/** The VMCB's layout, and which clean bit is about what (APM Vol. 2 Appendix B, VMCB Layout; 15.15.3, VMCB Clean Field). */

export const Vmcb = {
  INTERCEPTS: 0x00,
  INTERCEPT_CR: 0x00,
  INTERCEPT_DR: 0x04,
  INTERCEPT_EXCEPTIONS: 0x08,
  INTERCEPT_1: 0x0c,
  INTERCEPT_2: 0x10,
  INTERCEPT_3: 0x14,
  PAUSE_THRESHOLD: 0x3c,
  PAUSE_COUNT: 0x3e,
  IOPM_BASE: 0x40,
  MSRPM_BASE: 0x48,
  TSC_OFFSET: 0x50,
  ASID: 0x58,
  TLB_CONTROL: 0x5c,
  VIRTUAL_INTERRUPT: 0x60,
  INTERRUPT_SHADOW: 0x68,
  EXIT_CODE: 0x70,
  NESTED_CONTROL: 0x90,
  EVENT_INJECTION: 0xa8,
  NESTED_CR3: 0xb0,
  CLEAN: 0xc0,
  CS: 0x410,
  FS: 0x440,
  GS: 0x450,
  LDTR: 0x470,
  TR: 0x490,
  EFER: 0x4d0,
  CR4: 0x548,
  CR3: 0x550,
  CR0: 0x558,
  DR7: 0x560,
  DR6: 0x568,
  RFLAGS: 0x570,
  RIP: 0x578,
  RSP: 0x5d8,
  STAR: 0x600,
  LSTAR: 0x608,
  CSTAR: 0x610,
  SFMASK: 0x618,
  KERNEL_GS_BASE: 0x620,
  SYSENTER_CS: 0x628,
  CR2: 0x640,
  PAT: 0x668,
} as const;

/** What a CPU may keep of a VMCB while the bit of this number is set: [offset, bytes]. */
export const cleanGroups: [offset: number, bytes: number][][] = [
  [[0x00, 0x18], [0x3c, 4], [0x50, 8]], // prettier-ignore
  [[0x40, 0x10]],
  [[0x58, 4]],
  [[0x60, 8]],
  [[0x90, 8], [0xb0, 8], [0x668, 8]], // prettier-ignore
  [[0x4d0, 8], [0x548, 0x18]], // prettier-ignore
  [[0x560, 0x10]],
  [[0x460, 0x10], [0x480, 0x10]], // prettier-ignore
  [[0x400, 0x40], [0x4cb, 1]], // prettier-ignore
  [[0x640, 8]],
  [[0x670, 0x28]],
  [[0x98, 8], [0xe0, 8], [0xf0, 0x10]], // prettier-ignore
];

/** What VMLOAD and VMSAVE move (15.5.2): FS, GS, LDTR, TR, KERNEL_GS_BASE, and the MSRs of SYSCALL and SYSENTER. */
export const vmloadState: [offset: number, bytes: number][] = [
  [0x440, 0x20],
  [0x470, 0x10],
  [0x490, 0x10],
  [0x600, 0x40],
];
