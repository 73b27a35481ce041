/**
 * How much stack a function may take at most, with all that it calls: from the machine code, for that has settled what
 * is inlined, where registers are pushed, and which calls are jumps. What is not known to end is refused.
 */
import type { Instruction, MachineCode } from "./machine-code.ts";

/** One function of a chain of calls, and the bytes of stack that it has when it calls the next. */
export interface Link {
  name: string;
  bytes: number;
}

export interface Bound {
  /** The return address of the caller is among them. */
  bytes: number;
  /** The calls that take most. */
  chain: Link[];
}

/** No bound can be told, and why. */
export class UnboundedError extends Error {}

interface Walk extends Bound {
  /** Whether it comes back to its caller on the same stack. */
  returns: boolean;
}

/** What is known when an instruction starts. */
interface State {
  depth: number;
  /** The depth that RBP points at, if it is a frame pointer. */
  frame: number | undefined;
}

const RETURN_ADDRESS = 8;
/** More than any stack has: the code pushes in a loop. */
const ENDLESS = 1 << 24;

/** Signed, of objdump's "+0x18", "-0x18", "0xfffffffffffffff0". */
function amount(text: string): number {
  const sign = text.startsWith("-") ? -1n : 1n;
  return Number(sign * BigInt.asIntN(64, BigInt(text.replace(/^[+-]/, ""))));
}

/** The state behind an instruction that neither jumps nor calls; undefined if it is on another stack from there on. */
function behind({ mnemonic, operands }: Instruction, state: State): State | undefined {
  const { depth, frame } = state;
  if (/^pushf?q?$/.test(mnemonic)) return { ...state, depth: depth + 8 };
  if (/^popf?q?$/.test(mnemonic) && operands !== "rsp") return { ...state, depth: depth - 8 };
  if (mnemonic === "leave" && frame !== undefined) return { ...state, depth: frame - 8 };
  if (mnemonic === "mov" && operands === "rbp,rsp") return { ...state, frame: depth };
  const changes = /^[er]?sp(,|$)/.test(operands) || /^(enter|leave)$/.test(mnemonic);
  if (!(changes || (mnemonic === "xchg" && /[er]sp$/.test(operands))) || /^(cmp|test)$/.test(mnemonic))
    return state;

  const value = /^rsp,(0x[0-9a-f]+)$/.exec(operands)?.[1];
  if (value !== undefined) {
    if (mnemonic === "sub") return { ...state, depth: depth + amount(value) };
    if (mnemonic === "add") return { ...state, depth: depth - amount(value) };
    // What the boundary may cost: the depth is a multiple of 8.
    if (mnemonic === "and" && amount(value) < 0) return { ...state, depth: depth - amount(value) - 8 };
  }
  const [, base, offset] = /^rsp,\[(rsp|rbp)([+-]0x[0-9a-f]+)?\]$/.exec(operands) ?? [];
  const from = base === "rbp" ? frame : depth;
  if (mnemonic === "lea" && base !== undefined && from !== undefined)
    return { ...state, depth: from - amount(offset ?? "0") };
  if (mnemonic === "mov" && operands === "rsp,rbp" && frame !== undefined) return { ...state, depth: frame };
  // A stack that the CPU's block or the linker knows.
  if (/^mov(abs)?$/.test(mnemonic) && /^rsp,(QWORD PTR gs:|0x)/.test(operands)) return undefined;
  throw new UnboundedError(`moves the stack pointer by what nobody can tell: ${mnemonic} ${operands}`);
}

export class StackBounds {
  private readonly known = new Map<number, Walk>();
  private readonly open: number[] = [];
  /** What each function that was come by takes without those that it calls, by name: what gcc calls its frame. */
  readonly frames = new Map<string, number>();

  constructor(private readonly code: MachineCode) {}

  /**
   * The most that a call of the function puts on the stack.
   * @throws UnboundedError with the chain of calls
   */
  of(entry: string | number): Bound {
    const { bytes, chain } = this.walk(typeof entry === "number" ? entry : this.code.symbol(entry));
    return { bytes, chain };
  }

