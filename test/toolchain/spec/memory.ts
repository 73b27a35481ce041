/**
 * Memory instructions against a model of it: WebAssembly Core Specification 2.0, 4.4.7 "Memory Instructions". An access of N bits at
 * effective address ea = i + offset, a sum of integers that does not wrap, traps if ea + N / 8 is larger than the memory.
 */
import { Status } from "../script.ts";
import { edges64 } from "../values.ts";
import { signed, unsigned, type Outcome } from "./definitions.ts";
import { Suite } from "./suite.ts";

const PAGE = 65536;
const trap: Outcome = { trap: Status.OutOfBounds };

/** Instruction, width of its value, bits in memory, whether a load extends the sign. */
const loads: [string, 32 | 64, number, boolean][] = [
  ["i32.load", 32, 32, false],
  ["i32.load8_s", 32, 8, true],
  ["i32.load8_u", 32, 8, false],
  ["i32.load16_s", 32, 16, true],
  ["i32.load16_u", 32, 16, false],
  ["i64.load", 64, 64, false],
  ["i64.load8_s", 64, 8, true],
  ["i64.load8_u", 64, 8, false],
  ["i64.load16_s", 64, 16, true],
  ["i64.load16_u", 64, 16, false],
  ["i64.load32_s", 64, 32, true],
  ["i64.load32_u", 64, 32, false],
];
const stores: [string, 32 | 64, number][] = [
  ["i32.store", 32, 32],
  ["i32.store8", 32, 8],
  ["i32.store16", 32, 16],
  ["i64.store", 64, 64],
  ["i64.store8", 64, 8],
  ["i64.store16", 64, 16],
  ["i64.store32", 64, 32],
];

const offsets = [0, 1, 6, 0xfff8, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];

/** At the end of a page of memory for each width, and where a sum with an offset passes 4 GiB. */
const addresses = [
  0, 3, 7, 0x1234, 0xfff7, 0xfff8, 0xfff9, 0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x7fffffff,
  0x80000000, 0x80000001, 0xfffffff7, 0xfffffff8, 0xffffffff,
];

/** The bytes that `initial` puts everywhere. */
const byteAt = (address: number): number => (address * 151 + (address >> 8) * 7 + 13) & 0xff;

const image = Uint8Array.from({ length: PAGE }, (_, i) => byteAt(i));

class Model {
  private readonly bytes = image.slice();

  private inside(address: number, bits: number): boolean {
    return address + bits / 8 <= PAGE;
  }

  load(address: number, bits: number, sign: boolean, width: number): Outcome {
    if (!this.inside(address, bits)) return trap;
    let value = 0n; // littleendian: the byte at the lowest address is the lowest
    for (let i = bits / 8; i; i--) value = value * 256n + BigInt(this.bytes[address + i - 1]!);
    return sign ? unsigned(width, signed(bits, value)) : value;
  }

  /** False if it traps. */
  store(address: number, bits: number, value: bigint): boolean {
    if (!this.inside(address, bits)) return false;
    for (let i = 0; i < bits / 8; i++) this.bytes[address + i] = Number((value / 256n ** BigInt(i)) % 256n);
    return true;
  }
}

const initial = (): string => {
  const bytes = Array.from(image, (byte) => `\\${byte.toString(16).padStart(2, "0")}`);
  return `(data (i32.const 0) "${bytes.join("")}")`;
};

const slot = (_: number, local: number): string => `local.get ${local}`;
const register = (width: number, local: number): string =>
  `local.get ${local} i${width}.const 0 i${width}.or`;

export function loading(): Suite {
  const functions: string[] = [];
  const cases: [string, number[], Outcome][] = [];
  const model = new Model();
  for (const [instruction, width, bits, sign] of loads)
    for (const offset of offsets)
      for (const operand of [slot, register]) {
        const name = `f${functions.length}`;
        functions.push(
          `(func (export "${name}") (param i32) (result i${width}) ${operand(32, 0)} ${instruction} offset=${offset})`,
        );
        for (const address of addresses)
          cases.push([name, [address], model.load(address + offset, bits, sign, width)]);
      }
  const suite = new Suite(
    "loads",
    `(module (memory (export "memory") 1 1) ${initial()} ${functions.join("\n")})`,
  );
  for (const each of cases) suite.expect(...each);
  return suite;
}

export function storing(): Suite {
  const functions: string[] = ['(func (export "peek") (param i32) (result i64) local.get 0 i64.load)'];
  const cases: ([string, (number | bigint)[], Outcome] | undefined)[] = [];
  for (const [instruction, width, bits] of stores)
    for (const offset of offsets)
      for (const [first, second] of [
        [slot, slot],
        [slot, register],
        [register, slot],
      ] as const) {
        const name = `f${functions.length}`;
        functions.push(
          `(func (export "${name}") (param i32 i${width}) ${first(32, 0)} ${second(width, 1)} ${instruction} offset=${offset})`,
        );
        addresses.forEach((address, i) => {
          const model = new Model();
          const value = BigInt.asUintN(width, edges64[(i * 7 + 3) % edges64.length]! ^ 0xa55a_1234n);
          const at = address + offset;
          if (!model.store(at, bits, value)) {
            cases.push([name, [address, value], trap]); // the runner starts afresh after a trap
            return;
          }
          cases.push([name, [address, value], 0n]);
          for (const near of [at - 8, at - 1, at, at + 8])
            if (near >= 0 && near + 8 <= PAGE) cases.push(["peek", [near], model.load(near, 64, false, 64)]);
          cases.push(undefined);
        });
      }
  const suite = new Suite(
    "stores",
    `(module (memory (export "memory") 1 1) ${initial()} ${functions.join("\n")})`,
  );
  for (const each of cases) {
    if (each) suite.expect(...each);
    else suite.reset();
  }
  return suite;
}

