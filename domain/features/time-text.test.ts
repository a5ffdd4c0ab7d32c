import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SerinError } from '../errors.ts';
import { formatTime, isTimeFault, isZone, parseTime, readInstant, readTime, resolveWallClock } from './time-text.ts';

const faultOf = (text: string, zone: string | null = null): string => {
  const time = readTime(text, zone);
  return isTimeFault(time) ? time.fault : `accepted as ${time}`;
};

const instants = fc.integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });

describe('RFC 3339 text', () => {
  test('what is formatted is read back to the microsecond', () => {
    fc.assert(
      fc.property(instants, (at) => {
        expect(parseTime(formatTime(at))).toBe(at);
      }),
    );
  });

  test('an offset moves the instant against its sign', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e15 }), fc.integer({ min: -1439, max: 1439 }), (at, offset) => {
        const sign = offset < 0 ? '-' : '+';
        const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
        const text = `${formatTime(at).slice(0, -1)}${sign}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
        expect(parseTime(text)).toBe(at - offset * 60_000_000);
      }),
    );
  });

  test('dates are those of the Gregorian calendar', () => {
    fc.assert(
      fc.property(instants, (at) => {
        expect(formatTime(at).slice(0, 19)).toBe(new Date(Math.floor(at / 1000)).toISOString().slice(0, 19));
      }),
    );
  });

  test('known instants', () => {
    expect(parseTime('1970-01-01T00:00:00Z')).toBe(0);
    expect(parseTime('2001-01-31T23:59:59.5Z')).toBe(980_985_599_500_000);
    expect(parseTime('1969-12-31t23:59:59.999999z')).toBe(-1);
    expect(parseTime('2000-02-29 12:00:00.1234560000+02:00')).toBe(951_818_400_123_456);
    expect(parseTime('2001-01-01T00:00:00-00:00')).toBe(978_307_200_000_000);
  });

  test.each([
    ['2001-01-01T00:00:00', 'TIME_NO_ZONE'],
    ['2001-01-01T00:00:00.1234567Z', 'TIME_PRECISION'],
    ['2001-01-01T23:59:60Z', 'TIME_INVALID'],
    ['2001-01-01T24:00:00Z', 'TIME_INVALID'],
    ['2001-02-29T00:00:00Z', 'TIME_INVALID'],
    ['2001-13-01T00:00:00Z', 'TIME_INVALID'],
    ['0000-01-01T00:00:00Z', 'TIME_INVALID'],
    ['1600-01-01T00:00:00Z', 'TIME_INVALID'],
    ['2256-01-01T00:00:00Z', 'TIME_INVALID'],
    ['2001-01-01T00:00:00+24:00', 'TIME_INVALID'],
    ['2001-01-01', 'TIME_INVALID'],
    ['yesterday', 'TIME_INVALID'],
    ['2001-01-01T00:00:00Z\n', 'TIME_INVALID'],
    ['', 'TIME_INVALID'],
  ])('%j is refused as %s', (text, code) => expect(faultOf(text)).toBe(code));

  test('a refusal names the value and the rule', () => {
    expect(() => parseTime('2001-01-01T00:00:00')).toThrow(SerinError);
    expect(() => parseTime('2001-01-01T00:00:00')).toThrow(/"2001-01-01T00:00:00".*offset/);
  });
});

describe('wall-clock text in a declared zone', () => {
  test('UTC and a zone with an offset', () => {
    expect(parseTime('2001-06-01T12:00:00', 'UTC')).toBe(parseTime('2001-06-01T12:00:00Z'));
    expect(parseTime('2001-06-01T12:00:00', 'America/New_York')).toBe(parseTime('2001-06-01T16:00:00Z'));
    expect(parseTime('2001-01-01T12:00:00', 'America/New_York')).toBe(parseTime('2001-01-01T17:00:00Z'));
  });

  test('an explicit offset wins over the zone', () => {
    expect(parseTime('2001-06-01T12:00:00Z', 'America/New_York')).toBe(parseTime('2001-06-01T12:00:00Z'));
  });

  test('a time that a spring change skips is refused, the edges are not', () => {
    expect(faultOf('2001-04-01T02:30:00', 'America/New_York')).toBe('TIME_INVALID');
    expect(faultOf('2001-04-01T02:00:00', 'America/New_York')).toBe('TIME_INVALID');
    expect(parseTime('2001-04-01T01:59:59.999999', 'America/New_York')).toBe(parseTime('2001-04-01T06:59:59.999999Z'));
    expect(parseTime('2001-04-01T03:00:00', 'America/New_York')).toBe(parseTime('2001-04-01T07:00:00Z'));
  });

  test('a time that an autumn change repeats is refused, the edges are not', () => {
    expect(faultOf('2001-10-28T01:00:00', 'America/New_York')).toBe('TIME_AMBIGUOUS');
    expect(faultOf('2001-10-28T01:59:59.999999', 'America/New_York')).toBe('TIME_AMBIGUOUS');
    expect(parseTime('2001-10-28T00:59:59.999999', 'America/New_York')).toBe(parseTime('2001-10-28T04:59:59.999999Z'));
    expect(parseTime('2001-10-28T02:00:00', 'America/New_York')).toBe(parseTime('2001-10-28T07:00:00Z'));
  });

  test('a day that a zone left out does not exist', () => {
    expect(faultOf('2011-12-30T12:00:00', 'Pacific/Apia')).toBe('TIME_INVALID');
    expect(parseTime('2011-12-31T00:30:00', 'Pacific/Apia')).toBe(parseTime('2011-12-30T10:30:00Z'));
    expect(parseTime('2011-12-29T23:30:00', 'Pacific/Apia')).toBe(parseTime('2011-12-30T09:30:00Z'));
  });

  test('the instant found shows the wall clock it was asked for', () => {
    const zones = fc.constantFrom(
      'Europe/Berlin',
      'America/New_York',
      'Asia/Kolkata',
      'Australia/Lord_Howe',
      'Pacific/Apia',
    );
    const wallClocks = fc
      .integer({ min: -1_500_000_000, max: 3_000_000_000 })
      .map((second) => second * 1_000_000 + 123_456);
    fc.assert(
      fc.property(zones, wallClocks, (zone, wallClock) => {
        const at = resolveWallClock(wallClock, zone);
        if (isTimeFault(at)) return;
        const shown = new Intl.DateTimeFormat('sv-SE', {
          timeZone: zone,
          dateStyle: 'short',
          timeStyle: 'medium',
        }).format(at / 1000);
        expect(shown.replace(' ', 'T')).toBe(formatTime(wallClock).slice(0, 19));
      }),
    );
  });

  test('an unknown zone is told apart from a known one', () => {
    expect(isZone('Europe/Berlin')).toBe(true);
    expect(isZone('Mars/Olympus')).toBe(false);
  });
});

describe('all years', () => {
  const FIRST = -62_135_596_800_000_000n;
  const LAST = 253_402_300_799_999_999n;

  test('0001…9999 is read and written to the microsecond', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: FIRST, max: LAST }), (micros) => {
        const text = formatTime(micros);
        const at = readInstant(text);
        expect(isTimeFault(at) ? at : BigInt(at)).toBe(micros);
        expect(text.slice(0, 23)).toBe(
          new Date(Number((micros - (((micros % 1000n) + 1000n) % 1000n)) / 1000n)).toISOString().slice(0, 23),
        );
      }),
    );
    expect(readInstant('0001-01-01T00:00:00Z')).toBe(FIRST);
    expect(readInstant('9999-12-31T23:59:59.999999Z')).toBe(LAST);
  });

  test('instants that a number holds are numbers, so that equal ones are equal', () => {
    expect(readInstant('2024-01-01T00:00:00Z')).toBe(parseTime('2024-01-01T00:00:00Z'));
    expect(typeof readInstant('2255-06-05T23:47:34.740991Z')).toBe('number');
    expect(typeof readInstant('2255-06-05T23:47:34.740992Z')).toBe('bigint');
  });

  test.each(['0000-12-31T23:59:59Z', '0001-01-01T00:00:00+00:01', '9999-12-31T23:59:59-00:01'])(
    '%s lies outside',
    (text) => expect(readInstant(text)).toMatchObject({ fault: 'TIME_INVALID' }),
  );

  test('a repeated wall-clock time is read by its fold', () => {
    const repeated = '2024-11-03T01:30:00';
    expect(readInstant(repeated, 'America/New_York')).toMatchObject({ fault: 'TIME_AMBIGUOUS' });
    expect(readInstant(repeated, 'America/New_York', 0)).toBe(parseTime('2024-11-03T05:30:00Z'));
    expect(readInstant(repeated, 'America/New_York', 1)).toBe(parseTime('2024-11-03T06:30:00Z'));
    expect(readInstant('2024-11-03T03:30:00', 'America/New_York', 1)).toBe(parseTime('2024-11-03T08:30:00Z'));
    expect(readInstant('2024-03-10T02:30:00', 'America/New_York', 0)).toMatchObject({ fault: 'TIME_INVALID' });
  });

  test('a zone before its first standard time and at the ends of the calendar', () => {
    expect(formatTime(readInstant('0001-01-02T00:00:00', 'America/New_York') as bigint)).toBe(
      '0001-01-02T04:56:02.000000Z',
    );
    expect(formatTime(readInstant('9999-12-31T12:00:00', 'Asia/Tokyo') as bigint)).toBe('9999-12-31T03:00:00.000000Z');
  });
});
