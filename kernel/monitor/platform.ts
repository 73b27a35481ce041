/**
 * The PC's ports: which is whose. (docs/platform.md lists them.) A port that nobody claims reads all ones and takes no
 * writes.
 */
import { LAPIC_AREA } from "../abi/address";
import { DEVICE_TABLE, DeviceTable } from "../abi/devices";
import { Refusal } from "../abi/exit";
import { Request } from "../abi/run";
import { StopReason } from "../abi/stop";
import { pmState, readPm, resetPm, writePm } from "../device/acpipm";
import { hpetState, resetHpet } from "../device/hpet";
import { ioapicState, resetIoApic } from "../device/ioapic";
import { addChipset } from "../device/pcichipset";
import {
  pciState,
  readPciAddress,
  readPciData,
  resetPci,
  writePciAddress,
  writePciData,
} from "../device/pciconfig";
import {
  isPolled,
  picState,
  pollPic,
  readEdgeLevel,
  readPic,
  resetPic,
  writeEdgeLevel,
  writePic,
} from "../device/pic8259";
import { pitState, readPit, readSpeaker, resetPit, writeSpeaker } from "../device/pit8254";
import { readRtc, resetRtc, rtcState, selectRtc, setCmos, writeRtc } from "../device/rtc146818";
import { Signal, readUart, resetUart, signals, takeSignals, uartState, writeUart } from "../device/uart16550";
import { tsc } from "../machine/time";
import { Next, Vcpu } from "../vcpu/vcpu";
import { pitCount, pmCount, rtcCount } from "./clock";
import { updatePic } from "./deliver";
import { ECAM_BASE } from "./mmio";
import { SCI_IRQ, arm, programTimer, wireClock, wirePm, wireUart } from "./wiring";
export { nextEvent, poll } from "./wiring";

namespace Port {
  export const PIC_MASTER: u32 = 0x20;
  export const PIT: u32 = 0x40;
  export const SPEAKER: u32 = 0x61;
  export const KEYBOARD: u32 = 0x64;
  export const RTC: u32 = 0x70;
  export const POST: u32 = 0x80;
  export const PIC_SLAVE: u32 = 0xa0;
  export const UART: u32 = 0x3f8;
  export const EDGE_LEVEL: u32 = 0x4d0;
  export const PM: u32 = 0x600;
  export const PM_TIMER: u32 = 0x608;
  export const PCI_ADDRESS: u32 = 0xcf8;
  export const RESET: u32 = 0xcf9;
  export const PCI_DATA: u32 = 0xcfc;
}
const UART_PORTS: u32 = 8;
const PM_PORTS: u32 = 12;
const PCI_DATA_PORTS: u32 = 4;

/** Ports and numbers that ACPI tables name (monitor/acpi.ts). */
export const PM_BASE: u32 = Port.PM;
export const RESET_PORT: u32 = Port.RESET;
export const RESET_VALUE: u32 = 6;

/** PIIX/ICH reset control: the reset is at the rising edge of bit 2; bits 3 and 1 say which kind. */
const RESET_CPU: u32 = 4;
const RESET_MASK: u32 = 14;
const KEYBOARD_RESET: u32 = 0xfe;


@unmanaged
class Platform {
  resetControl: u32;
}

const platform = changetype<Platform>(memory.data(4));

function setCmosWord(n: u32, value: u32): void {
  setCmos(n, value & 255);
  setCmos(n + 1, (value >> 8) & 255);
}

