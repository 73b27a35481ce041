/**
 * Keys on the guests' console that are for the hypervisor: Ctrl-^ and one more. All other input is the guest's, Ctrl-^
 * itself when it is typed twice.
 */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import * as phys from "../machine/phys";
import { info, say } from "./log";
import { Vm } from "./vm";

/** Ctrl-^. */
const ESCAPE: u32 = 0x1e;
/** p: presses the power button. */
const POWER: u32 = 0x70;


@unmanaged
class Keys {
  /** Nonzero: ESCAPE was the last key. */
  escaped: u32;
}

const keys = changetype<Keys>(memory.data(4));

/** The monitor sees that the number has changed when it next looks at its devices; a guest that halts is woken. */
function pressPowerButton(v: Vm): void {
  const at = v.linear(VM_INFO + offsetof<VmInfo>("powerPresses"));
  phys.store32(at, phys.load32(at) + 1);
  v.vcpu(0).makeReady();
  say(info().str("vm").dec(v.id).str(": power button"));
}

/** Whether a key is the hypervisor's and not for the guest. `v`: the VM that input goes to. */
export function takeKey(v: Vm, byte: u32): bool {
  if (keys.escaped == 0) {
    if (byte != ESCAPE) return false;
    keys.escaped = 1;
    return true;
  }
  keys.escaped = 0;
  if (byte == ESCAPE) return false;
  if (byte == POWER) pressPowerButton(v);
  else say(info().str("console: Ctrl-^ p presses the guest's power button, Ctrl-^ Ctrl-^ types Ctrl-^"));
  return true;
}
