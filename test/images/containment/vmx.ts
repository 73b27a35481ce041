/** The monitor that ships, and a way for its guest to make it trap in each way there is (fail.ts). */
import * as shipped from "../../../kernel/monitor/vmx";
import { vmwrite } from "../../../kernel/machine/vmcs";
import { Vcpu } from "../../../kernel/vcpu/vcpu";
import { CONTROL, MAGIC, fail, scratch } from "./fail";

const CPUID: u32 = 10;

export function enter(area: usize): u32 {
  return shipped.enter(area);
}

export function exit(area: usize, reason: u32): u32 {
  const leaf = <u32>changetype<Vcpu>(area).rax;
  if (reason == CPUID && (leaf & 0xffff0000) == MAGIC) {
    if (leaf == (MAGIC | CONTROL))
      vmwrite(0x4002 + scratch.zero, 0); // fault 8
    else fail(leaf & 0xffff);
  }
  return shipped.exit(area, reason);
}
