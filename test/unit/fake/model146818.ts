/**
 * An MC146818A with a 32,768 Hz crystal as its data sheet tells it: bytes that an update cycle each second counts on, by
 * JavaScript's Date, and compares with the alarm's. The century is at 32h, as PCs have it. An update takes no time.
 */
const HZ = 32768;

/** Bits of registers B and C. */
const SET = 0x80;
const BINARY = 4;
const HOURS_24 = 2;
const INTERRUPTS = 0x70;
const PERIODIC = 0x40;
const ALARM = 0x20;
const UPDATE = 0x10;

export interface Time {
  second: number;
  minute: number;
  hour: number;
  /** 1 is Sunday. */
  weekday: number;
  day: number;
  month: number;
  year: number;
}

export class Model146818 {
  readonly bytes = new Uint8Array(128);
  flags = 0;
  /** Clocks since the last update, or since the divider was released. */
  private phase = 0;

  constructor(seconds: number) {
    this.bytes[10] = 0x26;
    this.bytes[11] = HOURS_24;
    const date = new Date(seconds * 1000);
    this.setTime({
      second: date.getUTCSeconds(),
      minute: date.getUTCMinutes(),
      hour: date.getUTCHours(),
      weekday: date.getUTCDay() + 1,
      day: date.getUTCDate(),
      month: date.getUTCMonth() + 1,
      year: date.getUTCFullYear(),
    });
  }

  private get dividing(): boolean {
    return (this.bytes[10]! & 0x70) === 0x20;
  }

  private get updating(): boolean {
    return this.dividing && (this.bytes[11]! & SET) === 0;
  }

  /** A number as the format in register B has it. */
  encode(value: number): number {
    return this.bytes[11]! & BINARY ? value : parseInt(String(value), 16);
  }

  private decode(byte: number): number {
    return this.bytes[11]! & BINARY ? byte : parseInt(byte.toString(16), 10);
  }

  encodeHour(hour: number): number {
    if (this.bytes[11]! & HOURS_24) return this.encode(hour);
    return this.encode(((hour + 11) % 12) + 1) | (hour < 12 ? 0 : 0x80);
  }

  private decodeHour(byte: number): number {
    if (this.bytes[11]! & HOURS_24) return this.decode(byte);
    return (this.decode(byte & 0x7f) % 12) + (byte & 0x80 ? 12 : 0);
  }

  /** The bytes that say a time: pairs of index and value. */
  timeBytes(t: Time): [index: number, value: number][] {
    return [
      [0, this.encode(t.second)],
      [2, this.encode(t.minute)],
      [4, this.encodeHour(t.hour)],
      [6, this.encode(t.weekday)],
      [7, this.encode(t.day)],
      [8, this.encode(t.month)],
      [9, this.encode(t.year % 100)],
      [0x32, this.encode(Math.floor(t.year / 100))],
    ];
  }

  private setTime(t: Time): void {
    for (const [index, value] of this.timeBytes(t)) this.bytes[index] = value;
  }

  /** The update cycle: one second more, then the comparison with the alarm's bytes. */
  private update(): void {
    const is = (n: number) => this.decode(this.bytes[n]!);
    const year = is(0x32) * 100 + is(9);
    const hour = this.decodeHour(this.bytes[4]!);
    if (is(0) < 59) {
      this.bytes[0] = this.encode(is(0) + 1);
    } else {
      const date = new Date(Date.UTC(year, is(8) - 1, is(7), hour, is(2), is(0)) + 1000);
      this.setTime({
        second: date.getUTCSeconds(),
        minute: date.getUTCMinutes(),
        hour: date.getUTCHours(),
        weekday: date.getUTCDate() === is(7) ? is(6) : (is(6) % 7) + 1,
        day: date.getUTCDate(),
        month: date.getUTCMonth() + 1,
        year: date.getUTCFullYear(),
      });
    }
    this.flags |= UPDATE;
    const matches = (n: number) => this.bytes[n + 1]! >= 0xc0 || this.bytes[n + 1] === this.bytes[n];
    if (matches(0) && matches(2) && matches(4)) this.flags |= ALARM;
  }

  /** Table 5: the periodic rate for this crystal, in clocks. */
  private get period(): number {
    const rates = [0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2];
    const rate = rates[this.bytes[10]! & 15]!;
    return rate ? HZ / rate : 0;
  }

  /** Lets clocks pass. */
  clocks(n: number): void {
    if (!this.dividing) return;
    const end = this.phase + n;
    const p = this.period;
    if (p && Math.floor(end / p) > Math.floor(this.phase / p)) this.flags |= PERIODIC;
    for (let seconds = Math.floor(end / HZ); seconds > 0; seconds--) if (this.updating) this.update();
    this.phase = end % HZ;
  }

  get irq(): boolean {
    return (this.flags & this.bytes[11]! & INTERRUPTS) !== 0;
  }

  read(index: number): number {
    switch (index) {
      case 10: {
        // Set 244 us before an update, which takes 1984 us with this crystal.
        const soon = this.updating && HZ - this.phase <= 73;
        return this.bytes[10]! | (soon ? 0x80 : 0);
      }
      case 12: {
        const value = this.flags | (this.irq ? 0x80 : 0);
        this.flags = 0;
        return value;
      }
      case 13:
        return 0x80;
      default:
        return this.bytes[index]!;
    }
  }

  write(index: number, value: number): void {
    switch (index) {
      case 0:
        this.bytes[0] = value & 0x7f; // the high-order bit is read-only
        break;
      case 10: {
        const before = this.dividing;
        this.bytes[10] = value & 0x7f;
        // The first update comes half a second after the divider was released.
        if (this.dividing && !before) this.phase = HZ / 2;
        break;
      }
      case 11:
        // SET going high takes the update interrupt's enable away.
        this.bytes[11] = value & ~this.bytes[11]! & SET ? value & ~UPDATE : value;
        break;
      case 12:
      case 13:
        break;
      default:
        this.bytes[index] = value;
    }
  }
}
