/** Reads parsed JSON field by field; whatever does not fit is refused with its path, its value and the rule. */
import { SerinError } from '../../../domain/errors.ts';

export function malformed(path: string, value: unknown, rule: string): SerinError {
  return new SerinError('INPUT_INVALID', `${path} ${rule}, got ${shortJson(value)}`, { fields: { field: path, rule } });
}

function shortJson(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? typeof value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Whole numbers that a double would round become bigints; everything else is `JSON.parse`. @throws SerinError INPUT_INVALID */
export function parseJson(text: string, path: string): unknown {
  const marked = text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/gs, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${BIG}${token}"` : token,
  );
  try {
    return JSON.parse(marked, (_name, value: unknown) =>
      typeof value === 'string' && value.startsWith(BIG) ? exactInteger(value.slice(BIG.length)) : value,
    );
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `${path} is no JSON: ${(error as Error).message}`, { cause: error });
  }
}

/** No text of a file begins like this: a NUL is written with an escape there. */
const BIG = '\uE000serin-integer:';

function exactInteger(digits: string): number | bigint {
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits);
}

/** One object; `done` refuses fields that nobody asked for, so that a misspelt one is not passed over. */
export class Fields {
  readonly path: string;
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly asked = new Set<string>();

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw malformed(path, value, 'must be an object');
    this.path = path;
    this.values = value as Readonly<Record<string, unknown>>;
  }

  has(name: string): boolean {
    this.asked.add(name);
    return Object.hasOwn(this.values, name) && this.values[name] !== undefined;
  }

  raw(name: string): unknown {
    return this.has(name) ? this.values[name] : undefined;
  }

  text(name: string): string {
    const value = this.raw(name);
    if (typeof value !== 'string') throw malformed(this.at(name), value, 'must be text');
    return value;
  }

  oneOf<const T extends string>(name: string, allowed: readonly T[], absent?: T): T {
    if (!this.has(name) && absent !== undefined) return absent;
    const value = this.raw(name);
    if (!allowed.includes(value as T)) throw malformed(this.at(name), value, `must be one of ${allowed.join(', ')}`);
    return value as T;
  }

  flag(name: string): boolean {
    if (!this.has(name)) return false;
    const value = this.raw(name);
    if (typeof value !== 'boolean') throw malformed(this.at(name), value, 'must be true or false');
    return value;
  }

  /** A whole number of any size; a number where safe. */
  integer(name: string): number | bigint {
    const value = this.raw(name);
    if (typeof value === 'bigint') return value;
    if (typeof value !== 'number' || !Number.isInteger(value)) {
      throw malformed(this.at(name), value, 'must be a whole number');
    }
    return Number.isSafeInteger(value) ? value + 0 : BigInt(value);
  }

  list<T>(name: string, read: (value: unknown, path: string) => T): T[] {
    const value = this.raw(name);
    if (!Array.isArray(value)) throw malformed(this.at(name), value, 'must be a list');
    return value.map((item, i) => read(item, `${this.at(name)}[${i}]`));
  }

  object(name: string): Fields {
    return new Fields(this.raw(name), this.at(name));
  }

  /** Names and values of an object whose names are free. */
  entries(name: string): [string, unknown][] {
    const fields = this.object(name);
    return Object.entries(fields.values);
  }

  at(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }

  done(): void {
    const stranger = Object.keys(this.values).find((name) => !this.asked.has(name));
    if (stranger === undefined) return;
    throw malformed(
      this.at(stranger),
      this.values[stranger],
      `is no field of the schema (${[...this.asked].join(', ')})`,
    );
  }
}
