/** Random instructions with an operand in memory, and random state to execute them from. */
import { DATA, WINDOW, WINDOW_OFFSET } from "./native.ts";

const MASK64 = (1n << 64n) - 1n;
export const CF = 1n;
export const PF = 4n;
export const AF = 0x10n;
export const ZF = 0x40n;
export const SF = 0x80n;
export const DF = 0x400n;
export const OF = 0x800n;
export const STATUS = CF | PF | AF | ZF | SF | OF;

/** xorshift: the same numbers in every run. */
export class Random {
  constructor(private state: number) {}
  below(n: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % n;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
  /** A number of 64 bits, often one at an edge. */
  value(): bigint {
    const bits = BigInt(this.pick([7, 8, 15, 16, 31, 32, 63, 64]));
    const edge = (1n << bits) + BigInt(this.below(3) - 1);
    const random = (BigInt(this.below(2 ** 32)) << 32n) | BigInt(this.below(2 ** 32));
    return (this.below(3) === 0 ? random : this.below(2) ? edge : BigInt(this.below(3)) - 1n) & MASK64;
  }
}

export interface RandomCase {
  text: string;
  registers: bigint[];
  flags: bigint;
  memory: Uint8Array;
  /** Status flags that the manual leaves undefined after this instruction. */
  undefinedFlags: bigint;
}

const NAMES: Record<number, string[]> = {
  1: [
    "al",
    "cl",
    "dl",
    "bl",
    "spl",
    "bpl",
    "sil",
    "dil",
    "r8b",
    "r9b",
    "r10b",
    "r11b",
    "r12b",
    "r13b",
    "r14b",
    "r15b",
  ],
  2: [
    "ax",
    "cx",
    "dx",
    "bx",
    "sp",
    "bp",
    "si",
    "di",
    "r8w",
    "r9w",
    "r10w",
    "r11w",
    "r12w",
    "r13w",
    "r14w",
    "r15w",
  ],
  4: [
    "eax",
    "ecx",
    "edx",
    "ebx",
    "esp",
    "ebp",
    "esi",
    "edi",
    "r8d",
    "r9d",
    "r10d",
    "r11d",
    "r12d",
    "r13d",
    "r14d",
    "r15d",
  ],
  8: [
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
  ],
};
const HIGH = ["ah", "ch", "dh", "bh"];
const WIDTH: Record<number, string> = { 1: "byte", 2: "word", 4: "dword", 8: "qword" };
const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];
const LOGIC = ["and", "or", "xor", "test"];
const RSP = 4;

class Maker {
  readonly registers: bigint[];
  flags: bigint;
  undefinedFlags = 0n;
  /** Where the operand is. */
  readonly target: bigint;
  private readonly count: number;
  /** Whether the instruction so far rules out AH, CH, DH and BH. */
  private rex = false;

  constructor(
    readonly random: Random,
    readonly bits: 32 | 64,
  ) {
    this.count = bits === 64 ? 16 : 8;
    this.registers = Array.from({ length: 16 }, (_, n) => (n < this.count ? this.fit(random.value()) : 0n));
    this.registers[RSP] = DATA + BigInt(WINDOW_OFFSET + 128 + random.below(200));
    this.flags = BigInt(random.below(2 ** 32)) & (STATUS | DF);
    this.target = DATA + BigInt(WINDOW_OFFSET + 96 + random.below(WINDOW - 192));
  }

  fit(value: bigint): bigint {
    return BigInt.asUintN(this.bits, value);
  }

  size(...from: number[]): number {
    return this.random.pick(from.filter((s) => s * 8 <= this.bits));
  }

