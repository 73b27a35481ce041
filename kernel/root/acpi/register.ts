/** ACPI 6.4 5.2.3.2, Generic Address Structure: a register of the firmware's, in ports, memory or PCI configuration space. */
import { load64, load8, store16, store32, store8, load16, load32 } from "../../machine/phys";
import { in16, in32, in8, out16, out32, out8 } from "../../machine/port";
import { isRam } from "../boot";
import * as pci from "../pci";
import { ensureWindow } from "../space";

export namespace Space {
  export const Memory: u32 = 0;
  export const Port: u32 = 1;
  export const Pci: u32 = 2;
}

const PORTS: u64 = 0x10000;


@unmanaged
export class Register {
  /** 0: there is no such register. */
  address: u64;
  space: u32;
  /** Bytes of an access: 1, 2 or 4. */
  size: u32;

  get exists(): bool {
    return this.address != 0;
  }

  /** A register in ports, as older tables have it; none when it does not fit there. */
  port(port: u32, size: u32): void {
    this.address = <u64>port + size <= PORTS ? port : 0;
    this.space = Space.Port;
    this.size = size;
  }

  /**
   * Takes the structure at a physical address, for accesses of `size` bytes. False, and there is none, when it is where no such
   * register can be: in RAM, which is the hypervisor's, or beyond an address space's end.
   */
  take(at: u64, size: u32): bool {
    this.space = load8(at);
    this.size = size;
    this.address = load64(at + 4);
    if (this.address == 0) return true;
    if (this.space == Space.Port && this.address + size <= PORTS && this.address < PORTS) return true;
    // Device in bits 47:32, function in 31:16, offset in 15:0, of bus 0.
    if (
      this.space == Space.Pci &&
      this.address >> 32 < 32 &&
      (<u32>this.address) >> 16 < 8 &&
      (this.address & 0xffff) < 256
    )
      return true;
    if (this.space == Space.Memory && !isRam(this.address) && ensureWindow(this.address, size)) return true;
    this.address = 0;
    return false;
  }

  read(): u32 {
    const port = <u32>this.address;
    if (this.space == Space.Port)
      return this.size == 1 ? in8(port) : this.size == 2 ? in16(port) : in32(port);
    if (this.space == Space.Pci) return pci.read8(this.devfn, port & 0xff);
    return this.size == 1
      ? load8(this.address)
      : this.size == 2
        ? load16(this.address)
        : load32(this.address);
  }

  write(value: u32): void {
    const port = <u32>this.address;
    if (this.space == Space.Port) {
      if (this.size == 1) out8(port, value);
      else if (this.size == 2) out16(port, value);
      else out32(port, value);
    } else if (this.space == Space.Pci) {
      pci.write8(this.devfn, port & 0xff, value);
    } else if (this.size == 1) {
      store8(this.address, value);
    } else if (this.size == 2) {
      store16(this.address, value);
    } else {
      store32(this.address, value);
    }
  }

  /** PCI: device and function. */
  private get devfn(): u32 {
    return ((<u32>(this.address >> 32)) << 3) | ((<u32>(this.address >> 16)) & 7);
  }
}
