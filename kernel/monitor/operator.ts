/** What the operator does to the machine's case: root counts it in VmInfo, and here it becomes an event of the machine. */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { pressPowerButton } from "../device/acpipm";


@unmanaged
class Operator {
  /** Presses of the power button that the guest has been told of. */
  presses: u32;
}

const operator = changetype<Operator>(memory.data(4));
const info = changetype<VmInfo>(VM_INFO);

/** Whether the power button has been pressed. Several presses that nobody has looked at are one: the status is a bit. */
export function pollOperator(): bool {
  const presses = info.powerPresses;
  if (presses == operator.presses) return false;
  operator.presses = presses;
  pressPowerButton();
  return true;
}
