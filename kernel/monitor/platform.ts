/**
 * The PC: which port is whose, which line goes where, when something is due. (docs/platform.md lists it.) A port that
 * nobody claims reads all ones and takes no writes.
 */
import { Refusal } from "../abi/exit";
import { StopReason } from "../abi/stop";
import { nextPmInterrupt, pmLine, readPm, resetPm, updatePm, writePm } from "../device/acpipm";
import { readPciAddress, readPciData, writePciAddress } from "../device/pciconfig";
import { readEdgeLevel, picOutput, readPic, setLine, writeEdgeLevel, writePic } from "../device/pic8259";
import {
  nextTimerInterrupt,
  readPit,
  readSpeaker,
  resetPit,
  takeTimerInterrupt,
  writePit,
  writeSpeaker,
} from "../device/pit8254";
import { clockLine, nextClockInterrupt, readRtc, resetRtc, setCmos, updateClock, writeRtc } from "../device/rtc146818";
import { readUart, resetUart, takeDrainWish, uartLine, writeUart } from "../device/uart16550";
import { deadline } from "../machine/time";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { pitAt, pitNow, pmAt, pmNow, rtcAt, rtcNow } from "./clock";

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
  export const PCI_ADDRESS: u32 = 0xcf8;
  export const RESET: u32 = 0xcf9;
  export const PCI_DATA: u32 = 0xcfc;
}

/** Ports and numbers that ACPI tables name (monitor/acpi.ts). */
export const PM_BASE: u32 = Port.PM;
export const RESET_PORT: u32 = Port.RESET;
export const RESET_VALUE: u32 = 6;
export const SCI_IRQ: u32 = 9;

const UART_IRQ: u32 = 4;
const RTC_IRQ: u32 = 8;
const KEYBOARD_RESET: u32 = 0xfe;

@unmanaged
class Platform {
  resetControl: u32;
  /** StopReason that a port write asked for. */
  stop: u32;
}

const platform = changetype<Platform>(memory.data(8));

/** `bootTime`: seconds since 1970 at the VM's start; the sizes of memory go to CMOS, where old loaders look. */
export function resetPlatform(bootTime: u64, ramLow: u64, ramHigh: u64): void {
  resetPit();
  resetUart();
  resetPm();
  resetRtc(bootTime);
  const above16 = <u32>min<u64>((ramLow - (16 << 20)) >> 16, 0xffff);
  const above1 = <u32>min<u64>((ramLow - (1 << 20)) >> 10, 0xffff);
  setCmos(0x15, 640 & 255);
  setCmos(0x16, 640 >> 8);
  setCmos(0x17, above1 & 255);
  setCmos(0x18, above1 >> 8);
  setCmos(0x30, above1 & 255);
  setCmos(0x31, above1 >> 8);
  if (ramLow > 16 << 20) {
    setCmos(0x34, above16 & 255);
    setCmos(0x35, above16 >> 8);
  }
  const high = <u32>((ramHigh - 0x100000000) >> 16);
  setCmos(0x5b, high & 255);
  setCmos(0x5c, (high >> 8) & 255);
  setCmos(0x5d, high >> 16);
}

function readByte(v: Vcpu, port: u32): u32 {
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
      return readPit(port & 3, pitNow());
    case Port.SPEAKER:
      return readSpeaker(pitNow());
    case Port.RTC:
    case Port.RTC + 1:
      return readRtc(port & 1, rtcNow());
    case Port.POST:
      return 0xff;
    case Port.RESET:
      return platform.resetControl;
    default:
      if (port - Port.UART < 8) return readUart(port - Port.UART);
      if (port - Port.PM < 12) return readPm(port - Port.PM, pmNow());
      if (port - Port.PCI_DATA < 4) return readPciData() & 0xff;
      v.refuse(Refusal.UnclaimedPort);
      return 0xff;
  }
}

function writeByte(v: Vcpu, port: u32, value: u32): void {
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
    case Port.PIT + 3: {
      const now = pitNow();
      pollTimer(now);
      writePit(port & 3, value, now);
      arm();
      break;
    }
    case Port.SPEAKER:
      writeSpeaker(value, pitNow());
      break;
    case Port.RTC:
    case Port.RTC + 1:
      writeRtc(port & 1, value, rtcNow());
      if (port & 1) arm();
      break;
    case Port.POST:
      break;
    case Port.KEYBOARD:
      // The keyboard controller itself is not there; its reset line is, for guests that know no other way.
      if (value == KEYBOARD_RESET) platform.stop = StopReason.Reset;
      else v.refuse(Refusal.UnclaimedPort);
      break;
    case Port.RESET:
      // PIIX/ICH reset control: the reset is at the rising edge of bit 2.
      if (value & 4 && !(platform.resetControl & 4)) platform.stop = StopReason.Reset;
      platform.resetControl = value & 6;
      break;
    default:
      if (port - Port.UART < 8) {
        writeUart(port - Port.UART, value);
      } else if (port - Port.PM < 12) {
        if (writePm(port - Port.PM, value, pmNow())) platform.stop = StopReason.PoweredOff;
        arm();
      } else if (port - Port.PCI_DATA >= 4) {
        v.refuse(Refusal.UnclaimedPort);
      }
  }
}

/** IN of 1, 2 or 4 bytes. Registers are bytes but for PCI's: a wider access is one of each byte in turn. */
export function readPort(v: Vcpu, port: u32, size: u32): u32 {
  if (port == Port.PCI_ADDRESS && size == 4) return readPciAddress();
  let value = readByte(v, port);
  for (let i: u32 = 1; i < size; i++) value |= readByte(v, (port + i) & 0xffff) << (i * 8);
  updateLines(v);
  return value;
}

export function writePort(v: Vcpu, port: u32, size: u32, value: u32): void {
  if (port == Port.PCI_ADDRESS && size == 4) {
    writePciAddress(value);
    return;
  }
  for (let i: u32 = 0; i < size; i++) writeByte(v, (port + i) & 0xffff, (value >> (i * 8)) & 0xff);
  updateLines(v);
}

/** What a port access made of the VM: go on, let root take the console's output, or stop. */
export function afterPort(v: Vcpu): u32 {
  if (platform.stop) return v.stop(platform.stop, 0);
  return takeDrainWish() ? Next.Yield : Next.Resume;
}

/** Wires the devices' lines to the interrupt controller, and its output to the processor. */
function updateLines(v: Vcpu): void {
  setLine(UART_IRQ, uartLine());
  setLine(RTC_IRQ, clockLine());
  setLine(SCI_IRQ, pmLine());
  if (picOutput()) v.attention |= Attention.Interrupt;
  else v.attention &= ~Attention.Interrupt;
}

function pollTimer(now: u64): void {
  if (!takeTimerInterrupt(now)) return;
  setLine(0, false);
  setLine(0, true);
}

/** Brings every device up to the present: after root had the CPU, time has passed and input may have come. */
export function poll(v: Vcpu): void {
  pollTimer(pitNow());
  updateClock(rtcNow());
  updatePm(pmNow());
  updateLines(v);
  arm();
}

/** TSC value of the next event; ~0 for none. */
export function nextEvent(): u64 {
  return min(
    pitAt(nextTimerInterrupt()),
    min(rtcAt(nextClockInterrupt(rtcNow())), pmAt(nextPmInterrupt(pmNow()))),
  );
}

function arm(): void {
  deadline(nextEvent());
}
