import { expect, test } from "vitest";
import { encodeLines } from "../../tools/build/lines.ts";
import { buildInLog, decodeLog } from "../../tools/decode/decode.ts";
import { LineTable, buildOf } from "../../tools/decode/line-table.ts";

const bytes = encodeLines(
  0x12ab34cd,
  [
    { address: 0x200100, file: "kernel/root/a.ts", line: 7 },
    { address: 0x200110, file: "kernel/root/b.ts", line: 70 },
  ],
  [
    { address: 0x200100, name: "root_a_first" },
    { address: 0x200118, name: "root_b_second" },
  ],
);
const table = new LineTable(bytes);

test("An address has the line and the function that it is in", () => {
  expect(table.build).toBe("12ab34cd");
  expect(table.place(0x2000ff)).toBeUndefined();
  expect(table.place(0x200100)).toBe("kernel/root/a.ts:7 (root_a_first)");
  expect(table.place(0x20010f)).toBe("kernel/root/a.ts:7 (root_a_first)");
  expect(table.place(0x200117)).toBe("kernel/root/b.ts:70 (root_a_first)");
  expect(table.place(0x200118)).toBe("kernel/root/b.ts:70 (root_b_second)");
});

test("A log's raw addresses get their lines, and the rest stays", () => {
  const log = [
    "(tv) Typevisor 0.1.0 12ab34cd\r",
    "(tv) vm0: ended: its monitor trapped: unreachable\r",
    "(tv)   at 0x200104\r",
    "(tv)   from 0x200110 kernel/root/b.ts:70 (known already)\r",
    "(tv)   from ? 0x200119\r",
    "(tv) panic: a fault within the report: vector, error code, RIP, CR2: 000000000000000e 0000000000000000 0000000000200118 0000000000000000\r",
    "guest's own line at 12\r",
    "",
  ];
  expect(buildInLog(log.join("\n"))).toBe("12ab34cd");
  const expected = [...log];
  expected[2] = "(tv)   at 0x200104 kernel/root/a.ts:7 (root_a_first)\r";
  expected[4] = "(tv)   from ? 0x200119 kernel/root/b.ts:70 (root_b_second)\r";
  expected[5] = `${log[5]!.slice(0, -1)} kernel/root/b.ts:70 (root_b_second)\r`;
  expect(decodeLog(log.join("\n"), table).split("\n")).toEqual(expected);
});

test("What is no table, or only the start of one, is refused", () => {
  expect(buildOf(Buffer.from("ELF"))).toBeUndefined();
  expect(() => new LineTable(Buffer.alloc(100))).toThrow("not a line table");
  expect(() => new LineTable(bytes.subarray(0, 30))).toThrow("truncated");
});
