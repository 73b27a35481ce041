/** The state of a VM's devices, as its monitor keeps it: by the names of the fields, in their order. */
import { MAX_VCPUS, VM_INFO } from "../abi/address";
import { DEVICE_TABLE, DeviceTable } from "../abi/devices";
import { VmInfo } from "../abi/vminfo";
import { Pm } from "../device/acpipm";
import { Counter } from "../device/counter8254";
import { Hpet } from "../device/hpet";
import { ENTRIES, INPUTS } from "../device/ioapic";
import { Reg } from "../device/lapicregister";
import { Pci } from "../device/pciconfig";
import { Controller } from "../device/pic8259";
import { Rtc } from "../device/rtc146818";
import { Uart } from "../device/uart16550";
import * as image from "../machine/image";
import { Text } from "../lib/text";
import { wordAt } from "./features";
import { wrap } from "./inspect";
import { note } from "./note";
import { print } from "./packet";
import { fetch32 } from "./physical";
import { NONE, info } from "./session";
import { record } from "./vm";

/** Registers of a local APIC that are shown: 16-bit offsets in its page, and names. */
const LAPIC_OFFSETS = memory.data<u16>([
  0x20, 0x80, 0xa0, 0xd0, 0xe0, 0xf0, 0x300, 0x310, 0x320, 0x350, 0x360, 0x370, 0x380, 0x3e0, 0x400,
]);
const LAPIC_NAMES: string = "id tpr ppr ldr dfr svr icr icrhigh timer lint0 lint1 error initial divide base ";
const REGISTERS: u32 = 15;
const MASKED: u32 = 1 << 16;

/** Fields of 4 bytes from `at` in the monitor's memory on. The last name has a space behind it. */
function fields(title: Text, at: u32, names: string): void {
  let out = title.str(":");
  const end = <u32>names.length;
  for (let i: u32 = 0; i < end; at += 4) {
    out = wrap(out);
    i = wordAt(out.str(" "), names, i);
    out.str(" ").hex(fetch32(record.home + at));
  }
  print(out);
}

/** Where the table says that a device is; 0 for a place that no monitor can mean. */
function placeOf(entry: u32): u32 {
  const at = fetch32(record.home + DEVICE_TABLE + entry);
  return at < (image.memoryPages(info.extension) << 16) - 4096 ? at : 0;
}

/** Of the selected VM, unless there is none. */
export function showDevices(thread: u32): void {
  if (thread == NONE) return;
  const pic = placeOf(offsetof<DeviceTable>("pic"));
  if (pic == 0) {
    print(note().str("the guest has not been loaded yet"));
    return;
  }
  for (let n: u32 = 0; n < 2; n++) {
    const at = pic + n * offsetof<Controller>() + offsetof<Controller>("irr");
    fields(note().str("pic").dec(n), at, "irr imr isr lines level base first ");
  }
  const pit = placeOf(offsetof<DeviceTable>("pit"));
  for (let n: u32 = 0; n < 3; n++) {
    const at = pit + n * offsetof<Counter>() + offsetof<Counter>("count");
    fields(note().str("pit").dec(n), at, "count next counting ");
  }
  const uart = placeOf(offsetof<DeviceTable>("uart")) + offsetof<Uart>("ier");
  fields(note().str("uart"), uart, "ier fcr lcr mcr scr divisor ");
  const rtc = placeOf(offsetof<DeviceTable>("rtc")) + offsetof<Rtc>("index");
  fields(note().str("rtc"), rtc, "index flags ");
  const pm = placeOf(offsetof<DeviceTable>("pm")) + offsetof<Pm>("status");
  fields(note().str("pm"), pm, "status enable control ");
  const pci = placeOf(offsetof<DeviceTable>("pci")) + offsetof<Pci>("address");
  fields(note().str("pci"), pci, "address ");
  const hpet = placeOf(offsetof<DeviceTable>("hpet")) + offsetof<Hpet>("config");
  fields(note().str("hpet"), hpet, "config status edges ");
  showApics();
}

/** Every vCPU's local APIC, and the I/O APIC with those of its entries that are not masked. */
function showApics(): void {
  const vcpus = min(max(fetch32(record.home + VM_INFO + offsetof<VmInfo>("vcpus")), 1), MAX_VCPUS);
  for (let n: u32 = 0; n < vcpus; n++) showLapic(n, placeOf(offsetof<DeviceTable>("lapic")) + n * 4096);
  const ioapic = placeOf(offsetof<DeviceTable>("ioapic"));
  fields(note().str("ioapic"), ioapic, "index id pins ");
  for (let n: u32 = 0; n < INPUTS; n++) {
    const at = ioapic + ENTRIES + n * 8;
    if (fetch32(record.home + at) & MASKED) continue;
    fields(note().str("ioapic input ").dec(n), at, "entry destination ");
  }
}

function showLapic(n: u32, page: u32): void {
  let out = note().str("lapic").dec(n).str(":");
  for (let i: u32 = 0, at: u32 = 0; i < REGISTERS; i++) {
    out = wrap(out);
    at = wordAt(out.str(" "), LAPIC_NAMES, at);
    out.str(" ").hex(fetch32(record.home + page + load<u16>(LAPIC_OFFSETS + i * 2)));
  }
  print(out);
  for (let bank: u32 = Reg.ISR; bank <= Reg.IRR; bank += 0x80) showBank(n, page, bank);
}

/** Vectors of the ISR, TMR or IRR, if there are any. */
function showBank(n: u32, page: u32, bank: u32): void {
  let any: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) any |= fetch32(record.home + page + bank + i * 16);
  if (!any) return;
  let out = note()
    .str("lapic")
    .dec(n)
    .str(bank == Reg.ISR ? " isr:" : bank == Reg.IRR ? " irr:" : " tmr:");
  for (let vector: u32 = 0; vector < 256; vector++) {
    const word = fetch32(record.home + page + bank + ((vector >> 5) << 4));
    if (!((word >> (vector & 31)) & 1)) continue;
    out = wrap(out);
    out.str(" ").hex(vector);
  }
  print(out);
}