/** What a C compiler would rather not do: an access traps though nobody needs what it reads, all of it, or what it writes. */
export function trapping(): Suite {
  const suite = new Suite(
    "trapping",
    `(module
      (import "host" "note" (func $note (param i32)))
      (import "host" "noted" (func $noted (result i32)))
      (memory (export "memory") 2 2)
      (func (export "dropped") (param i32) local.get 0 i32.load drop)
      (func (export "droppedByte") (param i32) local.get 0 i32.load8_u offset=0xffffffff drop)
      (func (export "masked") (param i32) (result i32) local.get 0 i32.load i32.const 0xff i32.and)
      (func (export "wrapped") (param i32) (result i32) local.get 0 i64.load i32.wrap_i64)
      (func (export "lowByte") (param i32) (result i64) local.get 0 i64.load i64.extend8_s)
      (func (export "highHalf") (param i32) (result i64) local.get 0 i64.load i64.const 32 i64.shr_u)
      (func (export "timesZero") (param i32) (result i32) local.get 0 i32.load i32.const 0 i32.mul)
      (func (export "unusedLocal") (param i32) (result i32) (local i64)
        local.get 0 i64.load local.set 1 i32.const 7)
      (func (export "beforeUnreachable") (param i32) local.get 0 i32.load drop unreachable)
      (func (export "storeBeforeUnreachable") (param i32) local.get 0 i32.const 1 i32.store unreachable)
      (func (export "beforeDivision") (param i32 i32) (result i32)
        local.get 0 i32.load i32.const 100 local.get 1 i32.div_u i32.add)
      (func (export "afterDivision") (param i32 i32) (result i32)
        i32.const 100 local.get 1 i32.div_u local.get 0 i32.load i32.add)
      (func (export "storeAfterDivision") (param i32 i32)
        i32.const 0 i32.const 1 local.get 1 i32.div_u i32.store local.get 0 i32.const 1 i32.store)
      (func (export "overwritten") (param i32)
        local.get 0 i64.const 1 i64.store local.get 0 i32.const 2 i32.store)
      (func (export "storedBack") (param i32) local.get 0 local.get 0 i32.load i32.store)
      (func (export "unneededInLoop") (param i32) (result i32) (local i32)
        loop
          local.get 0 local.get 1 i32.add i32.load drop
          local.get 1 i32.const 4 i32.add local.tee 1 i32.const 4096 i32.lt_u br_if 0
        end
        local.get 1)
      (func (export "chosen") (param i32 i32) (result i32)
        local.get 0 i32.load i32.const 3 local.get 1 select)
      (func (export "notChosen") (param i32 i32) (result i32)
        local.get 1 if (result i32) local.get 0 i32.load else i32.const 3 end)
      (func (export "noteThenLoad") (param i32) i32.const 1 call $note local.get 0 i32.load drop)
      (func (export "noted") (result i32) call $noted)
      (func (export "twice") (param i32) (result i32)
        local.get 0 i32.load local.get 0 i32.load i32.sub)
      (func (export "size") (result i32) memory.size))`,
  );
  const end = 2 * PAGE;
  suite.expect("size", [], 2);
  for (const callee of ["dropped", "masked", "timesZero", "storedBack", "twice", "noteThenLoad"]) {
    suite.expect(callee, [end - 4], 0);
    for (const address of [end - 3, end - 1, end, 0x7fffffff, 0xffffffff, 0xfffffffc])
      suite.traps(callee, [address], Status.OutOfBounds);
  }
  for (const callee of ["wrapped", "lowByte", "highHalf", "overwritten"]) {
    suite.expect(callee, [end - 8], 0);
    for (const address of [end - 7, end - 4, end - 1, end, 0xfffffff9])
      suite.traps(callee, [address], Status.OutOfBounds);
  }
  suite.expect("unusedLocal", [end - 8], 7).traps("unusedLocal", [end - 7], Status.OutOfBounds);
  for (const address of [0, 1, 2, end, 0xffffffff]) suite.traps("droppedByte", [address], Status.OutOfBounds);
  for (const callee of ["beforeUnreachable", "storeBeforeUnreachable"])
    suite
      .traps(callee, [0], Status.Unreachable)
      .traps(callee, [end], Status.OutOfBounds)
      .traps(callee, [end - 3], Status.OutOfBounds);
  suite
    .expect("beforeDivision", [8, 5], 20)
    .traps("beforeDivision", [8, 0], Status.DivideByZero)
    .traps("beforeDivision", [end, 5], Status.OutOfBounds)
    .traps("beforeDivision", [end, 0], Status.OutOfBounds)
    .expect("afterDivision", [8, 5], 20)
    .traps("afterDivision", [end, 0], Status.DivideByZero)
    .traps("afterDivision", [end, 1], Status.OutOfBounds)
    .traps("storeAfterDivision", [end, 0], Status.DivideByZero)
    .traps("storeAfterDivision", [end, 1], Status.OutOfBounds)
    .expect("storeAfterDivision", [16, 1], 0)
    .expect("unneededInLoop", [0], 4096)
    .traps("unneededInLoop", [end - 2048], Status.OutOfBounds)
    .traps("unneededInLoop", [0xfffffffe], Status.OutOfBounds)
    .expect("chosen", [4, 0], 3)
    .traps("chosen", [end, 0], Status.OutOfBounds)
    .expect("notChosen", [end, 0], 3)
    .traps("notChosen", [end, 1], Status.OutOfBounds)
    .reset()
    .expect("noteThenLoad", [0], 0)
    .expect("noted", [], 1);
  return suite;
}

