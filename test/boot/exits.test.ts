/** Every instruction that exits unconditionally, and others that a hypervisor may get wrong, in ring 0 and in ring 3. */
import { expect, test, vi } from "vitest";
import { type Place, assembleGuest, bootImage, ryzen, svm, vtx } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

/**
 * The exception of each in ring 0 and in ring 3; "ok" for none. A guest's CPU has neither VT-x, AMD-V, SMX, SGX nor
 * MONITOR, so their instructions are undefined in every ring (SDM Vol. 2). The others are by their pages there.
 */
const expected: Record<string, string> = {
  cpuid: "ok ok",
  "cpuid-prefixed": "ok ok",
  "cpuid-crossing": "ok ok", // from one page to the next
  invd: "ok 13",
  wbinvd: "ok 13",
  rsm: "6 6", // outside of system-management mode
  xsaves: "6 6", // not offered
  rdpmc: "13 13", // there are no counters
  rdtsc: "ok ok",
  rdtscp: "ok ok",
  pause: "ok ok",
  "rdmsr-efer": "ok 13",
  "rdmsr-unknown": "13 13",
  "wrmsr-tsc-aux": "ok 13",
  "wrmsr-unknown": "13 13",
  "wrmsr-apic-base": "ok 13",
  xsetbv: "ok 13",
  "xsetbv-bad": "13 13",
  xgetbv: "ok ok",
  in: "ok 13",
  out: "ok 13",
  insb: "ok 13",
  "mov-from-cr0": "ok 13",
  "mov-to-cr0": "ok 13",
  "mov-to-cr3": "ok 13",
  "mov-to-cr4": "ok 13",
  "mov-to-cr4-vmxe": "13 13",
  "mov-to-cr0-pg-without-pe": "13 13",
  "mov-from-cr8": "ok 13",
  "mov-to-cr8": "ok 13",
  "mov-to-cr8-bad": "13 13",
  clts: "ok 13",
  lmsw: "ok 13",
  "mov-from-dr6": "ok 13",
  "mov-to-dr7": "ok 13",
  invlpg: "ok 13",
  invpcid: "ok 13",
  "invpcid-bad": "13 13",
  sgdt: "ok ok", // CR4.UMIP is 0
  lgdt: "ok 13",
  sti: "ok 13",
  int3: "3 3",
  int1: "1 1",
  ud2: "6 6",
  syscall: "6 6", // EFER.SCE is 0
  "load-unclaimed": "ok ok",
  "store-unclaimed": "ok ok",
};
const undefinedForGuests =
  "getsec vmcall vmclear vmlaunch vmresume vmptrld vmptrst vmread vmwrite vmxon vmxoff vmfunc invept invvpid " +
  "vmmcall vmrun vmload stgi skinit encls monitor mwait";
for (const name of undefinedForGuests.split(" ")) expected[name] = "6 6";

/**
 * What differs by the machine. SVM instructions of a guest's ring 3 are #GP before they exit, for its EFER.SVME is 1 (APM Vol.
 * 2 15.5): nothing a hypervisor could change. Those of XSAVE and INVPCID are there or not with the CPU.
 */
const noInvpcid = { invpcid: "6 6", "invpcid-bad": "6 6" };
const svmInRing3 = { vmrun: "6 13", vmload: "6 13", stgi: "6 13" };
const differs: [name: string, place: Place, differences: Record<string, string>, options?: string][] = [
  ["VT-x", vtx, {}],
  ["VT-x without the TPR shadow", vtx, {}, "tprshadow=no"],
  // QEMU knows no INT1.
  ["AMD-V", svm, { ...noInvpcid, ...svmInRing3, int1: "6 6" }],
  ["a Ryzen", ryzen, { ...noInvpcid, ...svmInRing3, skinit: "6 13", xsaves: "ok 13" }],
];

test.each(differs)(
  "On %s instructions that exit do in ring 0 and in ring 3 what the manual says",
  async (_name, place, differences, options) => {
    const { console, log } = await bootImage({
      ...place,
      ...(options === undefined ? {} : { options }),
      modules: [{ file: assembleGuest("exits"), text: "kernel memory=64M" }],
    });
    const results = Object.fromEntries(
      Array.from(console.matchAll(/^(\S+) (ok|\d+) (ok|\d+)$/gm), ([, name, ring0, ring3]) => [
        name!,
        `${ring0} ${ring3}`,
      ]),
    );
    expect(results).toEqual({ ...expected, ...differences });
    expect(console).toContain("end\n");
    expect(log).toContain("vm0: ended: powered off");
  },
);
