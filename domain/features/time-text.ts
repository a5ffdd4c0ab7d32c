/**
 * Instants as text: RFC 3339 in, one canonical form out, all in exact integers.
 *
 * A time is never guessed: text without an offset needs a declared zone, a wall-clock time that the zone skips or repeats
 * is refused, digits finer than a microsecond are refused unless they are zeros.
 */
import { SerinError } from '../errors.ts';
import { type Instant, toInstant } from '../instant.ts';
import { MICROS_PER_SECOND, type Micros } from '../time.ts';

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

/** The instant of `text` in 1684…2255; wall-clock text (without an offset) is read in `zone` (IANA), if there is one. */
export function readTime(text: string, zone: string | null): Micros | TimeFault {
  const read = readParts(text);
  if (isTimeFault(read)) return read;
  if (!Number.isSafeInteger(microsOf(read.second, read.micros))) return timeFault('TIME_INVALID');
  const at = instantOf(read, zone, null);
  return typeof at === 'bigint' ? timeFault('TIME_INVALID') : at;
}

/**
 * The same in all of 0001…9999.
 * @param fold which of two instants a repeated wall-clock time means: 0 the first, 1 the second; null: neither, it is refused
 */
export function readInstant(text: string, zone: string | null = null, fold: 0 | 1 | null = null): Instant | TimeFault {
  const read = readParts(text);
  return isTimeFault(read) ? read : instantOf(read, zone, fold);
}

export function isTimeFault<T extends object>(time: Instant | T | TimeFault): time is TimeFault {
  return typeof time === 'object' && 'fault' in time;
}

/** As `readTime`, for callers with nobody to collect reasons. @throws SerinError TIME_… */
export function parseTime(text: string, zone: string | null = null): Micros {
  const time = readTime(text, zone);
  if (!isTimeFault(time)) return time;
  throw new SerinError(time.fault, `"${text}" is refused: ${time.rule}`, { fields: { value: text, rule: time.rule } });
}

/** `YYYY-MM-DDThh:mm:ss.ffffffZ` @param at in 0001…9999 */
export function formatTime(at: Instant): string {
  const { second: since, micros } = secondAndMicros(at);
  const day = Math.floor(since / SECONDS_PER_DAY);
  const rest = since - day * SECONDS_PER_DAY;
  const { year, month, dayOfMonth } = civilFromDays(day);
  const pad = (value: number, width: number): string => String(value).padStart(width, '0');
  const date = `${pad(year, 4)}-${pad(month, 2)}-${pad(dayOfMonth, 2)}`;
  const hour = pad(Math.floor(rest / 3600), 2);
  const minute = pad(Math.floor(rest / 60) % 60, 2);
  return `${date}T${hour}:${minute}:${pad(rest % 60, 2)}.${pad(micros, 6)}Z`;
}

/**
 * The instant at which clocks in `zone` show `wallClock` (µs since 1970-01-01T00:00:00 on that clock).
 *
 * The offsets in force a day before and a day after give two candidates; those that show `wallClock` are its instants:
 * none is a gap, two an overlap. (No zone lies more than a day from UTC; two changes of a zone within 48 hours are not told
 * apart.) The offline contract does the same in SQL.
 */
