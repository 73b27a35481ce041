/**
 * A local APIC's registers (SDM Vol. 3A 11, APIC; table 11-1, Local APIC Register Address Map), as a page of memory: each at its
 * offset in xAPIC mode, which is 16 times its number in x2APIC mode (table 11-6). What the hypervisor adds lies behind them.
 *
 * A vCPU's APIC is its own: nobody else writes to it, and it takes no lock. Other vCPUs of the VM read `id`, `ldr`, `dfr`, `svr`,
 * `tpr`, `ppr`, `isrTop` and `base` to find a message's destinations, each a word that is whole at any time; what they have to say goes into the
 * mailbox (apicbus.ts).
 */

/** Offsets in the page. r: read-only, w: write-only. */
export namespace Reg {
  export const ID: u32 = 0x20; //             r
  export const VERSION: u32 = 0x30; //        r
  export const TPR: u32 = 0x80;
  export const APR: u32 = 0x90; //            r, xAPIC
  export const PPR: u32 = 0xa0; //            r
  export const EOI: u32 = 0xb0; //            w
  export const RRD: u32 = 0xc0; //            r, xAPIC: 0
  export const LDR: u32 = 0xd0; //            r in x2APIC mode
  export const DFR: u32 = 0xe0; //            xAPIC
  export const SVR: u32 = 0xf0;
  export const ISR: u32 = 0x100; //           r, eight words
  export const TMR: u32 = 0x180; //           r, eight words
  export const IRR: u32 = 0x200; //           r, eight words
  export const ESR: u32 = 0x280; //           a write latches
  export const ICR: u32 = 0x300; //           64 bits in x2APIC mode
  export const ICR_HIGH: u32 = 0x310; //      xAPIC
  export const LVT_TIMER: u32 = 0x320;
  export const LVT_THERMAL: u32 = 0x330;
  export const LVT_PERFORMANCE: u32 = 0x340;
  export const LVT_LINT0: u32 = 0x350;
  export const LVT_LINT1: u32 = 0x360;
  export const LVT_ERROR: u32 = 0x370;
  export const TIMER_INITIAL: u32 = 0x380;
  export const TIMER_CURRENT: u32 = 0x390; // r
  export const TIMER_DIVIDE: u32 = 0x3e0;
  export const SELF_IPI: u32 = 0x3f0; //      w, x2APIC
  export const END: u32 = 0x400;
}

/** Version 14h, six entries of the LVT, suppression of EOI broadcasts. There are no machine checks, and so no LVT CMCI. */
export const VERSION: u32 = 0x01050014;

/** IA32_APIC_BASE (11.4.4, Local APIC Status and Location). */
export namespace Base {
  export const BSP: u64 = 1 << 8;
  export const X2: u64 = 1 << 10;
  export const ENABLE: u64 = 1 << 11;
  export const ADDRESS: u64 = ~(<u64>0xfff);
  export const DEFAULT: u64 = 0xfee00000;
}

/** Delivery modes, of the ICR, the LVT, the I/O APIC and MSIs alike (11.6.1; 11.5.1). */
export namespace Delivery {
  export const Fixed: u32 = 0;
  export const Lowest: u32 = 1;
  export const Smi: u32 = 2;
  export const Nmi: u32 = 4;
  export const Init: u32 = 5;
  export const Sipi: u32 = 6;
  export const ExtInt: u32 = 7;
}

export const MASKED: u32 = 1 << 16;
export const SVR_ENABLED: u32 = 1 << 8;
export const SVR_SUPPRESS_EOI: u32 = 1 << 12;

/** Bits of the ESR (11.5.3, Error Handling). */
export namespace Esr {
  export const SendIllegal: u32 = 1 << 5;
  export const ReceivedIllegal: u32 = 1 << 6;
  export const IllegalRegister: u32 = 1 << 7;
}