  /** A memory operand that leads to the target, and the registers for it. */
  memory(): string {
    const { random, registers, bits } = this;
    const pointer = random.below(4) === 0 && bits === 64 ? 4 : bits / 8;
    const names = NAMES[pointer]!;
    const any = () => random.below(this.count);
    const note = (n: number) => (this.rex ||= n >= 8);
    if (random.below(12) === 0) {
      this.rex = true; // NASM may choose RIP-relative or absolute addressing: neither needs one, but AH is rare
      return bits === 64 ? `abs dword 0x${this.target.toString(16)}` : `0x${this.target.toString(16)}`;
    }
    let base = any();
    while (base === RSP) base = any();
    note(base);
    const displacement = random.pick([0n, 0n, 8n, -128n, 127n, 0x1234n, -0x10000n]);
    let address = this.target - displacement;
    let text = names[base]!;
    if (random.below(2)) {
      let index = any();
      while (index === RSP || index === base) index = any();
      note(index);
      const scale = random.pick([1n, 2n, 4n, 8n]);
      registers[index] = this.fit(BigInt(random.below(64)) - (pointer === 4 ? 0n : 32n));
      address -= BigInt.asIntN(this.bits, registers[index]!) * scale;
      text += `+${names[index]}*${scale}`;
    }
    registers[base] = this.fit(address);
    if (pointer === 4 && bits === 64)
      registers[base] = (registers[base]! & 0xffffffffn) | ((random.value() << 32n) & MASK64);
    return displacement
      ? `${text}${displacement < 0n ? "-" : "+"}${displacement < 0n ? -displacement : displacement}`
      : text;
  }

  /** A register's name. Which have been used for the address may be changed: it is read before. */
  register(size: number): string {
    const n = this.random.below(this.count);
    if (size === 1 && (this.bits === 32 || (!this.rex && this.random.below(3) === 0))) {
      return this.random.pick(this.bits === 32 ? [...HIGH, "al", "cl", "dl", "bl"] : HIGH);
    }
    return NAMES[size]![n]!;
  }

  immediate(size: number): string {
    const value = BigInt.asIntN(Math.min(size * 8, 32), this.random.value());
    return this.random.below(2) ? `${BigInt.asIntN(8, value)}` : `${value}`;
  }
}

type Make = (m: Maker, random: Random) => string;

const lock = (random: Random) => (random.below(4) === 0 ? "lock " : "");

