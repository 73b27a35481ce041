import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { availability, chooseMachine, type Host } from "../../tools/machine/available.ts";

const directories: string[] = [];
afterEach(() => directories.splice(0).forEach((directory) => rmSync(directory, { recursive: true })));

/** A host with these files and programs. */
function host(files: Record<string, string>, programs = ["bochs", "qemu-system-x86_64"]): Host {
  const root = mkdtempSync(join(tmpdir(), "typevisor-host-"));
  directories.push(root);
  const all = { ...files, ...Object.fromEntries(programs.map((name) => [`bin/${name}`, ""])) };
  for (const [path, text] of Object.entries({ "sys/module/none": "", ...all })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { root, path: `/nowhere:${join(root, "bin")}` };
}

const intel = { "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vmx sse2\n" };
const amd = { "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu svm sse2\n" };
const neither = { "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu sse2 hypervisor\n" };
const device = { "dev/kvm": "" };
const nested = (module: string, value: string): Record<string, string> => ({
  [`sys/module/${module}/parameters/nested`]: `${value}\n`,
});

test.each([
  ["VT-x", "kvm_intel", "Y", intel],
  ["VT-x", "kvm_intel", "1", intel],
  ["AMD-V", "kvm_amd", "1", amd],
])("KVM that nests %s (%s: nested is %s) is what auto takes", (name, module, value, cpu) => {
  const chosen = chooseMachine("auto", host({ ...cpu, ...device, ...nested(module, value) }));
  expect(chosen).toEqual({ kind: "qemu-kvm", reason: `KVM nests ${name} (${module}: nested is ${value})` });
});

test.each([
  ["there is no /dev/kvm", { ...intel }, 'no /dev/kvm: run "modprobe kvm_intel"'],
  ["the CPU has no extension and no device", { ...neither }, "neither vmx nor svm (switched off by firmware"],
  [
    "the device is there but the CPU has no extension",
    { ...neither, ...device, "sys/module/kvm_pvm/x": "" },
    "(it belongs to kvm_pvm), but the CPU shows neither vmx nor svm",
  ],
  [
    "nesting is off",
    { ...intel, ...device, ...nested("kvm_intel", "N") },
    'write "options kvm_intel nested=1"',
  ],
  [
    "nesting is off on AMD",
    { ...amd, ...device, ...nested("kvm_amd", "0") },
    'kvm_amd does not nest (its parameter nested is 0): write "options kvm_amd nested=1"',
  ],
  ["the module says nothing of nesting", { ...intel, ...device }, "kvm_intel does not nest"],
  [
    "the other vendor's module nests",
    { ...amd, ...device, ...nested("kvm_intel", "Y") },
    "kvm_amd does not nest (it has no parameter nested)",
  ],
])("When %s, auto is QEMU's own AMD-V and says so", (_, files, reason) => {
  const here = host(files);
  expect(availability("qemu-kvm", here)).toEqual({
    available: false,
    reason: expect.stringContaining(reason),
  });
  expect(() => chooseMachine("qemu-kvm", here)).toThrow(`--machine qemu-kvm is not available: `);
  const chosen = chooseMachine("auto", here);
  expect(chosen.kind).toBe("qemu-tcg");
  expect(chosen.reason).toMatch(/^QEMU emulates AMD-V\. Not qemu-kvm: /);
  expect(chosen.reason).toContain(reason);
});

test("Without QEMU auto is Bochs", () => {
  const chosen = chooseMachine("auto", host(neither, ["bochs"]));
  expect(chosen.kind).toBe("bochs");
  expect(chosen.reason).toContain("Not qemu-tcg: qemu-system-x86_64 is not installed");
});

test("A machine whose program is missing is refused with what to install", () => {
  const bare = host(neither, []);
  expect(() => chooseMachine("bochs", bare)).toThrow(
    'bochs is not installed: run "apt-get install bochs" as root',
  );
  expect(() => chooseMachine("qemu-tcg", bare)).toThrow('run "apt-get install qemu-system-x86" as root');
  const nesting = host({ ...intel, ...device, ...nested("kvm_intel", "Y") }, ["bochs"]);
  expect(() => chooseMachine("qemu-kvm", nesting)).toThrow("qemu-system-x86_64 is not installed");
  expect(() => chooseMachine("auto", bare)).toThrow("none of bochs, qemu-tcg, qemu-kvm is available");
});
