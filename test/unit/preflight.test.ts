import { expect, test } from "vitest";
import { FakeHost, vmxMsrs, vtxCpuid } from "./fake/host.ts";

function refusal(options: ConstructorParameters<typeof FakeHost>[0]): string | undefined {
  return new FakeHost(options)
    .boot()
    .find((line) => line.startsWith("refused: "))
    ?.slice("refused: ".length);
}

/** The capability MSR without some allowed-1 bits (bits 63:32). */
function without(index: number, bits: bigint): Record<number, bigint> {
  return { [index]: vmxMsrs()[index]! & ~(bits << 32n) };
}

test("A machine with everything gets as far as its missing guest", () => {
  expect(refusal({})).toBe("modules: no kernel");
});

test.each([
  ["EPT", 0x48b, 1n << 1n],
  ["unrestricted guest", 0x48b, 1n << 7n],
  ["external-interrupt exiting", 0x48d, 1n << 0n],
  ["NMI exiting", 0x48d, 1n << 3n],
  ["virtual NMIs", 0x48d, 1n << 5n],
  ["interrupt-window exiting", 0x48e, 1n << 2n],
  ["TSC offsetting", 0x48e, 1n << 3n],
  ["HLT exiting", 0x48e, 1n << 7n],
  ["MWAIT exiting", 0x48e, 1n << 10n],
  ["RDPMC exiting", 0x48e, 1n << 11n],
  ["CR8-load exiting", 0x48e, 1n << 19n],
  ["CR8-store exiting", 0x48e, 1n << 20n],
  ["NMI-window exiting", 0x48e, 1n << 22n],
  ["unconditional I/O exiting", 0x48e, 1n << 24n],
  ["MSR bitmaps", 0x48e, 1n << 28n],
  ["MONITOR exiting", 0x48e, 1n << 29n],
  ["secondary controls", 0x48e, 1n << 31n],
  ["64-bit host after VM exits", 0x48f, 1n << 9n],
  ["saving and loading IA32_PAT at VM exits", 0x48f, 1n << 18n],
  ["saving and loading IA32_EFER at VM exits", 0x48f, 1n << 21n],
  ["loading IA32_PAT at VM entries", 0x490, 1n << 14n],
  ["loading IA32_EFER at VM entries", 0x490, 1n << 15n],
] as const)("A CPU without %s is refused by that name", (name, index, bits) => {
  expect(refusal({ msrs: without(index, bits) })).toBe(`${name}: not offered by this CPU`);
});

test.each([
  ["EPT page walks of length 4", 6n],
  ["EPT in write-back memory", 14n],
  ["EPT 2 MiB pages", 16n],
  ["INVEPT", 20n],
  ["single-context INVEPT", 25n],
] as const)("A CPU without %s is refused by that name", (name, bit) => {
  expect(refusal({ msrs: { 0x48c: vmxMsrs()[0x48c]! & ~(1n << bit) } })).toBe(
    `${name}: not offered by this CPU`,
  );
});

test("A CPU without VT-x is refused by name", () => {
  const cpuid = (leaf: number, subleaf: number) => {
    const answer = vtxCpuid(leaf, subleaf);
    if (leaf === 1) answer[2] &= ~(1 << 5);
    return answer;
  };
  expect(refusal({ cpuid })).toBe("neither VT-x nor AMD-V: not offered by this CPU");
});

test("Firmware that has locked VT-x off is named with the MSR's value", () => {
  expect(refusal({ msrs: { 0x3a: 1n } })).toBe("VT-x disabled by firmware: IA32_FEATURE_CONTROL = 0x1");
});

test("Firmware that has left the lock open lets the hypervisor turn VT-x on", () => {
  const host = new FakeHost({ msrs: { 0x3a: 0n } });
  host.boot();
  expect(host.msrs[0x3a]).toBe(5n);
});

test("Nothing is changed on a machine that is refused", () => {
  const host = new FakeHost({ msrs: without(0x48b, 2n) });
  host.boot();
  expect(host.msrs[0x1b]).toBe(vmxMsrs()[0x1b]);
  expect(host.cr[3]).toBe(0n);
});
