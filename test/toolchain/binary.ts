/** WebAssembly's binary format, as far as the tests take modules apart and put them together again. */
import type { Bytes } from "./wasm.ts";

export class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    public at = 0,
    public end = bytes.length,
  ) {}

  get more(): boolean {
    return this.at < this.end;
  }

  byte(): number {
    if (!this.more) throw new Error("read past the end");
    return this.bytes[this.at++]!;
  }

  u32(): number {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** The bytes of a LEB128 number. */
  leb(): number[] {
    const start = this.at;
    while (this.byte() >= 0x80);
    return [...this.bytes.subarray(start, this.at)];
  }

  take(count: number): Uint8Array {
    if (this.at + count > this.end) throw new Error("read past the end");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  list<T>(item: () => T): T[] {
    return Array.from({ length: this.u32() }, item);
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.u32()));
  }
}

export function u32(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return [...bytes, value];
}

/** A signed LEB128 number. */
export function s64(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest >> 6n === 0n || rest >> 6n === -1n) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

export function vector(items: readonly (readonly number[])[]): number[] {
  return [...u32(items.length), ...items.flat()];
}

export function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...u32(bytes.length), ...bytes];
}

export interface Section {
  id: number;
  body: Uint8Array;
}

export function sections(wasm: Bytes): Section[] {
  const reader = new Reader(wasm, 8);
  const found: Section[] = [];
  while (reader.more) {
    const id = reader.byte();
    found.push({ id, body: reader.take(reader.u32()) });
  }
  return found;
}

export function moduleOf(parts: readonly { id: number; body: ArrayLike<number> }[]): Bytes {
  const bytes: number[] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  for (const { id, body } of parts) bytes.push(id, ...u32(body.length), ...Array.from(body));
  return Uint8Array.from(bytes);
}

/** An instruction: its opcode (0xfcNN for those of two bytes) and the bytes of its immediates. */
export interface Instruction {
  opcode: number;
  immediates: number[];
}

/** How many LEB128 numbers follow an opcode; br_table and float constants apart. WebAssembly Core Specification 2.0, 5.4. */
function lebs(opcode: number): number {
  if (opcode === 0x11 || (opcode >= 0x28 && opcode <= 0x3e) || opcode === 0xfc0a) return 2;
  if (opcode >= 0x02 && opcode <= 0x04) return 1;
  if ([0x0c, 0x0d, 0x10, 0xfc0b].includes(opcode)) return 1;
  if ((opcode >= 0x20 && opcode <= 0x24) || (opcode >= 0x3f && opcode <= 0x42)) return 1;
  return 0;
}

/** The instructions of an expression, up to the reader's end. */
export function instructions(reader: Reader): Instruction[] {
  const found: Instruction[] = [];
  while (reader.more) {
    let opcode = reader.byte();
    if (opcode === 0xfc) opcode = 0xfc00 + reader.u32();
    const immediates: number[] = [];
    if (opcode === 0x0e) {
      const targets = reader.list(() => reader.leb());
      immediates.push(...vector(targets), ...reader.leb());
    } else if (opcode === 0x43 || opcode === 0x44) {
      immediates.push(...reader.take(opcode === 0x43 ? 4 : 8));
    } else {
      for (let count = lebs(opcode); count; count--) immediates.push(...reader.leb());
    }
    found.push({ opcode, immediates });
  }
  return found;
}

export interface Body {
  locals: { count: number; type: number }[];
  code: Instruction[];
}

/** The functions of a code section. */
export function bodies(code: Uint8Array): Body[] {
  const reader = new Reader(code);
  return reader.list(() => {
    const size = reader.u32();
    const body = new Reader(code, reader.at, reader.at + size);
    reader.take(size);
    const locals = body.list(() => ({ count: body.u32(), type: body.byte() }));
    return { locals, code: instructions(body) };
  });
}

export function encode({ opcode, immediates }: Instruction): number[] {
  return [...(opcode > 0xff ? [0xfc, ...u32(opcode - 0xfc00)] : [opcode]), ...immediates];
}

export function codeSection(functions: readonly Body[]): number[] {
  return vector(
    functions.map(({ locals, code }) => {
      const body = [
        ...vector(locals.map(({ count, type }) => [...u32(count), type])),
        ...code.flatMap((instruction) => encode(instruction)),
      ];
      return [...u32(body.length), ...body];
    }),
  );
}

/** Every opcode that a module's functions have. */
export function opcodesOf(wasm: Bytes): Set<number> {
  const code = sections(wasm).find(({ id }) => id === 10);
  return new Set(code ? bodies(code.body).flatMap((body) => body.code.map(({ opcode }) => opcode)) : []);
}