  private refuse(reason: string): never {
    const names = this.open.map((address) => this.code.nameAt(address));
    throw new UnboundedError(`${names.join(" > ")}: ${reason}`);
  }

  private walk(entry: number): Walk {
    const known = this.known.get(entry);
    if (known) return known;
    if (this.open.includes(entry)) this.refuse(`calls ${this.code.nameAt(entry)} again`);
    this.open.push(entry);
    try {
      const found = this.follow(entry);
      this.known.set(entry, found);
      return found;
    } finally {
      this.open.pop();
    }
  }

  /** Follows every path from the entry, and jumps wherever they lead: a call in last place is one. */
  private follow(entry: number): Walk {
    const states = new Map<number, State>();
    const work: [number, State][] = [[entry, { depth: RETURN_ADDRESS, frame: undefined }]];
    const name = this.code.nameAt(entry);
    let best: Bound = { bytes: 0, chain: [] };
    let returns = false;
    const consider = (address: number, bytes: number, callee: Bound): void => {
      if (bytes + callee.bytes <= best.bytes) return;
      const here = this.code.nameAt(address);
      const chain = [{ name: here, bytes }, ...callee.chain];
      if (here !== name) chain.unshift({ name, bytes: 0 });
      best = { bytes: bytes + callee.bytes, chain };
    };
    for (let item = work.pop(); item; item = work.pop()) {
      const [address, state] = item;
      const before = states.get(address);
      if (before && before.depth >= state.depth) continue;
      states.set(address, state);
      const own = this.code.nameAt(address);
      this.frames.set(own, Math.max(this.frames.get(own) ?? 0, state.depth));
      if (state.depth > ENDLESS) this.refuse(`${own} pushes in a loop`);
      consider(address, state.depth, { bytes: 0, chain: [] });

      const instruction = this.code.at(address);
      const { mnemonic, operands, next } = instruction;
      const where = `${own} at 0x${address.toString(16)}`;
      const target = /^([0-9a-f]+) </.exec(operands);
      if (/^call/.test(mnemonic)) {
        if (!target) this.refuse(`${where} calls through a pointer: ${operands}`);
        const callee = this.walk(parseInt(target[1]!, 16));
        consider(address, state.depth, callee);
        if (callee.returns) work.push([next, state]);
      } else if (/^(repz )?ret$/.test(mnemonic)) {
        if (state.depth !== RETURN_ADDRESS) this.refuse(`${where} returns with ${state.depth} bytes`);
        returns = true;
      } else if (/^(iretq?|ud2|int3)$/.test(mnemonic)) {
        // Ends here.
      } else if (/^(notrack )?jmp$/.test(mnemonic)) {
        if (target) work.push([parseInt(target[1]!, 16), state]);
        else for (const place of this.targets(instruction)) work.push([place, state]);
      } else if (/^(j\w+|loop\w*)$/.test(mnemonic) && target) {
        work.push([parseInt(target[1]!, 16), state], [next, state]);
      } else {
        let after: State | undefined;
        try {
          after = behind(instruction, state);
        } catch (error) {
          this.refuse(`${where} ${(error as Error).message}`);
        }
        if (after) work.push([next, after]);
      }
    }
    return { ...best, returns };
  }

  /** Where a jump through a table leads. The table ends with what is no address of the function that jumps. */
  private targets({ address, operands }: Instruction): number[] {
    const name = this.code.nameAt(address);
    const table = /\[\w+\*8\+(0x[0-9a-f]+)\]$/.exec(operands);
    if (!table) this.refuse(`${name} at 0x${address.toString(16)} jumps through a pointer: ${operands}`);
    const found: number[] = [];
    for (let at = Number(table[1]); ; at += 8) {
      const place = this.code.constant(at);
      if (place === undefined || this.code.nameAt(place) !== name) return found;
      found.push(place);
    }
  }
}
