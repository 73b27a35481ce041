/**
 * The PC's wires: which device's line goes to which input of the 8259s and of the I/O APIC, and when something is due. Devices are brought
 * up to the present by vCPU 0, whoever has programmed them.
 */
import { nextPmInterrupt, pmLine, updatePm } from "../device/acpipm";
import { post } from "../device/apicbus";
import { hpetReplaces, nextHpetInterrupt, updateHpet } from "../device/hpet";
import { driveInput } from "../device/ioapic";
import { Signal } from "../device/lapicregister";
import { setLine } from "../device/pic8259";
import { Edge, nextTimerInterrupt, takeTimerInterrupt, writePit } from "../device/pit8254";
import { clockLine, nextClockInterrupt, updateClock } from "../device/rtc146818";
import { uartLine, uartWaitsForRoom } from "../device/uart16550";
import { deadline, tsc } from "../machine/time";
import { Vcpu } from "../vcpu/vcpu";
import { lapicOf, pollApic, requestTimer, settleApic, takeTimer } from "./apic";
import { hpetAt, hpetCount, pitAt, pitCount, pmAt, pmCount, rtcAt, rtcCount, soon } from "./clock";
import { updatePic } from "./deliver";
import { hpetWires } from "./hpet";
import { info } from "./layout";
import { lock, unlock } from "./lock";
import { pollOperator } from "./operator";

/** Interrupts that come to the 8259s; what is behind them are inputs of the I/O APIC alone. */
export const ISA_IRQS: u32 = 16;
export const TIMER_IRQ: u32 = 0;
/** Interrupt 0 comes to the I/O APIC here, for input 0 is the 8259s' (the MADT says so). */
export const TIMER_INPUT: u32 = 2;
const UART_IRQ: u32 = 4;
export const RTC_IRQ: u32 = 8;
export const SCI_IRQ: u32 = 9;

/** Of a second the 2^LEAD-th part, 7.6 us, is as long as an interrupt of the host's timer may take to be seen to. */
const LEAD: u32 = 17;


@unmanaged
class Devices {
  /** TSC value at which one of them is due; ~0 for never. */
  next: u64;
}

const devices = changetype<Devices>(memory.data(8, 8));

/** A line is asserted or released, at both interrupt controllers. @noinline */
function change(v: Vcpu, irq: u32, up: bool): void {
  driveInput(irq == TIMER_IRQ ? TIMER_INPUT : irq, up, v.number);
  updatePic(v);
}

/** An input's level is what a device says. With the VM's lock. */
export function drive(v: Vcpu, irq: u32, up: bool): void {
  if (irq >= ISA_IRQS) {
    driveInput(irq, up, v.number);
    settleApic(v);
  } else if (setLine(irq, up)) {
    change(v, irq, up);
  }
}

/** `fell`: the line has been low since it was looked at. */
export function wireUart(v: Vcpu, fell: bool): void {
  if (fell) drive(v, UART_IRQ, false);
  drive(v, UART_IRQ, uartLine());
}

export function wireClock(v: Vcpu): void {
  if (!hpetReplaces()) drive(v, RTC_IRQ, clockLine());
}

export function wirePm(v: Vcpu): void {
  drive(v, SCI_IRQ, pmLine());
}

function timerEdge(v: Vcpu, rises: bool): void {
  if (hpetReplaces()) return;
  drive(v, TIMER_IRQ, false);
  if (rises) drive(v, TIMER_IRQ, true);
}

/**
 * Of the timer's output only the rises are passed on, and the falls that a guest itself causes: a tick waits for a
 * guest that does not run, even when the next half period has begun.
 */
function pollTimer(v: Vcpu, now: u64): void {
  if (takeTimerInterrupt(now)) timerEdge(v, true);
}

/** The guest programs the timer. @noinline */
export function programTimer(v: Vcpu, offset: u32, value: u32): void {
  const now = pitCount(tsc());
  pollTimer(v, now);
  const edge = writePit(offset, value, now);
  if (edge != Edge.None) timerEdge(v, edge == Edge.Rise);
  arm(v);
}