/** `bootTime`: seconds since 1970 at the VM's start; the sizes of memory go to CMOS, where old loaders look. */
export function resetPlatform(bootTime: u64, ramLow: u64, ramHigh: u64): void {
  resetPic(SCI_IRQ);
  resetIoApic();
  resetPit();
  resetUart();
  resetPm();
  resetHpet();
  resetRtc(bootTime);
  resetPci();
  addChipset(ECAM_BASE, PM_BASE);
  const kib = <u32>(ramLow >> 10);
  const high = <u32>((ramHigh - 0x100000000) >> 16);
  setCmosWord(0x15, 640);
  setCmosWord(0x17, min(kib - 1024, 0xffff));
  setCmosWord(0x30, min(kib - 1024, 0xffff));
  if (kib > 16384) setCmosWord(0x34, min((kib - 16384) >> 6, 0xffff));
  setCmosWord(0x5b, high);
  setCmos(0x5d, high >> 16);
  showDevices();
}

/** Tells the debugger where the devices are. */
function showDevices(): void {
  const table = changetype<DeviceTable>(DEVICE_TABLE);
  table.uart = <u32>uartState();
  table.pic = <u32>picState();
  table.pit = <u32>pitState();
  table.rtc = <u32>rtcState();
  table.pm = <u32>pmState();
  table.pci = <u32>pciState();
  table.lapic = LAPIC_AREA;
  table.ioapic = <u32>ioapicState();
  table.hpet = <u32>hpetState();
}

function stop(v: Vcpu, reason: u32): void {
  v.leaveWith(v.stop(reason, 0));
}

// One device's registers each; `offset` is from the first of its ports. Only what may change an interrupt line or the
// time of the next event says so to others: most accesses do not.

/** The UART's line has changed, or its console has something for root. Passes `value` on. @noinline */
function settleUart(v: Vcpu, value: u32): u32 {
  const what = takeSignals();
  if (what & Signal.Line) wireUart(v, (what & Signal.Fall) != 0);
  if (what & Signal.Drain) {
    v.request = Request.Console;
    v.leaveWith(Next.Yield);
  }
  return value;
}

/** @noinline */
function readUartPort(v: Vcpu, offset: u32): u32 {
  const value = readUart(offset);
  return signals() ? settleUart(v, value) : value;
}

/** @noinline */
function writeUartPort(v: Vcpu, offset: u32, value: u32): void {
  writeUart(offset, value);
  if (signals()) settleUart(v, value);
}

/** @noinline */
function pollPicPort(v: Vcpu, slave: u32): u32 {
  const value = pollPic(slave);
  updatePic(v);
  return value;
}

function readPicPort(v: Vcpu, slave: u32, offset: u32): u32 {
  return isPolled(slave) ? pollPicPort(v, slave) : readPic(slave, offset);
}

/** @noinline */
function writePicPort(v: Vcpu, slave: u32, offset: u32, value: u32): void {
  writePic(slave, offset, value);
  updatePic(v);
}

/** @noinline */
function readPitPort(offset: u32): u32 {
  return readPit(offset, pitCount(tsc()));
}

/** @noinline */
function readSpeakerPort(): u32 {
  return readSpeaker(pitCount(tsc()));
}

/** @noinline */
function writeSpeakerPort(value: u32): void {
  writeSpeaker(value, pitCount(tsc()));
}

/** @noinline */
function readRtcPort(v: Vcpu): u32 {
  const value = readRtc(rtcCount(tsc()));
  wireClock(v);
  arm(v);
  return value;
}

/** @noinline */
function writeRtcPort(v: Vcpu, value: u32): void {
  writeRtc(value, rtcCount(tsc()));
  wireClock(v);
  arm(v);
}

/** @noinline */
function readPmPort(v: Vcpu, offset: u32): u32 {
  const value = readPm(offset, pmCount(tsc()));
  wirePm(v);
  return value;
}

/** @noinline */
function writePmPort(v: Vcpu, offset: u32, value: u32): void {
  if (writePm(offset, value, pmCount(tsc()))) stop(v, StopReason.PoweredOff);
  wirePm(v);
  arm(v);
}

function writeReset(v: Vcpu, value: u32): void {
  if (value & ~platform.resetControl & RESET_CPU) stop(v, StopReason.Reset);
  platform.resetControl = value & RESET_MASK;
}