/** memory.fill and memory.copy: their whole ranges are checked first; copies are as if through a buffer. */
export function bulk(): Suite {
  const suite = new Suite(
    "bulkmemory",
    `(module (memory (export "memory") 1 1) ${initial()}
      (func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
      (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
      (func (export "fillConstants") i32.const 10 i32.const 0x1aa i32.const 5 memory.fill)
      (func (export "copyFromRegister") (param i32 i32 i32)
        local.get 0 local.get 1 local.get 2 i32.const 0 i32.or memory.copy)
      (func (export "byte") (param i32) (result i32) local.get 0 i32.load8_u))`,
  );
  const check = (bytes: Uint8Array, ...at: number[]) => {
    for (const address of at)
      if (address >= 0 && address < PAGE) suite.expect("byte", [address], bytes[address]!);
  };
  const fresh = () => image.slice();
  const ranges: [number, number][] = [
    [0, 0], [0, 1], [5, 13], [100, 4096], [PAGE - 1, 1], [PAGE - 5, 5], [PAGE, 0], [0, PAGE],
  ]; // prettier-ignore
  const outside: [number, number][] = [
    [PAGE + 1, 0], [PAGE, 1], [PAGE - 4, 5], [1, PAGE], [0, PAGE + 1], [0xffffffff, 0], [0xffffffff, 1], [1, 0xffffffff],
    [0xffff0000, 0x10000], [0x80000000, 0x80000000],
  ]; // prettier-ignore
  for (const [at, size] of ranges)
    for (const value of [0, 0x7f, 0x180, 0xffffffff]) {
      const bytes = fresh().fill(value & 0xff, at, at + size);
      suite.expect("fill", [at, value, size], 0);
      check(bytes, at - 1, at, at + (size >> 1), at + size - 1, at + size);
      suite.reset();
    }
  for (const [at, size] of outside) suite.traps("fill", [at, 1, size], Status.OutOfBounds);
  const filled = fresh().fill(0xaa, 10, 15);
  suite.expect("fillConstants", [], 0);
  check(filled, 9, 10, 14, 15);
  suite.reset();
  for (const callee of ["copy", "copyFromRegister"]) {
    for (const [from, size] of ranges)
      for (const to of [0, 1, 4, 90, 108, 2000, PAGE - size]) {
        if (to + size > PAGE) continue;
        const bytes = fresh().copyWithin(to, from, from + size);
        suite.expect(callee, [to, from, size], 0);
        check(
          bytes,
          to - 1,
          to,
          to + 1,
          to + (size >> 1),
          to + size - 2,
          to + size - 1,
          to + size,
          from,
          from + size - 1,
        );
        suite.reset();
      }
    for (const [at, size] of outside)
      suite.traps(callee, [at, 0, size], Status.OutOfBounds).traps(callee, [0, at, size], Status.OutOfBounds);
  }
  return suite;
}

/** Instantiation: active segments in their order, zeros elsewhere. */
export function segments(): Suite {
  const suite = new Suite(
    "segments",
    `(module (memory (export "memory") 2 2)
      (data (i32.const 0) "\\01\\02\\03\\04") (data (i32.const 2) "\\aa\\bb\\cc") (data (i32.const 131071) "\\ff")
      (data (i32.const 3) "\\00") (data (i32.const 131072) "") (data (i32.const 65534) "abcd")
      (func (export "byte") (param i32) (result i32) local.get 0 i32.load8_u))`,
  );
  const expected: [number, number][] = [
    [0, 1], [1, 2], [2, 0xaa], [3, 0], [4, 0xcc], [5, 0], [65533, 0], [65534, 97], [65535, 98], [65536, 99], [65537, 100],
    [65538, 0], [131070, 0], [131071, 255],
  ]; // prettier-ignore
  for (const [at, byte] of expected) suite.expect("byte", [at], byte);
  return suite;
}
