import { expect, test } from "vitest";
import { parseFrequency, parseMemory, parseTimeout } from "../../tools/cli/sizes.ts";

test.each([
  ["512M", 512],
  ["512MB", 512],
  ["64MiB", 64],
  ["1G", 1024],
  ["2gib", 2048],
  ["1048576K", 1024],
  [" 1T ", 1048576],
])("--memory %s is %i MiB", (text, mib) => {
  expect(parseMemory(text)).toBe(mib);
});

test.each(["", "512", "M", "-1M", "1.5G", "512 M", "1E", "0M", "1023K", "2T", "0x10M", "NaNM"])(
  "--memory %j is refused by name",
  (text) => {
    expect(() => parseMemory(text)).toThrow(/^--memory: ".*" is /);
  },
);

test.each([
  ["30", 30],
  ["0.5", 0.5],
])("--timeout %s is %d seconds", (text, seconds) => {
  expect(parseTimeout(text)).toBe(seconds);
});

test.each(["", "0", "-1", "1s", "1e3", "Infinity", "0.0", "99999999"])(
  "--timeout %j is refused by name",
  (text) => {
    expect(() => parseTimeout(text)).toThrow(/^--timeout: ".*" is /);
  },
);

test("--tsc-khz is what the hypervisor takes, and is refused by name otherwise", () => {
  expect([parseFrequency("1000"), parseFrequency("8000000")]).toEqual([1000, 8_000_000]);
  for (const text of ["", "0", "999", "8000001", "2.5", "-1", "1e6", "25M"])
    expect(() => parseFrequency(text)).toThrow(/^--tsc-khz: expected kHz, 1000 to 8000000, is "/);
});