/** What an access has caused that is the vCPU's to see to, in LapicState.signals. */
export namespace Signal {
  /** Whether there is an interrupt to deliver may have changed. */
  export const Output: u32 = 1 << 0;
  export const Nmi: u32 = 1 << 1;
  export const Init: u32 = 1 << 2;
  /** The vector is in LapicState.sipi. */
  export const Sipi: u32 = 1 << 3;
  /** The timer is due at another time. */
  export const Timer: u32 = 1 << 4;
  /** LINT0 may lead elsewhere than before. */
  export const Lint0: u32 = 1 << 5;
  /** A level-triggered interrupt, LapicState.ended, has ended: the I/O APIC is to know. */
  export const Eoi: u32 = 1 << 6;
  /** The vCPU is to look at the 8259s' output. */
  export const Pic: u32 = 1 << 7;
  /** Boot processor: a device is due at another time than before. */
  export const Devices: u32 = 1 << 8;
  /** How the processor may take part in this may have changed: the mode, or its software's leave. */
  export const Mode: u32 = 1 << 9;
}


@unmanaged
export class LapicState {
  /** IA32_APIC_BASE. */
  base: u64;
  /** The vCPU's number, and its initial APIC ID. */
  number: u32;
  signals: u32;
  /** Highest vectors requested and in service, 0 for none; which of their eight words each are not 0. */
  irrTop: u32;
  isrTop: u32;
  irrWords: u32;
  isrWords: u32;
  /** Errors since the last write to the ESR. */
  errors: u32;
  sipi: u32;
  ended: u32;
  /** Level of the 8259s' output when LINT0 last saw it. */
  lint0: u32;
  /** Nonzero: the processor is asked to take an interrupt from the 8259s. */
  extInt: u32;
  /** Nonzero: the processor has not been told of all that the page says: trigger modes in the TMR have changed. */
  levels: u32;

  // The timer: it had `left` divided counts to go at count `from` of the crystal clock; none when it stands still.
  from: u64;
  left: u64;
  /** Guest TSC, 0 when not armed. */
  tscDeadline: u64;
  /** Host TSC value at which the timer is due; ~0 for never. */
  due: u64;
  /** TSC ticks by which the host's timer is to come earlier: what its interrupt takes to be seen to (monitor/wiring.ts). */
  lead: u64;

  /**
   * Nonzero: the processor delivers interrupts from the page by itself (lapicvirtual.ts). IRR, ISR and PPR are its own then, and of what is
   * said of them above only `irrTop` counts: the highest request that it has not been told of.
   */
  virtual: u32;
  virtualPadding: u32;
}


@unmanaged
export class Lapic {
  get state(): LapicState {
    return changetype<LapicState>(changetype<usize>(this) + STATE);
  }

  get id(): u32 {
    return load<u32>(changetype<usize>(this), Reg.ID);
  }
  get tpr(): u32 {
    return load<u32>(changetype<usize>(this), Reg.TPR);
  }
  set tpr(value: u32) {
    store<u32>(changetype<usize>(this), value, Reg.TPR);
  }
  get ppr(): u32 {
    return load<u32>(changetype<usize>(this), Reg.PPR);
  }
  set ppr(value: u32) {
    store<u32>(changetype<usize>(this), value, Reg.PPR);
  }
  get ldr(): u32 {
    return load<u32>(changetype<usize>(this), Reg.LDR);
  }
  set ldr(value: u32) {
    store<u32>(changetype<usize>(this), value, Reg.LDR);
  }
  get dfr(): u32 {
    return load<u32>(changetype<usize>(this), Reg.DFR);
  }
  get svr(): u32 {
    return load<u32>(changetype<usize>(this), Reg.SVR);
  }
  get lvtTimer(): u32 {
    return load<u32>(changetype<usize>(this), Reg.LVT_TIMER);
  }
  get lvtLint0(): u32 {
    return load<u32>(changetype<usize>(this), Reg.LVT_LINT0);
  }

  get isEnabled(): bool {
    return (this.state.base & Base.ENABLE) != 0;
  }
  get isX2(): bool {
    return (this.state.base & Base.X2) != 0;
  }

  /** A register by its offset. */
  read(offset: u32): u32 {
    return load<u32>(changetype<usize>(this) + offset);
  }
  write(offset: u32, value: u32): void {
    store<u32>(changetype<usize>(this) + offset, value);
  }

  signal(what: u32): void {
    this.state.signals |= what;
  }
}

/** Offsets in the page of the state, and of the mailbox. */
const STATE: usize = 0x400;
export const MAILBOX: usize = 0x800;
