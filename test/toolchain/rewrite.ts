/**
 * Makes any module of the 1.0 specification one that wasm3-build accepts and every engine can run by itself, without touching the
 * shape of its code: floats become integers, instruction by instruction; mutable globals move to memory; imports become functions that
 * mix their arguments; every function is exported.
 */
import {
  bodies, codeSection, encode, moduleOf, Reader, s64, sections, text, u32, vector, type Body, type Instruction,
} from "./binary.ts"; // prettier-ignore
import { PARAMETERS } from "./script.ts";
import type { Bytes } from "./wasm.ts";

const I32 = 0x7f;
const I64 = 0x7e;
const PAGE = 65536;

const integer = (type: number): number => (type === 0x7d ? I32 : type === 0x7c ? I64 : type);

/** From an opcode on floats to one on integers, with operands and result as wide; several in a row from `first` on. */
const replacements = new Map<number, number>();
function replace(first: number, ...opcodes: number[]): void {
  opcodes.forEach((opcode, i) => replacements.set(first + i, opcode));
}
const NOP = 0x01;
replace(0x2a, 0x28, 0x29); // loads
replace(0x38, 0x36, 0x37); // stores
replace(0x5b, 0x46, 0x47, 0x49, 0x4a, 0x4d, 0x4e); // f32: eq ne lt gt le ge
replace(0x61, 0x51, 0x52, 0x54, 0x55, 0x58, 0x59); // f64
replace(0x8b, 0x67, 0x68, 0x69, 0xc0, 0xc1, 0x69, 0x67); // f32: abs neg ceil floor trunc nearest sqrt
replace(0x92, 0x6a, 0x6b, 0x6c, 0x77, 0x75, 0x73, 0x70); // f32: add sub mul div min max copysign
replace(0x99, 0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4, 0x7b); // f64
replace(0xa0, 0x7c, 0x7d, 0x7e, 0x89, 0x87, 0x85, 0x82);
replace(0xa8, 0xc1, 0x68, 0xa7, 0x50); // i32.trunc of f32, f64
replace(0xae, 0xac, 0xad, 0xc4, 0x7a); // i64.trunc
replace(0xb2, 0x69, 0xc0, 0xa7, 0xa7, 0xa7); // f32.convert of i32, i64; demote
replace(0xb7, 0xac, 0xad, 0xc3, 0x7b, 0xac); // f64.convert; promote
replace(0xbc, NOP, NOP, NOP, NOP); // reinterpret
replace(0x40, 0x69); // memory.grow

interface Type {
  parameters: number[];
  results: number[];
}

interface Global {
  type: number;
  mutable: boolean;
  initial: bigint;
}

/** A constant expression: a number, whatever its type, by its bits. */
function constant(reader: Reader): bigint {
  const opcode = reader.byte();
  let value: bigint;
  if (opcode === 0x41 || opcode === 0x42) {
    const bytes = reader.leb();
    const raw = bytes.reduce((sum, byte, i) => sum + (BigInt(byte & 0x7f) << BigInt(7 * i)), 0n);
    value = BigInt.asIntN(7 * bytes.length, raw);
  } else if (opcode === 0x43 || opcode === 0x44) {
    const bytes = reader.take(opcode === 0x43 ? 4 : 8);
    value = bytes.reduce((sum, byte, i) => sum + (BigInt(byte) << BigInt(8 * i)), 0n);
    value = BigInt.asIntN(8 * bytes.length, value);
  } else {
    throw new Error(`constant expression with opcode ${opcode}`);
  }
  if (reader.byte() !== 0x0b) throw new Error("constant expression of more than one instruction");
  return value;
}

const i32Const = (value: number): Instruction => ({ opcode: 0x41, immediates: s64(BigInt(value | 0)) });
const plain = (opcode: number): Instruction => ({ opcode, immediates: [] });
const indexed = (opcode: number, index: number): Instruction => ({ opcode, immediates: u32(index) });
const access = (opcode: number): Instruction => ({ opcode, immediates: [0, 0] });

export interface Options {
  /** Pages of memory at least; the module's own number if that is larger. One more is added. */
  pages?: number;
  /** How often loops go round and functions are entered before a trap. Without it the module limits itself. */
  limit?: number;
}

