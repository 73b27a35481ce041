/**
 * A reader of ACPI Machine Language by the grammar (ACPI 6.4, 20.2), for tables of named objects: scopes, devices, methods
 * (whose code it passes over), and names of integers, buffers, strings and packages.
 */
export type AmlValue = number | Uint8Array | string | AmlValue[] | { method: Uint8Array };

/** Objects by their absolute paths: \_SB_.PCI0._HID. */
export function readAml(aml: Uint8Array): Map<string, AmlValue> {
  const objects = new Map<string, AmlValue>();
  let at = 0;
  const byte = () => {
    if (at >= aml.length) throw new Error("AML: ends early");
    return aml[at++]!;
  };
  const number = (bytes: number) => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += byte() * 256 ** i;
    return value;
  };
  /** PkgLength (20.2.4): where what it encloses ends. It must not be longer than it has to be. */
  const packageEnd = () => {
    const start = at;
    const lead = byte();
    const more = lead >> 6;
    let length = more ? lead & 15 : lead & 63;
    for (let i = 0; i < more; i++) length |= byte() << (4 + i * 8);
    if (more && length < [64, 64, 4096, 1 << 20][more]!) throw new Error("AML: a length is too long");
    if (start + length > aml.length) throw new Error("AML: a length is wrong");
    return start + length;
  };
  const name = () => {
    const root = aml[at] === 0x5c;
    if (root) at++;
    const text = Buffer.from(aml.subarray(at, at + 4)).toString("latin1");
    if (!/^[A-Z_][A-Z0-9_]{3}$/.test(text)) throw new Error(`AML: ${text} is no name`);
    at += 4;
    return { root, text };
  };
  const value = (): AmlValue => {
    const prefix = byte();
    if (prefix === 0 || prefix === 1) return prefix;
    if (prefix === 0xff) return 2 ** 64 - 1;
    const bytes = { 0x0a: 1, 0x0b: 2, 0x0c: 4, 0x0e: 8 }[prefix];
    if (bytes !== undefined) return number(bytes);
    if (prefix === 0x0d) {
      const end = aml.indexOf(0, at);
      const text = Buffer.from(aml.subarray(at, end)).toString("latin1");
      at = end + 1;
      return text;
    }
    if (prefix === 0x11) {
      const end = packageEnd();
      const size = value();
      if (size !== end - at) throw new Error("AML: a buffer has another size");
      at = end;
      return aml.slice(end - size, end);
    }
    if (prefix === 0x12) {
      const end = packageEnd();
      const elements = Array.from({ length: byte() }, value);
      if (at !== end) throw new Error("AML: a package has another size");
      return elements;
    }
    throw new Error(`AML: ${prefix.toString(16)} begins no data`);
  };
  const terms = (scope: string, end: number) => {
    const path = () => {
      const { root, text } = name();
      return `${root ? "\\" : scope}${scope === "\\" || root ? "" : "."}${text}`;
    };
    const add = (where: string, what: AmlValue) => {
      if (objects.has(where)) throw new Error(`AML: ${where} is there twice`);
      objects.set(where, what);
    };
    while (at < end) {
      const op = byte();
      if (op === 0x08) add(path(), value());
      else if (op === 0x10 || (op === 0x5b && byte() === 0x82)) {
        const inner = packageEnd();
        terms(path(), inner);
      } else if (op === 0x14) {
        const inner = packageEnd();
        const where = path();
        add(where, { method: aml.slice(at, inner) });
        at = inner;
      } else throw new Error(`AML: ${op.toString(16)} begins no term`);
    }
    if (at !== end) throw new Error("AML: what is in it is longer than it");
  };
  terms("\\", aml.length);
  return objects;
}

/** EISAID (19.3.4). */
export function eisaId(value: AmlValue | undefined): string {
  const n = Buffer.alloc(4);
  n.writeUInt32LE(value as number);
  const id = n.readUInt32BE();
  const letters = [26, 21, 16].map((shift) => String.fromCharCode(0x40 + ((id >>> shift) & 31)));
  return letters.join("") + (id & 0xffff).toString(16).toUpperCase().padStart(4, "0");
}

export interface Resource {
  kind: "irq" | "io" | "memory" | "bus window" | "io window" | "memory window";
  first: number;
  last: number;
}

/** A resource template (6.4), of the descriptors that are in use here. */
export function resources(template: AmlValue | undefined): Resource[] {
  const bytes = Buffer.from(template as Uint8Array);
  const found: Resource[] = [];
  for (let at = 0; ;) {
    const tag = bytes[at]!;
    if (tag === 0x79) {
      if (at + 2 !== bytes.length) throw new Error("a template goes on behind its end");
      return found;
    }
    const range = (kind: Resource["kind"], first: number, count: number) =>
      found.push({ kind, first, last: first + count - 1 });
    if (tag === 0x22) {
      const mask = bytes.readUInt16LE(at + 1);
      range("irq", Math.log2(mask), 1);
      at += 3;
    } else if (tag === 0x47) {
      if (bytes.readUInt16LE(at + 2) !== bytes.readUInt16LE(at + 4)) throw new Error("ports that move");
      range("io", bytes.readUInt16LE(at + 2), bytes[at + 7]!);
      at += 8;
    } else if (tag === 0x86) {
      range("memory", bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8));
      at += 12;
    } else if (tag === 0x88 || tag === 0x87) {
      const kind = (["memory window", "io window", "bus window"] as const)[bytes[at + 3]!]!;
      const size = tag === 0x88 ? 2 : 4;
      const [, first, last, offset, length] = [0, 1, 2, 3, 4].map((n) =>
        bytes.readUIntLE(at + 6 + n * size, size),
      );
      if (bytes.readUInt16LE(at + 1) !== 3 + 5 * size) throw new Error("a window's length");
      if (offset !== 0 || last! - first! + 1 !== length) throw new Error("a window that does not fit itself");
      range(kind, first!, length);
      at += 6 + 5 * size;
    } else throw new Error(`descriptor ${tag.toString(16)}`);
  }
}
