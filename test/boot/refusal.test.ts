/** CPUs that cannot run guests: each is refused by the name of what it lacks, on the serial port and on the screen. */
import { expect, test, vi } from "vitest";
import { bootImage } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

test.each([
  ["p4_prescott_celeron_336", "VT-x: not offered by this CPU"],
  ["core2_penryn_t9600", "EPT"],
  ["corei5_lynnfield_750", "unrestricted guest: not offered by this CPU"],
])("A %s is refused by the name of what it lacks", async (cpu, name) => {
  const { log } = await bootImage({ cpu });
  expect(log.find((line) => line.startsWith("refused"))).toContain(name);
  expect(log.at(-1)).toBe("halts");
});

test("With console=vga the log is on the text screen as well", async () => {
  const { screen, log } = await bootImage({ options: "console=vga" });
  expect(screen).toMatch(/^\(tv\) Typevisor \d/);
  expect(screen).toContain("(tv) refused: modules: no kernel");
  expect(log).toContain("refused: modules: no kernel");
});

test.each([
  ["frobnicate=1", "command line: frobnicate=1"],
  ["console=com3", "command line: console=com3"],
  ["vmlimit=never", "command line: vmlimit=never"],
  ["loglvl=loud", "command line: loglvl=loud"],
])("A hypervisor option that makes no sense is refused by name: %s", async (options, refusal) => {
  const { log } = await bootImage({ options });
  expect(log.find((line) => line.startsWith("refused: "))).toContain(`${refusal}: expected `);
});
