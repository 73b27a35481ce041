/**
 * The PC's ports: which is whose. (docs/platform.md lists them.) A port that nobody claims reads all ones and takes no
 * writes.
 */
import { Refusal } from "../abi/exit";
import { StopReason } from "../abi/stop";
import { readPm, resetPm, writePm } from "../device/acpipm";
import { readPciAddress, readPciData, writePciAddress } from "../device/pciconfig";
import { readEdgeLevel, readPic, resetPic, writeEdgeLevel, writePic } from "../device/pic8259";
import { readPit, readSpeaker, resetPit, writeSpeaker } from "../device/pit8254";
import { readRtc, resetRtc, setCmos, writeRtc } from "../device/rtc146818";
import { readUart, resetUart, takeDrainWish, writeUart } from "../device/uart16550";
import { tsc } from "../machine/time";
import { Next, Vcpu } from "../vcpu/vcpu";
import { pitCount, pmCount, rtcCount } from "./clock";
import { updateOutput } from "./deliver";
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
  /** StopReason that a port write asked for. */
  stop: u32;
}

const platform = changetype<Platform>(memory.data(8));

function setCmosWord(n: u32, value: u32): void {
  setCmos(n, value & 255);
  setCmos(n + 1, (value >> 8) & 255);
}

/** `bootTime`: seconds since 1970 at the VM's start; the sizes of memory go to CMOS, where old loaders look. */
export function resetPlatform(bootTime: u64, ramLow: u64, ramHigh: u64): void {
  resetPic(SCI_IRQ);
  resetPit();
  resetUart();
  resetPm();
  resetRtc(bootTime);
  const kib = <u32>(ramLow >> 10);
  const high = <u32>((ramHigh - 0x100000000) >> 16);
  setCmosWord(0x15, 640);
  setCmosWord(0x17, min(kib - 1024, 0xffff));
  setCmosWord(0x30, min(kib - 1024, 0xffff));
  if (kib > 16384) setCmosWord(0x34, min((kib - 16384) >> 6, 0xffff));
  setCmosWord(0x5b, high);
  setCmos(0x5d, high >> 16);
}

function readByte(v: Vcpu, port: u32, t: u64): u32 {
  if (port - Port.UART < UART_PORTS) {
    const value = readUart(port - Port.UART);
    wireUart();
    return value;
  }
  switch (port) {
    case Port.PIC_MASTER:
    case Port.PIC_MASTER + 1:
      return readPic(0, port & 1);
    case Port.PIC_SLAVE:
    case Port.PIC_SLAVE + 1:
      return readPic(1, port & 1);
    case Port.EDGE_LEVEL:
    case Port.EDGE_LEVEL + 1:
      return readEdgeLevel(port & 1);
    case Port.PIT:
    case Port.PIT + 1:
    case Port.PIT + 2:
    case Port.PIT + 3:
      return readPit(port & 3, pitCount(t));
    case Port.SPEAKER:
      return readSpeaker(pitCount(t));
    case Port.RTC:
    case Port.RTC + 1: {
      const value = readRtc(port & 1, rtcCount(t));
      wireClock();
      arm();
      return value;
    }
    case Port.POST:
      return 0xff;
    case Port.RESET:
      return platform.resetControl;
    default:
      if (port - Port.PM < PM_PORTS) return readPm(port - Port.PM, pmCount(t));
      if (port - Port.PCI_DATA < PCI_DATA_PORTS) return readPciData();
      v.refuse(Refusal.UnclaimedPort);
      return 0xff;
  }
}

function writeByte(v: Vcpu, port: u32, value: u32, t: u64): void {
  if (port - Port.UART < UART_PORTS) {
    writeUart(port - Port.UART, value);
    wireUart();
    return;
  }
  switch (port) {
    case Port.PIC_MASTER:
    case Port.PIC_MASTER + 1:
      writePic(0, port & 1, value);
      break;
    case Port.PIC_SLAVE:
    case Port.PIC_SLAVE + 1:
      writePic(1, port & 1, value);
      break;
    case Port.EDGE_LEVEL:
    case Port.EDGE_LEVEL + 1:
      writeEdgeLevel(port & 1, value);
      break;
    case Port.PIT:
    case Port.PIT + 1:
    case Port.PIT + 2:
    case Port.PIT + 3:
      programTimer(port & 3, value, t);
      break;
    case Port.SPEAKER:
      writeSpeaker(value, pitCount(t));
      break;
    case Port.RTC:
    case Port.RTC + 1:
      writeRtc(port & 1, value, rtcCount(t));
      wireClock();
      arm();
      break;
    case Port.POST:
      break;
    case Port.KEYBOARD:
      // The keyboard controller itself is not there; its reset line is, for guests that know no other way.
      if (value == KEYBOARD_RESET) platform.stop = StopReason.Reset;
      else v.refuse(Refusal.UnclaimedPort);
      break;
    case Port.RESET:
      if (value & ~platform.resetControl & RESET_CPU) platform.stop = StopReason.Reset;
      platform.resetControl = value & RESET_MASK;
      break;
    default:
      if (port - Port.PM < PM_PORTS) {
        if (writePm(port - Port.PM, value, pmCount(t))) platform.stop = StopReason.PoweredOff;
        wirePm();
        arm();
      } else if (port - Port.PCI_DATA >= PCI_DATA_PORTS) {
        v.refuse(Refusal.UnclaimedPort);
      }
  }
}

/**
 * IN of 1, 2 or 4 bytes. Registers are bytes but for PCI's: a wider access is one of each byte in turn, all at the same
 * moment.
 */
export function readPort(v: Vcpu, port: u32, size: u32): u32 {
  if (port == Port.PCI_ADDRESS && size == 4) return readPciAddress();
  const t = tsc();
  if (port == Port.PM_TIMER && size == 4) return <u32>pmCount(t);
  let value = readByte(v, port, t);
  for (let i: u32 = 1; i < size; i++) value |= readByte(v, (port + i) & 0xffff, t) << (i * 8);
  updateOutput(v);
  return value;
}

export function writePort(v: Vcpu, port: u32, size: u32, value: u32): void {
  if (port == Port.PCI_ADDRESS && size == 4) {
    writePciAddress(value);
    return;
  }
  const t = tsc();
  for (let i: u32 = 0; i < size; i++) writeByte(v, (port + i) & 0xffff, (value >> (i * 8)) & 0xff, t);
  updateOutput(v);
}

/** What a port access made of the VM: go on, let root take the console's output, or stop. */
export function afterPort(v: Vcpu): u32 {
  if (platform.stop) return v.stop(platform.stop, 0);
  return takeDrainWish() ? Next.Yield : Next.Resume;
}