/** Reads a byte-wide register. */
export function readByte(v: Vcpu, port: u32): u32 {
  if (port - Port.UART < UART_PORTS) return readUartPort(v, port - Port.UART);
  switch (port) {
    case Port.PIC_MASTER:
    case Port.PIC_MASTER + 1:
    case Port.PIC_SLAVE:
    case Port.PIC_SLAVE + 1:
      return readPicPort(v, port >> 7, port & 1);
    case Port.EDGE_LEVEL:
    case Port.EDGE_LEVEL + 1:
      return readEdgeLevel(port & 1);
    case Port.PIT:
    case Port.PIT + 1:
    case Port.PIT + 2:
    case Port.PIT + 3:
      return readPitPort(port & 3);
    case Port.SPEAKER:
      return readSpeakerPort();
    case Port.RTC + 1:
      return readRtcPort(v);
    case Port.RTC:
    case Port.POST:
      return 0xff;
    case Port.RESET:
      return platform.resetControl;
    default:
      if (port - Port.PM < PM_PORTS) return readPmPort(v, port - Port.PM);
      if (port - Port.PCI_DATA < PCI_DATA_PORTS) return readPciData(port - Port.PCI_DATA);
      v.refuse(Refusal.UnclaimedPort);
      return 0xff;
  }
}

/** Writes a byte-wide register. */
export function writeByte(v: Vcpu, port: u32, value: u32): void {
  if (port - Port.UART < UART_PORTS) {
    writeUartPort(v, port - Port.UART, value);
    return;
  }
  switch (port) {
    case Port.PIC_MASTER:
    case Port.PIC_MASTER + 1:
    case Port.PIC_SLAVE:
    case Port.PIC_SLAVE + 1:
      writePicPort(v, port >> 7, port & 1, value);
      break;
    case Port.EDGE_LEVEL:
    case Port.EDGE_LEVEL + 1:
      writeEdgeLevel(port & 1, value);
      updatePic(v);
      break;
    case Port.PIT:
    case Port.PIT + 1:
    case Port.PIT + 2:
    case Port.PIT + 3:
      programTimer(v, port & 3, value);
      break;
    case Port.SPEAKER:
      writeSpeakerPort(value);
      break;
    case Port.RTC:
      selectRtc(value);
      break;
    case Port.RTC + 1:
      writeRtcPort(v, value);
      break;
    case Port.POST:
      break;
    case Port.KEYBOARD:
      // The keyboard controller itself is not there; its reset line is, for guests that know no other way.
      if (value == KEYBOARD_RESET) stop(v, StopReason.Reset);
      else v.refuse(Refusal.UnclaimedPort);
      break;
    case Port.RESET:
      writeReset(v, value);
      break;
    default:
      if (port - Port.PM < PM_PORTS) writePmPort(v, port - Port.PM, value);
      else if (port - Port.PCI_DATA < PCI_DATA_PORTS) writePciData(port - Port.PCI_DATA, value);
      else v.refuse(Refusal.UnclaimedPort);
  }
}

/**
 * IN of 2 or 4 bytes. Registers are bytes but for PCI's and the PM timer's: a wider access is one of each byte in turn.
 */
export function readWide(v: Vcpu, port: u32, size: u32): u32 {
  if (port == Port.PCI_ADDRESS && size == 4) return readPciAddress();
  if (port == Port.PM_TIMER && size == 4) return <u32>pmCount(tsc());
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) value |= readByte(v, (port + i) & 0xffff) << (i * 8);
  return value;
}

/** OUT of 2 or 4 bytes. */
export function writeWide(v: Vcpu, port: u32, size: u32, value: u32): void {
  if (port == Port.PCI_ADDRESS && size == 4) {
    writePciAddress(value);
    return;
  }
  for (let i: u32 = 0; i < size; i++) writeByte(v, (port + i) & 0xffff, (value >> (i * 8)) & 0xff);
}
