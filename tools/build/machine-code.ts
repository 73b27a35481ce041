/** The machine code of a linked program: its instructions as objdump reads them, its functions, its constants. */
import { readFileSync } from "node:fs";
import { parseFunctions, type Named } from "./lines.ts";
import { command } from "./step.ts";

export interface Instruction {
  address: number;
  /** In Intel's notation, for example "sub" and "rsp,0x18". */
  mnemonic: string;
  operands: string;
  /** Address of the instruction behind. */
  next: number;
}

/** Lines of `objdump -d -M intel --no-show-raw-insn`. */
export function parseInstructions(text: string): Map<number, Instruction> {
  const found = new Map<number, Instruction>();
  let last: Instruction | undefined;
  for (const [, address, mnemonic, operands] of text.matchAll(
    /^ *([0-9a-f]+):\t((?:(?:rep\w*|lock|notrack|bnd|cs|ds|data16) +)*\S+) *(.*?)\s*$/gm,
  )) {
    const instruction = {
      address: parseInt(address!, 16),
      mnemonic: mnemonic!,
      operands: operands!,
      next: 0,
    };
    if (last) last.next = instruction.address;
    found.set(instruction.address, instruction);
    last = instruction;
  }
  return found;
}

export class MachineCode {
  private constructor(
    private readonly instructions: Map<number, Instruction>,
    private readonly functions: Named[],
    private readonly symbols: Map<string, number>,
    /** Functions that other files may call, sorted by name. */
    readonly globals: string[],
    private readonly elf: Buffer,
  ) {}

  static async read(file: string, cwd: string): Promise<MachineCode> {
    const [text, symbols] = await Promise.all([
      command("objdump", ["-d", "-M", "intel", "--no-show-raw-insn", file], cwd),
      command("nm", [file], cwd),
    ]);
    const all = Array.from(
      symbols.matchAll(/^([0-9a-f]+) \S (\S+)$/gm),
      ([, address, name]) => [name!, parseInt(address!, 16)] as const,
    );
    return new MachineCode(
      parseInstructions(text),
      parseFunctions(symbols),
      new Map(all),
      Array.from(symbols.matchAll(/ T (\S+)$/gm), ([, name]) => name!).sort(),
      readFileSync(file),
    );
  }

  at(address: number): Instruction {
    const found = this.instructions.get(address);
    if (!found) throw new Error(`no instruction at 0x${address.toString(16)}`);
    return found;
  }

  /** Address of a symbol. */
  symbol(name: string): number {
    const found = this.symbols.get(name);
    if (found === undefined) throw new Error(`no symbol ${name}`);
    return found;
  }

  /** The function around an address. Parts that gcc has moved away as seldom used belong to their function. */
  nameAt(address: number): string {
    let low = 0;
    let high = this.functions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.functions[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    return (this.functions[low - 1]?.name ?? `0x${address.toString(16)}`).replace(/\.cold(\.\d+)?$/, "");
  }

  /** The 64-bit constant at an address, from the file's program headers (ELF-64 Object File Format, table 13). */
  constant(address: number): number | undefined {
    const [table, entry, count] = [
      Number(this.elf.readBigUInt64LE(32)),
      this.elf.readUInt16LE(54),
      this.elf.readUInt16LE(56),
    ];
    for (let i = 0; i < count; i++) {
      const header = table + i * entry;
      const [offset, virtual, size] = [8, 16, 32].map((at) => Number(this.elf.readBigUInt64LE(header + at)));
      const within = address - virtual!;
      if (this.elf.readUInt32LE(header) === 1 && within >= 0 && within + 8 <= size!)
        return Number(this.elf.readBigUInt64LE(offset! + within));
    }
    return undefined;
  }
}
