/** The monitor that ships, and a way for its guest to make it trap in each way there is (fail.ts). */
import * as shipped from "../../../kernel/monitor/vmx";
import { vmwrite } from "../../../kernel/machine/vmcs";
import { Next, Vcpu } from "../../../kernel/vcpu/vcpu";
import { storeSystem } from "../../../kernel/vmx/system";
import { CONTROL, MAGIC, fail, scratch } from "./fail";
import { VCPUS, answer, isAwake, serve, take } from "./vcpus";

const CPUID: u32 = 10;

export function enter(area: usize): u32 {
  const v = changetype<Vcpu>(area);
  const next = shipped.enter(area);
  const done = take(v);
  if (done & 1) storeSystem(v);
  return done ? shipped.enter(area) : next;
}

export function exit(area: usize, reason: u32): u32 {
  const leaf = <u32>changetype<Vcpu>(area).rax;
  if (reason == CPUID && (leaf & 0xffff0000) == MAGIC) {
    if (leaf == (MAGIC | CONTROL))
      vmwrite(0x4002 + scratch.zero, 0); // fault 8
    else fail(leaf & 0xffff);
  }
  if (!(reason == CPUID && (leaf & 0xffff0000) == VCPUS)) return halting(area, shipped.exit(area, reason));
  const v = changetype<Vcpu>(area);
  serve(v);
  const next = shipped.exit(area, reason);
  answer(v, leaf & 0xffff);
  return next;
}

function halting(area: usize, next: u32): u32 {
  return isAwake(changetype<Vcpu>(area), next) ? Next.Resume : next;
}
