/** Code of the kernel that ORC does not describe as GDB needs it, found by its names. */
import type { Address } from "./address.ts";
import type { KernelSymbol } from "./kallsyms.ts";
import { Base, Frame, type OrcEntry } from "./orc.ts";

/**
 * System calls leave a struct pt_regs too, but their caller is always a program. GDB shows such frames by name, where
 * an interrupt's is "<signal handler called>" to it.
 */
const entries = /^(entry_SYS|entry_INT80|asm_int80|ret_from_fork|syscall_return_via_sysret)/;

/**
 * Every indirect call is made through one of these, which jumps on. The kernel never stops in them and has no frame
 * for them; who steps does, and without a frame could not step over a call.
 */
const thunks = /^__x86_indirect_(\w+_)?thunk_/;

/** As at the start of every function. */
const called = { frame: Frame.Call, spBase: Base.Sp, spOffset: 8, bpBase: Base.Undefined, bpOffset: 0 };

export class SpecialCode {
  private readonly code: KernelSymbol[];

  /** `symbols` are by address. */
  constructor(symbols: KernelSymbol[]) {
    this.code = symbols.filter(({ type, address }) => /[tw]/i.test(type) && address < 0);
  }

  isEntry(address: Address): boolean {
    return this.names(address).some((name) => entries.test(name));
  }

  /** The entries, with frames for thunks. */
  corrected(orc: OrcEntry[]): OrcEntry[] {
    const isThunk = new Set(this.code.filter(({ name }) => thunks.test(name)).map(({ address }) => address));
    const missing = [...isThunk].sort((a, b) => a - b);
    const result: OrcEntry[] = [];
    orc.forEach((entry, i) => {
      const end = orc[i + 1]?.address ?? Infinity;
      while (missing.length > 0 && missing[0]! < entry.address) missing.shift();
      const known = entry.frame > Frame.Outermost;
      result.push(!known && isThunk.has(entry.address) ? { ...called, address: entry.address } : entry);
      // One entry that knows nothing may hold for several of them.
      for (; missing[0] !== undefined && missing[0] < end; missing.shift()) {
        if (!known && missing[0] > entry.address) result.push({ ...called, address: missing[0] });
      }
    });
    return result;
  }

  /** The names of the function that the address is in. */
  private names(address: Address): string[] {
    let low = 0;
    let high = this.code.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.code[middle]!.address > address) high = middle;
      else low = middle + 1;
    }
    const start = this.code[low - 1]?.address;
    const names: string[] = [];
    for (let i = low - 1; i >= 0 && this.code[i]!.address === start; i--) names.push(this.code[i]!.name);
    return names;
  }
}
