/** Why a VM ended. Root prints the name; `stopDetail` is what the comment says. */
export namespace StopReason {
  export const None: u32 = 0;
  export const PoweredOff: u32 = 1;
  export const Reset: u32 = 2;
  /** A triple fault resets a PC: this is a reset with a reason. Detail: RIP. */
  export const TripleFault: u32 = 3;
  /** HLT with interrupts off and no NMI to come. Detail: RIP. */
  export const HaltedForever: u32 = 4;
  /** The guest's state was refused by VM entry; root says which rule. Detail: exit reason. */
  export const EntryRefused: u32 = 5;
  /** An exit that this monitor does not handle. Detail: the hardware's reason. */
  export const UnexpectedExit: u32 = 6;
  /** A memory access by an instruction that is not emulated. Detail: its first 8 bytes, the first one lowest. */
  export const NotEmulated: u32 = 7;
  /** The kernel image cannot be booted. Detail: a LoadError. */
  export const LoadFailed: u32 = 8;
  /** A task switch. Detail: the selector. */
  export const TaskSwitch: u32 = 9;
  /** An event could not be delivered: its gate or its stack lies in unclaimed memory. Detail: the address. */
  export const DeliveryNotEmulated: u32 = 10;
  // Given by root.
  export const Trap: u32 = 16;
  export const Killed: u32 = 17;
  export const EntryFailed: u32 = 18;
  export const TimeLimit: u32 = 19;
  export const Debugger: u32 = 20;
}

/** Why a kernel image was refused. */
export namespace LoadError {
  export const None: u32 = 0;
  export const Truncated: u32 = 1;
  export const NotBzImage: u32 = 2;
  export const TooOld: u32 = 3;
  export const No64BitEntry: u32 = 4;
  export const MemoryTooSmall: u32 = 5;
  export const InitrdTooHigh: u32 = 6;
  export const CommandLineTooLong: u32 = 7;
  export const UnknownFormat: u32 = 8;
  export const WrongMachine: u32 = 9;
  export const NotExecutable: u32 = 10;
  export const BadHeaders: u32 = 11;
  /** A 64-bit ELF file without Xen's note, and a 32-bit one with neither that nor a multiboot header. */
  export const NoPvhEntry: u32 = 12;
  export const NoEntry32: u32 = 13;
  /** More parts than a kernel has, or more program headers. */
  export const TooManyParts: u32 = 14;
  /** A part has more bytes in the file than in memory. */
  export const PartTooLarge: u32 = 15;
  export const OutsideMemory: u32 = 16;
  export const MeetsTables: u32 = 17;
  export const MeetsInitrd: u32 = 18;
  export const PartsOverlap: u32 = 19;
  export const EntryOutside: u32 = 20;
  export const MultibootVideo: u32 = 21;
  export const MultibootDemands: u32 = 22;
  export const MultibootAddresses: u32 = 23;
}
