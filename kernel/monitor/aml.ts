/**
 * ACPI Machine Language (ACPI 6.4, 20.2, AML Grammar Definition), as far as the DSDT needs it, written to `out`. What has
 * a length is opened, filled, and closed.
 */
import { Gpa } from "../lib/addr";
import * as guest from "../machine/guest";
import { out } from "./writer";

namespace Code {
  export const NAME: u32 = 0x08;
  export const BYTE: u32 = 0x0a;
  export const WORD: u32 = 0x0b;
  export const DWORD: u32 = 0x0c;
  export const QWORD: u32 = 0x0e;
  export const SCOPE: u32 = 0x10;
  export const BUFFER: u32 = 0x11;
  export const PACKAGE: u32 = 0x12;
  export const METHOD: u32 = 0x14;
  export const EXTENDED: u32 = 0x5b;
  export const STORE: u32 = 0x70;
  export const OR: u32 = 0x7d;
  export const DWORD_FIELD: u32 = 0x8a;
  export const LNOT: u32 = 0x92;
  export const LEQUAL: u32 = 0x93;
  export const IF: u32 = 0xa0;
  export const ELSE: u32 = 0xa1;
  export const RETURN: u32 = 0xa4;
}
const DEVICE: u32 = 0x82;
/** The first argument of a method, as a term; the others follow. */
export const ARG0: u32 = 0x68;
const ROOT: u32 = 0x5c;

/** Bytes that PkgLength may take; three are left free until it is known. */
const LENGTH_ROOM: u32 = 3;

/** A name of 1 to 4 characters, perhaps of the root; short ones end in underscores (20.2.2). */
export function name(s: string): void {
  let i = 0;
  if (s.charCodeAt(0) == ROOT) out.byte(s.charCodeAt(i++));
  const end = i + 4;
  for (; i < end; i++) out.byte(i < s.length ? s.charCodeAt(i) : 0x5f);
}

/** By the shortest way (20.2.3). */
export function integer(value: u64): void {
  if (value < 2) out.byte(<u32>value);
  else if (value < 0x100) out.byte(Code.BYTE).byte(<u32>value);
  else if (value < 0x10000) out.byte(Code.WORD).word(<u32>value);
  else if (value < 0x100000000) out.byte(Code.DWORD).dword(<u32>value);
  else out.byte(Code.QWORD).qword(value);
}

function open(): Gpa {
  const start = out.at;
  out.at += LENGTH_ROOM;
  return start;
}

/** Ends what was opened: writes its length, in as few bytes as it takes (20.2.4), and moves its content up to it. */
export function close(start: Gpa): void {
  const content = out.at - start - LENGTH_ROOM;
  const bytes: u32 = content + 1 < 0x40 ? 1 : content + 2 < 0x1000 ? 2 : 3;
  const length = <u32>content + bytes;
  guest.move(start + bytes, start + LENGTH_ROOM, content);
  out.at = start;
  if (bytes == 1) out.byte(length);
  else {
    out.byte(((bytes - 1) << 6) | (length & 15)).byte((length >> 4) & 0xff);
    if (bytes == 3) out.byte(length >> 12);
  }
  out.at = start + length;
}

export function openScope(s: string): Gpa {
  out.byte(Code.SCOPE);
  const start = open();
  name(s);
  return start;
}

export function openDevice(s: string): Gpa {
  out.byte(Code.EXTENDED).byte(DEVICE);
  const start = open();
  name(s);
  return start;
}

/** NotSerialized. */
export function openMethod(s: string, args: u32): Gpa {
  out.byte(Code.METHOD);
  const start = open();
  name(s);
  out.byte(args);
  return start;
}

/** The predicate and what follows from it are to be written next. */
export function openIf(): Gpa {
  out.byte(Code.IF);
  return open();
}

export function openElse(): Gpa {
  out.byte(Code.ELSE);
  return open();
}

export function openPackage(elements: u32): Gpa {
  out.byte(Code.PACKAGE);
  const start = open();
  out.byte(elements);
  return start;
}

/** A buffer whose size is known when it is closed, by closeBuffer(). */
export function openBuffer(): Gpa {
  out.byte(Code.BUFFER);
  const start = open();
  out.byte(Code.WORD).word(0);
  return start;
}

export function closeBuffer(start: Gpa): void {
  const size = start + LENGTH_ROOM + 1;
  guest.store16(size, <u32>(out.at - size - 2));
  close(start);
}

/** Name (s, ...): the object is to be written next. */
export function named(s: string): void {
  out.byte(Code.NAME);
  name(s);
}

export function namedInteger(s: string, value: u64): void {
  named(s);
  integer(value);
}

function letter(id: string, i: i32): u32 {
  return id.charCodeAt(i) - 0x40;
}

function hex(c: u32): u32 {
  return c < 0x41 ? c - 0x30 : c - 0x37;
}

/** Name (s, EisaId (id)): three letters and four digits in 32 bits, the first ones lowest (19.3.4). */
export function namedId(s: string, id: string): void {
  named(s);
  const letters = (letter(id, 0) << 10) | (letter(id, 1) << 5) | letter(id, 2);
  let digits: u32 = 0;
  for (let i = 3; i < 7; i++) digits = (digits << 4) | hex(id.charCodeAt(i));
  integer(bswap<u32>((letters << 16) | digits));
}

/** Store (what, s): `what` is an argument. */
export function storeTerm(what: u32, s: string): void {
  out.byte(Code.STORE).byte(what);
  name(s);
}

export function storeInteger(value: u64, s: string): void {
  out.byte(Code.STORE);
  integer(value);
  name(s);
}

/** Return (what) of a term. */
export function returnTerm(what: u32): void {
  out.byte(Code.RETURN).byte(what);
}

export function returnName(s: string): void {
  out.byte(Code.RETURN);
  name(s);
}

/** Or (s, bits, s). */
export function setBits(s: string, bits: u64): void {
  out.byte(Code.OR);
  name(s);
  integer(bits);
  name(s);
}

/** CreateDWordField (what, at, s). */
export function dwordField(what: u32, at: u32, s: string): void {
  out.byte(Code.DWORD_FIELD).byte(what);
  integer(at);
  name(s);
}

/** LEqual (what, ...): the other operand is to be written next. */
export function equal(what: u32): void {
  out.byte(Code.LEQUAL).byte(what);
}

/** LNotEqual (what, ...). */
export function notEqual(what: u32): void {
  out.byte(Code.LNOT);
  equal(what);
}
