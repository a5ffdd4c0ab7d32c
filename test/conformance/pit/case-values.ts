/** Values of a case by their type: out of JSON into what kernels compute with, and back. */
import { isTimeFault, formatTime, isZone, readInstant, timeFault } from '../../../domain/features/time-text.ts';
import { SerinError } from '../../../domain/errors.ts';
import type { Instant } from '../../../domain/instant.ts';
import { toInstant } from '../../../domain/instant.ts';
import type { Datum } from '../../../features/history/fact.ts';
import type { AnswerValue, CaseType } from './case-types.ts';
import { Fields, malformed } from './json-fields.ts';

const FLOATS: Readonly<Record<string, number>> = { NaN: NaN, Infinity: Infinity, '-Infinity': -Infinity };
const LEAST_I64 = -(2n ** 63n);
const GREATEST_I64 = 2n ** 63n - 1n;

/** @throws SerinError TIME_… for a time that is refused, INPUT_INVALID for a value that is not of its type */
export function readValue(value: unknown, type: CaseType, path: string): Datum {
  if (value === null || value === undefined) return null;
  switch (type) {
    case 'i64':
      return readInteger(value, path);
    case 'f64': {
      const number = typeof value === 'bigint' ? Number(value) : typeof value === 'string' ? FLOATS[value] : value;
      if (typeof number === 'number') return number === 0 ? 0 : number;
      throw malformed(path, value, 'must be a number, "NaN", "Infinity" or "-Infinity"');
    }
    case 'str':
      if (typeof value === 'string') return value;
      throw malformed(path, value, 'must be text');
    case 'bool':
      if (typeof value === 'boolean') return value;
      throw malformed(path, value, 'must be true or false');
    case 'ts':
      return readTimeValue(value, path);
  }
}

function readInteger(value: unknown, path: string): number | bigint {
  if (typeof value === 'string' && /^-?(0|[1-9][0-9]*)$/.test(value)) {
    const integer = BigInt(value);
    if (integer >= LEAST_I64 && integer <= GREATEST_I64) return toInstant(integer);
  }
  throw malformed(path, value, 'must be a 64-bit integer as decimal text');
}

/** @throws SerinError TIME_… */
export function readTimeValue(value: unknown, path: string): Instant {
  let at;
  if (typeof value === 'string') {
    at = readInstant(value);
  } else {
    const fields = new Fields(value, path);
    const fold = fields.has('fold') ? fields.raw('fold') : null;
    if (fold !== null && fold !== 0 && fold !== 1) throw malformed(fields.at('fold'), fold, 'must be 0 or 1');
    const zone = fields.text('zone');
    const local = fields.text('local');
    fields.done();
    if (/(?:[Zz]|[+-]\d\d:\d\d)$/.test(local))
      throw malformed(fields.at('local'), local, 'must carry no offset: it has a zone');
    at = isZone(zone) ? readInstant(local, zone, fold) : timeFault('TIME_INVALID');
  }
  if (!isTimeFault(at)) return at;
  throw new SerinError(at.fault, `${path}: ${JSON.stringify(value)} is refused: ${at.rule}`);
}

export function writeValue(value: Datum, type: CaseType | 'int'): AnswerValue {
  if (value === null) return null;
  switch (type) {
    case 'i64':
    case 'int':
      return String(value);
    case 'f64': {
      const number = Number(value);
      return Number.isFinite(number) ? number + 0 : String(number);
    }
    case 'ts':
      return formatTime(value as Instant);
    case 'bool':
    case 'str':
      return value as string | boolean;
  }
}

/**
 * JSON in which a double is read back as itself by readers that tell whole numbers from doubles: beyond 2^53 JavaScript
 * writes all the digits that it needs and zeros after them, which is another whole number.
 */
export function writeJson(value: unknown): string {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return value.toExponential();
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(writeJson).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined);
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}: ${writeJson(member)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}
