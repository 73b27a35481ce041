/** The PC's wires: which device's line goes to which input of the interrupt controller, and when something is due. */
import { nextPmInterrupt, pmLine, updatePm } from "../device/acpipm";
import { setLine } from "../device/pic8259";
import { Edge, nextTimerInterrupt, takeTimerInterrupt, writePit } from "../device/pit8254";
import { clockLine, nextClockInterrupt, updateClock } from "../device/rtc146818";
import { uartLine, uartWaitsForRoom } from "../device/uart16550";
import { deadline, tsc } from "../machine/time";
import { Vcpu } from "../vcpu/vcpu";
import { pitAt, pitCount, pmAt, pmCount, rtcAt, rtcCount, soon } from "./clock";
import { updateOutput } from "./deliver";

const TIMER_IRQ: u32 = 0;
const UART_IRQ: u32 = 4;
const RTC_IRQ: u32 = 8;
export const SCI_IRQ: u32 = 9;

/** `fell`: the line has been low since it was looked at. */
export function wireUart(v: Vcpu, fell: bool): void {
  const low = fell && setLine(UART_IRQ, false);
  if (setLine(UART_IRQ, uartLine()) || low) updateOutput(v);
}

export function wireClock(v: Vcpu): void {
  if (setLine(RTC_IRQ, clockLine())) updateOutput(v);
}

export function wirePm(v: Vcpu): void {
  if (setLine(SCI_IRQ, pmLine())) updateOutput(v);
}

function timerEdge(v: Vcpu, rises: bool): void {
  setLine(TIMER_IRQ, false);
  if (rises) setLine(TIMER_IRQ, true);
  updateOutput(v);
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
  arm();
}

/** Brings every device up to the present: after root had the CPU, time has passed and input may have come. */
export function poll(v: Vcpu): void {
  const t = tsc();
  pollTimer(v, pitCount(t));
  updateClock(rtcCount(t));
  updatePm(pmCount(t));
  wireUart(v, false);
  wireClock(v);
  wirePm(v);
  arm();
}

/**
 * TSC value of the next event; ~0 for none. It has passed if the event came after the devices were last brought up to
 * the present, and only then.
 */
export function nextEvent(): u64 {
  const room = uartWaitsForRoom() ? soon(tsc()) : ~(<u64>0);
  return min(
    min(room, pitAt(nextTimerInterrupt())),
    min(rtcAt(nextClockInterrupt()), pmAt(nextPmInterrupt())),
  );
}

/** Something may be due at another time than before. */
export function arm(): void {
  deadline(nextEvent());
}
