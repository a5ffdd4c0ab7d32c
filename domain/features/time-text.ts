/**
 * Instants as text: RFC 3339 in, one canonical form out, all in exact integers.
 *
 * A time is never guessed: text without an offset needs a declared zone, a wall-clock time that the zone skips or repeats
 * is refused, digits finer than a microsecond are refused unless they are zeros.
 */
import { SerinError } from '../errors.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, type Micros } from '../time.ts';

export type TimeFaultCode = 'TIME_NO_ZONE' | 'TIME_PRECISION' | 'TIME_INVALID' | 'TIME_AMBIGUOUS';

/** Why a text is no instant; `rule` is a sentence for a person. */
export interface TimeFault {
  readonly fault: TimeFaultCode;
  readonly rule: string;
}

/**
 * What Serin takes as a time: `YYYY-MM-DD`, `T`, `t` or a space, `hh:mm:ss`, a fraction, `Z`, `z` or `±hh:mm`. The offline
 * contract matches the same pattern in SQL (RE2 and JavaScript agree on all of it).
 */
export const TIME_TEXT_PATTERN =
  '^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.]([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})?$';

export const TIME_RULES: Readonly<Record<TimeFaultCode, string>> = {
  TIME_NO_ZONE: 'a time needs Z or an offset such as +01:00, or a zone declared by its source',
  TIME_PRECISION: 'a time has at most six decimals of a second',
  TIME_INVALID: 'a time is RFC 3339 text, such as 2001-01-31T23:59:59.5Z, that exists and lies in 1684…2255',
  TIME_AMBIGUOUS: 'a wall-clock time that its zone repeats needs an offset',
};

const PATTERN = new RegExp(TIME_TEXT_PATTERN);

/** The instant of `text`; wall-clock text (without an offset) is read in `zone` (IANA), if there is one. */
export function readTime(text: string, zone: string | null): Micros | TimeFault {
  const match = PATTERN.exec(text);
  if (match === null) return timeFault('TIME_INVALID');
  const [, year, month, day, hour, minute, second, fraction = '', offset] = match;
  const date = daysFromCivil(Number(year), Number(month), Number(day));
  if (date === null || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59)
    return timeFault('TIME_INVALID');
  const wallClock =
    date * MICROS_PER_DAY +
    Number(hour) * MICROS_PER_HOUR +
    Number(minute) * MICROS_PER_MINUTE +
    Number(second) * MICROS_PER_SECOND +
    Number(fraction.slice(0, 6).padEnd(6, '0'));
  if (!Number.isSafeInteger(wallClock)) return timeFault('TIME_INVALID');
  if (/[1-9]/.test(fraction.slice(6))) return timeFault('TIME_PRECISION');
  if (offset === undefined) return zone === null ? timeFault('TIME_NO_ZONE') : resolveWallClock(wallClock, zone);
  if (offset === 'Z' || offset === 'z') return inRange(wallClock);
  const [offsetHours, offsetMinutes] = [Number(offset.slice(1, 3)), Number(offset.slice(4, 6))];
  if (offsetHours > 23 || offsetMinutes > 59) return timeFault('TIME_INVALID');
  const shift = offsetHours * MICROS_PER_HOUR + offsetMinutes * MICROS_PER_MINUTE;
  return inRange(offset.startsWith('-') ? wallClock + shift : wallClock - shift);
}

export function isTimeFault(time: Micros | TimeFault): time is TimeFault {
  return typeof time !== 'number';
}

/** As `readTime`, for callers with nobody to collect reasons. @throws SerinError TIME_… */
export function parseTime(text: string, zone: string | null = null): Micros {
  const time = readTime(text, zone);
  if (!isTimeFault(time)) return time;
  throw new SerinError(time.fault, `"${text}" is refused: ${time.rule}`, { fields: { value: text, rule: time.rule } });
}

