/** Dates of the Gregorian calendar and seconds, both ways, from 1 March of a year long before any that a clock shows. */

/** Days from the calendar's start, 1 March of the year -400, to 1970. */
const DAYS_TO_1970: u64 = 865565;
export const SECONDS_TO_1970: u64 = DAYS_TO_1970 * 86400;
/** 1 March of the year -400 was a Wednesday: with Sunday as 0. */
export const FIRST_WEEKDAY: u32 = 3;

const YEARS: u32 = 400;
/** Days of 400 years. */
const ERA: u32 = 146097;


@unmanaged
export class Moment {
  second: u32;
  minute: u32;
  hour: u32;
  day: u32;
  month: u32;
  year: u32;
  /** Days since the calendar's start. */
  days: u32;

  /** Years start in March, so that the leap day is the last. */
  set(time: u64): this {
    const rest = <u32>(time % 86400);
    this.second = rest % 60;
    this.minute = (rest / 60) % 60;
    this.hour = rest / 3600;
    this.days = <u32>(time / 86400);
    const dayOfEra = this.days % ERA;
    const year = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
    const dayOfYear = dayOfEra - (365 * year + year / 4 - year / 100);
    const month = (5 * dayOfYear + 2) / 153;
    this.day = dayOfYear - (153 * month + 2) / 5 + 1;
    this.month = month < 10 ? month + 3 : month - 9;
    this.year = year + (this.days / ERA) * YEARS + (this.month <= 2 ? 1 : 0) - YEARS;
    return this;
  }

  /** A day past its month's end is one of the next month. */
  seconds(): u64 {
    const year = this.year + YEARS - (this.month <= 2 ? 1 : 0);
    const month = this.month <= 2 ? this.month + 9 : this.month - 3;
    this.days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + this.day - 1;
    return <u64>this.days * 86400 + this.hour * 3600 + this.minute * 60 + this.second;
  }
}
