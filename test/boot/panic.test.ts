/** Faults in root: the same report as a monitor's, then the end. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { bootImage, faultLine, guestFile, places } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

const faults: [kind: number, cause: string][] = [
  [1, "memory access out of bounds at 0x7fff0000"],
  [2, "unreachable"],
  [3, "assertion failed"],
  [4, "integer division by zero"],
  [5, "stack overflow"],
];

describe.each(places)("On %s", (_name, place) => {
  test.each(faults)("Fault %d in root is a panic: %s, with the line", async (kind, cause) => {
    const dummy = { file: guestFile("dummy", new Uint8Array(16)), text: "dummy" };
    const { log } = await bootImage({
      ...place,
      image: "panic",
      modules: Array.from({ length: kind }, () => dummy),
    });
    const at = log.indexOf(`panic: root: ${cause}`);
    expect(at, log.join("\n")).toBeGreaterThanOrEqual(0);
    expect(log[at + 1]).toMatch(/Typevisor \d+\.\d+\.\d+ [0-9a-f]{8}/);
    expect(log.slice(at).join("\n")).toContain(faultLine("test/images/panic/root.ts", kind));
    expect(log.slice(at).join("\n")).toContain("host registers:");
    expect(log.at(-1)).toBe("halts");
  });

  test("Without the line table addresses are raw, and scripts/decode has their lines", async () => {
    const dummy = { file: guestFile("dummy", new Uint8Array(16)), text: "dummy" };
    // The line table is a module as well: the image takes its fault's number from how many there are.
    const modules = [dummy, dummy, dummy];
    const { log } = await bootImage({ ...place, image: "panic", modules, noLines: true });
    expect(log.filter((line) => /^ +at 0x[0-9a-f]+$/.test(line))).toHaveLength(1);
    const decoded = execFileSync(join(projectDirectory, "scripts/decode"), {
      input: log.map((line) => `(tv) ${line}\r\n`).join(""),
      encoding: "utf8",
    });
    expect(decoded).toMatch(new RegExp(`at 0x[0-9a-f]+ ${faultLine("test/images/panic/root.ts", 2)} \\(`));
  });

  test("A fault within the report of a fault still prints one raw line", async () => {
    const dummy = { file: guestFile("dummy", new Uint8Array(16)), text: "dummy" };
    const last = /^panic: a fault within the report: vector, error code, RIP, CR2:( [0-9a-f]{16}){4}$/;
    const { log } = await bootImage({
      ...place,
      image: "panic",
      modules: Array.from({ length: 6 }, () => dummy),
      last,
    });
    expect(log.at(-1)).toContain(" 000000000000000e ");
  });
});