export function resolveWallClock(wallClock: Micros, zone: string, fold: 0 | 1 | null = null): Micros | TimeFault {
  const at = instantOf({ ...secondAndMicros(wallClock), offset: null }, zone, fold);
  return typeof at === 'bigint' ? timeFault('TIME_INVALID') : at;
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

/** What a clock shows: whole seconds since 1970-01-01T00:00:00 on it, the part below a second, and its offset, if the text says it. */
interface ClockReading {
  readonly second: number;
  readonly micros: number;
  /** Seconds east of UTC. */
  readonly offset: number | null;
}

function readParts(text: string): ClockReading | TimeFault {
  const match = PATTERN.exec(text);
  if (match === null) return timeFault('TIME_INVALID');
  const [, year, month, day, hour, minute, second, fraction = '', offset] = match;
  const date = daysFromCivil(Number(year), Number(month), Number(day));
  if (date === null || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59)
    return timeFault('TIME_INVALID');
  if (/[1-9]/.test(fraction.slice(6))) return timeFault('TIME_PRECISION');
  const shown = {
    second: date * SECONDS_PER_DAY + Number(hour) * 3600 + Number(minute) * 60 + Number(second),
    micros: Number(fraction.slice(0, 6).padEnd(6, '0')),
  };
  if (offset === undefined) return { ...shown, offset: null };
  if (offset === 'Z' || offset === 'z') return { ...shown, offset: 0 };
  const [offsetHours, offsetMinutes] = [Number(offset.slice(1, 3)), Number(offset.slice(4, 6))];
  if (offsetHours > 23 || offsetMinutes > 59) return timeFault('TIME_INVALID');
  return { ...shown, offset: (offset.startsWith('-') ? -1 : 1) * (offsetHours * 3600 + offsetMinutes * 60) };
}

function instantOf(clock: ClockReading, zone: string | null, fold: 0 | 1 | null): Instant | TimeFault {
  const second = clock.offset === null ? secondIn(clock.second, zone, fold) : clock.second - clock.offset;
  if (typeof second !== 'number') return second;
  if (second < FIRST_SECOND || second > LAST_SECOND) return timeFault('TIME_INVALID');
  return microsOf(second, clock.micros);
}

/** The second since the epoch at which clocks in `zone` show `shown`; its changes lie on whole seconds. */
function secondIn(shown: number, zone: string | null, fold: 0 | 1 | null): number | TimeFault {
  if (zone === null) return timeFault('TIME_NO_ZONE');
  if (zone === 'UTC') return shown;
  const offsetOf = offsetReader(zone);
  const before = shown - offsetOf(shown - SECONDS_PER_DAY);
  const after = shown - offsetOf(shown + SECONDS_PER_DAY);
  const beforeShows = before + offsetOf(before) === shown;
  const afterShows = after + offsetOf(after) === shown;
  if (beforeShows && afterShows && before !== after) {
    if (fold === null) return timeFault('TIME_AMBIGUOUS');
    return fold === 0 ? Math.min(before, after) : Math.max(before, after);
  }
  if (beforeShows) return before;
  return afterShows ? after : timeFault('TIME_INVALID');
}

const SECONDS_PER_DAY = 86_400;
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
const FIRST_SECOND = -62_135_596_800;
const LAST_SECOND = 253_402_300_799;

function microsOf(second: number, micros: number): Instant {
  const at = second * MICROS_PER_SECOND + micros;
  return Number.isSafeInteger(at) ? at : toInstant(BigInt(second) * BigInt(MICROS_PER_SECOND) + BigInt(micros));
}

function secondAndMicros(at: Instant): { readonly second: number; readonly micros: number } {
  if (typeof at === 'number') {
    const second = Math.floor(at / MICROS_PER_SECOND);
    return { second, micros: at - second * MICROS_PER_SECOND };
  }
  const whole = at / BigInt(MICROS_PER_SECOND);
  const micros = Number(at - whole * BigInt(MICROS_PER_SECOND));
  return micros < 0
    ? { second: Number(whole) - 1, micros: micros + MICROS_PER_SECOND }
    : { second: Number(whole), micros };
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

type OffsetReader = (second: number) => number;

/** Making an `Intl.DateTimeFormat` costs far more than using it. */
const offsetReaders = new Map<string, OffsetReader>();

/** Reads what to add to a second since the epoch to get the wall clock of `zone`. */
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
  const reader: OffsetReader = (second) => {
    // before year 1 the format counts backwards; no zone changed its clocks within days of that
    const at = Math.max(second, FIRST_SECOND + 2 * SECONDS_PER_DAY);
    const part: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(at * 1000)) part[type] = Number(value);
    const day = daysFromCivil(part['year']!, part['month']!, part['day']!)!;
    return day * SECONDS_PER_DAY + part['hour']! * 3600 + part['minute']! * 60 + part['second']! - at;
  };
  offsetReaders.set(zone, reader);
  return reader;
}
