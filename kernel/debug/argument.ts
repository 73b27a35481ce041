/** What the words behind a command say. */
import { Input } from "./input";
import { note } from "./note";
import { print } from "./packet";
import { FIRST_VM, HYPERVISOR, NONE, chosen } from "./session";
import { select, vmCount } from "./vm";

/** The VM that the command's last word names, or else the chosen thread's, or else the first. NONE, and it says so. */
export function vmOf(c: Input): u32 {
  const process = chosen();
  let vm: u64 = process == HYPERVISOR ? 0 : process - FIRST_VM;
  if (c.more()) vm = c.number();
  if (c.bad || c.more()) {
    usage();
    return NONE;
  }
  if (vm < vmCount() && select(<u32>vm)) return <u32>vm;
  print(note().str("no vm").dec(vm));
  return NONE;
}

/** The command's words make no sense. */
export function usage(): void {
  print(note().str("not understood: see monitor help"));
}
