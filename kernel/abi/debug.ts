/**
 * What root and the debugger (kernel/debug/) share. It is in root's memory; the debugger is told its physical address.
 * Root describes what it runs and why it stops; the debugger leaves its wishes, and sets PerCpu.attention so that root
 * looks at them before any guest goes on.
 */

/** Why root enters the debugger, in DebugInfo.cause; Host when it was not root: the crash record says what happened. */
export namespace Stop {
  /** An exception in root or in a monitor, or, with VECTOR_TIMER, something to read on the debugger's line. */
  export const Host: u32 = 0;
  /** Nothing has run yet: the command line says to wait for a debugger. */
  export const Waiting: u32 = 1;
  /**
   * The guest executed INT3, or on AMD-V INT1 or what is undefined, which its RIP is at. `answer` nonzero: it is the guest's
   * own.
   */
  export const Breakpoint: u32 = 2;
  /** A debug exception in the guest; `detail`: what DR6 says of it. `answer` nonzero: it is the guest's own. */
  export const Debug: u32 = 3;
  /** The step that was asked for is done. */
  export const Step: u32 = 4;
  /** The guest has accessed watched memory, and the access is done; `detail`: its guest-physical address. */
  export const Watch: u32 = 5;
  /** The guest's RIP has reached what DebugControl.catchFrom says. */
  export const Caught: u32 = 6;
  /** The VM has ended; `detail`: a StopReason. */
  export const Ended: u32 = 7;
  /** The hypervisor has ended: nothing runs any more. */
  export const Finished: u32 = 8;
}


@unmanaged
export class DebugInfo {
  /** One of Stop, the VM and its vCPU that it is about, and what it says there. */
  cause: u32;
  vm: u32;
  vcpu: u32;
  /** Watch: one of WatchKind, what the access was. */
  access: u32;
  detail: u64;
  /** Breakpoint, Debug: the debugger's answer. */
  answer: u32;
  /** I/O port of the debugger's UART, which root has set up and does not touch any more. */
  port: u32;
  /** Which virtualization extension: 0 VT-x, 1 AMD-V. */
  extension: u32;
  logSize: u32;
  /** Physical address of root's VMs: records that start with a VmRecord, how many, and their distance in bytes. */
  vms: u64;
  vmCount: u32;
  vmStride: u32;
  /** Physical addresses of the VcpuContexts of all vCPUs and of the DebugControl of each VM. */
  contexts: u64;
  controls: u64;
  /** The log's ring: physical address, size (a power of two), and the physical address of the count of bytes written. */
  log: u64;
  logHead: u64;
  /** TSC ticks in which the next byte of a packet comes, or none does. */
  patience: u64;
}

/** The start of root's record of a VM (kernel/root/vm.ts). */
@unmanaged
export class VmRecord {
  id: u32;
  /** 0 none, 1 alive, 3 ended, 4 ending. */
  state: u32;
  /** Bytes of guest RAM: [0, ramLow) and [4 GiB, ramHigh) of the context. */
  memory: u64;
  /** Physical address of the monitor's linear memory, and of the top of the nested translation tables (4 levels). */
  home: u64;
  nestedTop: u64;
  /** The first of its vCPUs among all contexts, and how many they are. */
  first: u32;
  vcpus: u32;
}

/** What is watched for. */
export namespace WatchKind {
  export const Write: u32 = 1;
  export const Read: u32 = 2;
  export const Access: u32 = 3;
}

export const WATCHES: u32 = 8;

/** Guest-physical memory: [gpa, gpa + length), within one 4 KiB page. A length of 0 is none. */
@unmanaged
export class WatchRange {
  gpa: u64;
  length: u32;
  kind: u32;
}

/** What the debugger wants of a VM. Root does it before a vCPU of it runs next. WATCHES WatchRanges follow. */
@unmanaged
export class DebugControl {
  /** Bit N: stop behind the next instruction of vCPU N. Root clears it when it stops there. */
  steps: u32;
  /** Bit N: vCPU N does not run. */
  held: u32;
  /** Nonzero: end the VM. */
  kill: u32;
  padding: u32;
  /** DR7 while the guest runs: the breakpoints that are this VM's. */
  dr7: u64;
  /** Stop at the first exit of any vCPU with a RIP at or above this; ~0: none. Root sets it to that when it stops. */
  catchFrom: u64;
}
