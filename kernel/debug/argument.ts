/** What the words behind a command say. */
import { Input } from "./input";
import { note } from "./note";
import { print } from "./packet";
import { EVERY, FIRST_VM, HYPERVISOR, MAX_VMS, NONE, chosen, numberOf, threadOf, vmOf } from "./session";
import { select } from "./vm";

const DOT: u32 = 46;

/**
 * Selects the vCPU that the command's last word names, VM or VM.VCPU, or else the chosen thread, or else the first. Returns
 * its thread; or NONE, and says so.
 */
export function vcpuOf(c: Input): u32 {
  let vm: u64 = chosen() == HYPERVISOR ? 0 : vmOf(chosen());
  let vcpu: u64 = numberOf(chosen());
  if (c.more()) {
    vm = c.number();
    vcpu = c.accept(DOT) ? c.number() : 0;
  }
  if (c.bad || c.more()) {
    usage();
    return NONE;
  }
  const thread = vm < MAX_VMS && vcpu < EVERY ? threadOf(FIRST_VM + <u32>vm, <u32>vcpu) : NONE;
  if (select(thread)) return thread;
  const out = note().str("no vm").dec(vm);
  print(vcpu ? out.str(" vcpu").dec(vcpu) : out);
  return NONE;
}

/** The command's words make no sense. */
export function usage(): void {
  print(note().str("not understood: see monitor help"));
}