const MAKERS: Make[] = [
  // ADD to CMP and TEST, in every direction
  (m, random) => {
    const op = random.pick(["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "test"]);
    if (LOGIC.includes(op)) m.undefinedFlags = AF;
    const size = m.size(1, 2, 4, 8);
    const memory = m.memory();
    const kind = random.below(3);
    const locked = kind > 0 && op !== "cmp" && op !== "test" ? lock(random) : "";
    if (kind === 0 && op !== "test") return `${op} ${m.register(size)}, [${memory}]`;
    if (kind < 2) return `${locked}${op} [${memory}], ${m.register(size)}`;
    return `${locked}${op} ${WIDTH[size]} [${memory}], ${m.immediate(size)}`;
  },
  (m, random) => {
    const size = m.size(1, 2, 4, 8);
    const memory = m.memory();
    const kind = random.below(3);
    if (kind === 0) return `mov ${m.register(size)}, [${memory}]`;
    if (kind === 1) return `mov [${memory}], ${m.register(size)}`;
    return `mov ${WIDTH[size]} [${memory}], ${m.immediate(size)}`;
  },
  // Opcodes A0 to A3
  (m, random) => {
    const accumulator = NAMES[m.size(1, 2, 4, 8)]![0];
    const at = m.bits === 64 ? `qword 0x${m.target.toString(16)}` : `0x${m.target.toString(16)}`;
    return random.below(2) ? `mov ${accumulator}, [${at}]` : `mov [${at}], ${accumulator}`;
  },
  (m, random) => {
    const memory = m.memory();
    const op = random.pick(["movzx", "movsx"]);
    const to = m.size(2, 4, 8);
    if (m.bits === 64 && random.below(4) === 0) return `movsxd ${m.register(8)}, dword [${memory}]`;
    const from = to === 2 ? 1 : random.pick([1, 2]);
    return `${op} ${m.register(to)}, ${WIDTH[from]} [${memory}]`;
  },
  (m, random) =>
    `${lock(random)}${random.pick(["not", "neg", "inc", "dec"])} ${WIDTH[m.size(1, 2, 4, 8)]} [${m.memory()}]`,
  (m, random) => {
    const op = random.pick(["xchg", "xadd", "cmpxchg"]);
    const size = m.size(1, 2, 4, 8);
    const memory = m.memory();
    return `${lock(random)}${op} [${memory}], ${m.register(size)}`;
  },
  (m, random) =>
    `${lock(random)}${m.bits === 64 && random.below(2) ? "cmpxchg16b" : "cmpxchg8b"} [${m.memory()}]`,
  // A bit's number may reach out of the operand, in either direction
  (m, random) => {
    const op = random.pick(["bt", "bts", "btr", "btc"]);
    m.undefinedFlags = OF | SF | AF | PF;
    const size = m.size(2, 4, 8);
    const memory = m.memory();
    const locked = op === "bt" ? "" : lock(random);
    if (random.below(2)) return `${locked}${op} ${WIDTH[size]} [${memory}], ${random.below(128)}`;
    const text = `${locked}${op} [${memory}], `;
    const free = NAMES[size]!.findIndex(
      (_, n) => n !== RSP && n < (m.bits === 64 ? 16 : 8) && !mentions(memory, n),
    );
    m.registers[free] = m.fit(BigInt(random.below(1024) - 512));
    return text + NAMES[size]![free];
  },
  (m, random) => `set${random.pick(CONDITIONS)} [${m.memory()}]`,
  (m, random) => {
    const size = m.size(2, 4, 8);
    const memory = m.memory();
    return `cmov${random.pick(CONDITIONS)} ${m.register(size)}, [${memory}]`;
  },
  (m, random) => {
    m.undefinedFlags = SF | ZF | AF | PF;
    const size = m.size(2, 4, 8);
    const memory = m.memory();
    const kind = random.below(2);
    return `imul ${m.register(size)}, [${memory}]${kind ? `, ${m.immediate(size)}` : ""}`;
  },
  (m, random) => {
    const size = m.size(2, 4, 8);
    const memory = m.memory();
    return random.below(2)
      ? `movbe ${m.register(size)}, [${memory}]`
      : `movbe [${memory}], ${m.register(size)}`;
  },
  (m) => {
    const size = m.size(4, 8);
    const memory = m.memory();
    return `movnti [${memory}], ${m.register(size)}`;
  },
  (m, random) => {
    const size = random.pick([2, m.bits / 8]);
    const op = random.pick(["push", "pop"]);
    if (random.below(3) === 0) return `${op} ${NAMES[size]![random.below(m.bits === 64 ? 16 : 8)]}`;
    if (random.below(3) === 0) return `push ${m.immediate(1)}`;
    if (random.below(4) === 0)
      return `${op} ${WIDTH[size]} [${m.bits === 64 ? "rsp" : "esp"}+${random.below(32)}]`;
    return `${op} ${WIDTH[size]} [${m.memory()}]`;
  },
  (m, random) => {
    const op = random.pick(["movs", "cmps", "stos", "lods", "scas"]);
    const size = m.size(1, 2, 4, 8);
    const prefix = random.pick(["", "rep", "repne"]);
    const address = m.bits === 64 && random.below(3) === 0 ? "a32 " : "";
    const count = random.below(8);
    // Whether a count of no elements in ECX clears the upper half of RCX depends on the CPU's model.
    const upper = (random.value() << 32n) & MASK64;
    m.registers[1] = address && count > 0 ? BigInt(count) | upper : BigInt(count);
    m.registers[6] = m.target;
    m.registers[7] = DATA + BigInt(WINDOW_OFFSET + 96 + random.below(WINDOW - 192));
    if (random.below(2)) m.registers[0] = 0n;
    return `${address}${prefix} ${op}${"bwdq"[Math.log2(size)]}`;
  },
  (m) => `nop dword [${m.memory()}]`,
  (m) => `mov word [${m.memory()}], 0x1234`,
];

function mentions(memory: string, n: number): boolean {
  const names = [2, 4, 8].map((size) => NAMES[size]![n]!);
  return memory.split(/[^a-z0-9]/).some((word) => names.includes(word));
}

export function randomCase(random: Random, bits: 32 | 64): RandomCase {
  const m = new Maker(random, bits);
  const text = random.pick(MAKERS)(m, random);
  const memory = new Uint8Array(WINDOW);
  // Long runs of equal bytes, so that comparisons go on for a while and CMPXCHG finds what it expects
  const filler = random.pick([0, 0, 0xff, -1]);
  for (let i = 0; i < WINDOW; i++)
    memory[i] = filler < 0 || random.below(8) === 0 ? random.below(256) : filler;
  if (text.includes("cmpxchg") && random.below(2)) {
    for (let i = 0; i < 8; i++)
      memory[Number(m.target - DATA) - WINDOW_OFFSET + i] = Number(
        (m.registers[0]! >> BigInt(8 * i)) & 0xffn,
      );
  }
  return { text, registers: m.registers, flags: m.flags, memory, undefinedFlags: m.undefinedFlags };
}