/** `YYYY-MM-DDThh:mm:ss.ffffffZ` */
export function formatTime(at: Micros): string {
  const day = Math.floor(at / MICROS_PER_DAY);
  const rest = at - day * MICROS_PER_DAY;
  const { year, month, dayOfMonth } = civilFromDays(day);
  const pad = (value: number, width: number): string => String(value).padStart(width, '0');
  const date = `${pad(year, 4)}-${pad(month, 2)}-${pad(dayOfMonth, 2)}`;
  const hour = pad(Math.floor(rest / MICROS_PER_HOUR), 2);
  const minute = pad(Math.floor(rest / MICROS_PER_MINUTE) % 60, 2);
  const second = pad(Math.floor(rest / MICROS_PER_SECOND) % 60, 2);
  return `${date}T${hour}:${minute}:${second}.${pad(rest % MICROS_PER_SECOND, 6)}Z`;
}

/**
 * The instant at which clocks in `zone` show `wallClock` (µs since 1970-01-01T00:00:00 on that clock).
 *
 * The offsets in force a day before and a day after give two candidates; those that show `wallClock` are its instants:
 * none is a gap, two an overlap. (No zone lies more than a day from UTC; two changes of a zone within 48 hours are not told
 * apart.) The offline contract does the same in SQL.
 */
export function resolveWallClock(wallClock: number, zone: string): Micros | TimeFault {
  if (zone === 'UTC') return inRange(wallClock);
  const offsetOf = offsetReader(zone);
  const before = wallClock - offsetOf(wallClock - MICROS_PER_DAY);
  const after = wallClock - offsetOf(wallClock + MICROS_PER_DAY);
  const beforeShows = before + offsetOf(before) === wallClock;
  const afterShows = after + offsetOf(after) === wallClock;
  if (beforeShows && afterShows && before !== after) return timeFault('TIME_AMBIGUOUS');
  if (beforeShows) return inRange(before);
  return afterShows ? inRange(after) : timeFault('TIME_INVALID');
}

/** Whether `zone` is a zone this runtime knows; a spec with another one cannot be read. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

export function timeFault(fault: TimeFaultCode): TimeFault {
  return { fault, rule: TIME_RULES[fault] };
}

/** Instants beyond the safe integers (1684…2255) would not be exact. */
function inRange(at: number): Micros | TimeFault {
  return Number.isSafeInteger(at) ? at : timeFault('TIME_INVALID');
}

/**
 * Days since 1970-01-01 in the proleptic Gregorian calendar; null when there is no such date. Years start in March here, so
 * that the leap day comes last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
 */
function daysFromCivil(year: number, month: number, day: number): number | null {
  if (year < 1 || month < 1 || month > 12 || day < 1) return null;
  const marchYear = month > 2 ? year : year - 1;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  const days = marchYear * 365 + leapDays + dayOfYear - DAYS_TO_1970;
  // a day beyond the end of its month comes back as a day of the next
  const back = civilFromDays(days);
  return back.month === month && back.dayOfMonth === day ? days : null;
}

/** From 0000-03-01 to 1970-01-01. */
const DAYS_TO_1970 = 719_468;
const DAYS_PER_ERA = 146_097;

/** The inverse (civil_from_days); an era is 400 years. */
function civilFromDays(days: number): { year: number; month: number; dayOfMonth: number } {
  const shifted = days + DAYS_TO_1970;
  const era = Math.floor(shifted / DAYS_PER_ERA);
  const dayOfEra = shifted - era * DAYS_PER_ERA;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const dayOfMonth = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfMonth };
}

type OffsetReader = (at: Micros) => number;

/** Making an `Intl.DateTimeFormat` costs far more than using it. */
const offsetReaders = new Map<string, OffsetReader>();

/** Reads what to add to an instant to get the wall clock of `zone` (µs; whole seconds). */
function offsetReader(zone: string): OffsetReader {
  const known = offsetReaders.get(zone);
  if (known !== undefined) return known;
  const numeric = {
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  } as const;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    hourCycle: 'h23',
    ...numeric,
  });
  const reader: OffsetReader = (at) => {
    const second = Math.floor(at / MICROS_PER_SECOND);
    const part: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(second * 1000)) part[type] = Number(value);
    const day = daysFromCivil(part['year']!, part['month']!, part['day']!)!;
    const shown = day * 86_400 + part['hour']! * 3600 + part['minute']! * 60 + part['second']!;
    return (shown - second) * MICROS_PER_SECOND;
  };
  offsetReaders.set(zone, reader);
  return reader;
}