export function rewrite(wasm: Bytes, options: Options = {}): Bytes {
  const parts = new Map(sections(wasm).map(({ id, body }) => [id, body]));
  const section = (id: number): Reader => new Reader(parts.get(id) ?? Uint8Array.of(0));

  const types = (() => {
    const reader = section(1);
    return reader.list((): Type => {
      reader.byte(); // a function type
      const parameters = reader.list(() => integer(reader.byte()));
      return { parameters, results: reader.list(() => integer(reader.byte())) };
    });
  })();

  const imports = (() => {
    const reader = section(2);
    return reader.list(() => {
      const name = `${reader.name()}.${reader.name()}`;
      if (reader.byte() !== 0) throw new Error(`imports ${name}, which is no function`);
      return reader.u32();
    });
  })();
  const functions = (() => {
    const reader = section(3);
    return [...imports, ...reader.list(() => reader.u32())];
  })();

  const globals = (() => {
    const reader = section(6);
    return reader.list((): Global => {
      const type = integer(reader.byte());
      return { type, mutable: reader.byte() === 1, initial: constant(reader) };
    });
  })();

  const own = (() => {
    const reader = section(5);
    return reader.list(() => {
      const flags = reader.byte();
      const pages = reader.u32();
      if (flags & 1) reader.u32();
      return pages;
    })[0];
  })();
  const pages = options.pages ?? own ?? 0;
  /** Behind the module's own memory: what was a global, then two words of this rewriting. */
  const state = pages * PAGE;
  const counter = state + 8 * globals.length;
  const limit = counter + 8;

  const countDown: Instruction[] =
    options.limit === undefined
      ? []
      : [
          i32Const(limit), i32Const(limit), access(0x28), i32Const(1), plain(0x6b), access(0x36), // limit--
          i32Const(limit), access(0x28), plain(0x45), // == 0?
          { opcode: 0x04, immediates: [0x40] }, plain(0x00), plain(0x0b),
        ]; // prettier-ignore

  function rewriteInstruction(instruction: Instruction, scratch: number): Instruction[] {
    const { opcode, immediates } = instruction;
    if (opcode === 0x43 || opcode === 0x44) {
      const value = constant(new Reader(Uint8Array.from([opcode, ...immediates, 0x0b])));
      return [{ opcode: opcode - 2, immediates: s64(value) }];
    }
    if (opcode >= 0x02 && opcode <= 0x04) {
      const typed = { opcode, immediates: immediates.length === 1 ? [integer(immediates[0]!)] : immediates };
      return opcode === 0x03 ? [typed, ...countDown] : [typed];
    }
    if (opcode === 0x23 || opcode === 0x24) {
      const number = new Reader(Uint8Array.from(immediates)).u32();
      const { type, mutable } = globals[number]!;
      if (!mutable) return [instruction];
      const wide = type === I64 ? 1 : 0;
      const address = i32Const(state + 8 * number);
      if (opcode === 0x23) return [address, access(0x28 + wide)];
      return [indexed(0x21, scratch + wide), address, indexed(0x20, scratch + wide), access(0x36 + wide)];
    }
    const replacement = replacements.get(opcode);
    if (replacement === undefined) return [instruction];
    return [{ opcode: replacement, immediates: opcode === 0x40 ? [] : immediates }];
  }

  /** What an import becomes: its arguments and the number of the call, mixed. */
  function stub(type: Type): Body {
    const code = [
      i32Const(counter), i32Const(counter), access(0x29), { opcode: 0x42, immediates: [1] }, plain(0x7c), access(0x37),
      i32Const(counter), access(0x29),
    ]; // prettier-ignore
    type.parameters.forEach((parameter, i) => {
      code.push({ opcode: 0x42, immediates: s64(BigInt.asIntN(64, 0x9e3779b97f4a7c15n)) }, plain(0x7e));
      code.push(indexed(0x20, i), ...(parameter === I32 ? [plain(0xac)] : []), plain(0x85));
    });
    // Of 64 random bits some are often zero, as flags and small numbers want it.
    code.push({ opcode: 0x42, immediates: [11] }, plain(0x88));
    if (type.results[0] === undefined) code.push(plain(0x1a));
    else if (type.results[0] === I32) code.push(plain(0xa7));
    return { locals: [], code: [...code, plain(0x0b)] };
  }

  const code = bodies(parts.get(10) ?? Uint8Array.of(0)).map(({ locals, code }, i): Body => {
    const type = types[functions[imports.length + i]!]!;
    const scratch = type.parameters.length + locals.reduce((sum, { count }) => sum + count, 0);
    return {
      locals: [
        ...locals.map(({ count, type }) => ({ count, type: integer(type) })),
        { count: 1, type: I32 },
        { count: 1, type: I64 },
      ],
      code: [...countDown, ...code.flatMap((each) => rewriteInstruction(each, scratch))],
    };
  });

  const segments = (() => {
    const reader = section(11);
    return reader.list(() => {
      if (reader.u32() !== 0) throw new Error("a passive data segment");
      const offset = Number(constant(reader));
      const bytes = [...reader.take(reader.u32())];
      if (offset < 0 || offset + bytes.length > state) throw new Error("a data segment out of bounds");
      return { offset, bytes };
    });
  })();
  const word = (value: bigint) =>
    Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  globals.forEach(({ initial }, i) => segments.push({ offset: state + 8 * i, bytes: word(initial) }));
  segments.push({ offset: limit, bytes: word(BigInt(options.limit ?? 0)) });

  const exported = functions.flatMap((type, i) =>
    i >= imports.length && types[type]!.parameters.length <= PARAMETERS
      ? [[...text(`f${i}`), 0, ...u32(i)]]
      : [],
  );
  const tables = parts.get(4);
  const elements = parts.get(9);
  return moduleOf([
    {
      id: 1,
      body: vector(types.map(({ parameters, results }) => [0x60, ...vector(parameters.map((t) => [t])), ...vector(results.map((t) => [t]))])),
    },
    { id: 3, body: vector(functions.map((type) => u32(type))) },
    ...(tables ? [{ id: 4, body: tables }] : []),
    { id: 5, body: vector([[1, ...u32(pages + 1), ...u32(pages + 1)]]) },
    {
      id: 6,
      body: vector(
        globals.map(({ type, initial }) => [
          type,
          0,
          ...encode({ opcode: type === I32 ? 0x41 : 0x42, immediates: s64(initial) }),
          0x0b,
        ]),
      ),
    },
    { id: 7, body: vector([[...text("memory"), 2, 0], ...exported]) },
    ...(elements ? [{ id: 9, body: elements }] : []),
    { id: 10, body: codeSection([...imports.map((type) => stub(types[type]!)), ...code]) },
    { id: 11, body: vector(segments.map(({ offset, bytes }) => [0, ...encode(i32Const(offset)), 0x0b, ...u32(bytes.length), ...bytes])) },
  ]); // prettier-ignore
}