/** What root has for the devices: it fills and empties the UART's rings, and counts what the operator does. */
function pollRoot(v: Vcpu): void {
  if (pollOperator()) wirePm(v);
  wireUart(v, false);
}

/** Brings every device up to the present. */
function pollDevices(v: Vcpu, t: u64): void {
  lock();
  pollTimer(v, pitCount(t));
  updateClock(rtcCount(t));
  updatePm(pmCount(t));
  pollRoot(v);
  updateHpet(hpetCount(t));
  wireClock(v);
  wirePm(v);
  hpetWires(v);
  devices.next = nextDevice();
  unlock();
}

/** Out of the way of what comes more often. @noinline */
function pollDevicesApart(v: Vcpu, t: u64): void {
  pollDevices(v, t);
}

/** Root has given the vCPU the CPU: what is due, and what root has for it. */
export function poll(v: Vcpu): void {
  const t = tsc();
  if (v.number == 0 && t >= devices.next) {
    pollDevices(v, t);
  } else if (v.number == 0) {
    lock();
    pollRoot(v);
    if (uartWaitsForRoom()) devices.next = min(devices.next, soon(t));
    unlock();
  }
  pollApic(v, t);
  rearm(v);
}

/**
 * What time it is, for a vCPU that an interrupt of the host has brought here. An interrupt of the APIC's timer takes a while to come by, so
 * it is set that much earlier. How much is learnt from how late or early it was, and what is left of the time is waited for. So a caller
 * does what it can before it asks.
 */
function arrive(v: Vcpu): u64 {
  const s = lapicOf(v).state;
  const most = info.tscHz >> LEAD;
  let t = tsc();
  const late = t - s.due;
  // From -lead on. What is later than `most` has been held up by others.
  if (late + s.lead >= most + s.lead) return t;
  s.lead = min(s.lead + ((<i64>late) >> 3), most);
  while (t < s.due) t = tsc();
  return t;
}

/** The host's timer has come for the guest, or another vCPU has something for this one: what is due. */
export function pollDue(v: Vcpu): void {
  const t = arrive(v);
  if (t >= devices.next && v.number == 0) pollDevicesApart(v, t);
  pollApic(v, t);
  rearm(v);
}

/** The vector of the timer's interrupt, if it is all that is due, and the vCPU can take it now; else 0, with nothing done. */
export function takeDue(v: Vcpu): u32 {
  const t = arrive(v);
  if (v.number == 0 && t >= devices.next) return 0;
  const vector = takeTimer(v, t);
  if (vector) rearm(v);
  return vector;
}

/** The timer's interrupt is all that is due, and is requested now, where the CPU delivers it; else false. */
export function requestDue(v: Vcpu): bool {
  const t = arrive(v);
  if ((v.number == 0 && t >= devices.next) || !requestTimer(v, t)) return false;
  rearm(v);
  return true;
}

/** TSC value at which a device is due; ~0 for none. */
function nextDevice(): u64 {
  const room = uartWaitsForRoom() ? soon(tsc()) : ~(<u64>0);
  return min(
    min(min(room, hpetAt(nextHpetInterrupt())), pitAt(nextTimerInterrupt())),
    min(rtcAt(nextClockInterrupt()), pmAt(nextPmInterrupt())),
  );
}

/**
 * TSC value of the next event; ~0 for none. It has passed if the event came after the devices were last brought up to
 * the present, and only then.
 */
export function nextEvent(v: Vcpu): u64 {
  const due = lapicOf(v).state.due;
  if (v.number != 0) return due;
  lock();
  devices.next = nextDevice();
  unlock();
  return min(due, devices.next);
}

/** The vCPU has something due at another time than before. */
export function rearm(v: Vcpu): void {
  const s = lapicOf(v).state;
  const due = s.due - s.lead;
  deadline(v.number == 0 ? min(due, devices.next) : due);
}

/** A device has. With the VM's lock. */
export function arm(v: Vcpu): void {
  devices.next = nextDevice();
  if (v.number == 0) rearm(v);
  else post(0, Signal.Devices, v.number);
}
