/** A monitor's way from an exit to its handler, and two handlers. */
import * as Field from "./field";
function bits(value: u64, high: u32, low: u32): u64 {
  return (value >> low) & (((<u64>1) << (high - low + 1)) - 1);
}
const enum Next {
  Resume,
  Yield,
  Stop,
}
@unmanaged
class Recent {
  reason: u32;
  length: u32;
  rip: u64;
}
@unmanaged
class Leaf {
  eax: u32;
  ebx: u32;
  ecx: u32;
  edx: u32;
}
@unmanaged
class Vcpu {
  rax: u64;
  rcx: u64;
  rdx: u64;
  rbx: u64;
  rsp: u64;
  rbp: u64;
  rsi: u64;
  rdi: u64;
  exits: u64;
  last: u64;
  count(reason: u32): void {
    const at = changetype<usize>(this) + 80 + 8 * <usize>(reason < 80 ? reason : 79);
    store<u64>(at, load<u64>(at) + 1);
  }
  recent(at: u64): Recent {
    return changetype<Recent>(changetype<usize>(this) + 720 + 16 * <usize>(at & 15));
  }
  leaf(leaf: u32): Leaf {
    return changetype<Leaf>(changetype<usize>(this) + 976 + 16 * <usize>(leaf < 16 ? leaf : 0));
  }
  port(offset: u32): usize {
    return changetype<usize>(this) + 1232 + offset;
  }
}
function skip(): void {
  Field.GUEST_RIP.write(Field.GUEST_RIP.read() + Field.EXIT_INSTRUCTION_LENGTH.read());
  const interruptibility = Field.GUEST_INTERRUPTIBILITY.read();
  if (interruptibility & 3) Field.GUEST_INTERRUPTIBILITY.write(interruptibility & ~3);
}
function onCpuid(vcpu: Vcpu): Next {
  const leaf = vcpu.leaf(<u32>vcpu.rax);
  vcpu.rax = leaf.eax;
  vcpu.rbx = leaf.ebx;
  vcpu.rcx = leaf.ecx;
  vcpu.rdx = leaf.edx;
  skip();
  return Next.Resume;
}
function onPortIo(vcpu: Vcpu): Next {
  const qualification = Field.EXIT_QUALIFICATION.read();
  const port = <u32>bits(qualification, 31, 16);
  if (bits(qualification, 2, 0) != 0 || bits(qualification, 5, 4) != 0) return Next.Stop;
  if (port - 0x3f8 < 8) {
    const register = vcpu.port(port - 0x3f8);
    if (bits(qualification, 3, 3)) vcpu.rax = (vcpu.rax & ~0xff) | load<u8>(register);
    else store<u8>(register, <u8>vcpu.rax);
  } else if (bits(qualification, 3, 3)) {
    vcpu.rax |= 0xff;
  }
  skip();
  return Next.Resume;
}
export function dispatch(vcpu: Vcpu): Next {
  const reason = <u32>bits(Field.EXIT_REASON.read(), 15, 0);
  vcpu.count(reason);
  const recent = vcpu.recent(vcpu.exits++);
  recent.reason = reason;
  recent.length = Field.EXIT_INSTRUCTION_LENGTH.read();
  recent.rip = Field.GUEST_RIP.read();
  switch (reason) {
    case 10:
      return onCpuid(vcpu);
    case 12:
      skip();
      return Next.Yield;
    case 30:
      return onPortIo(vcpu);
    case 1:
    case 7:
    case 52:
      return Next.Resume;
    default:
      return Next.Stop;
  }
}
