import { SerinError } from '../errors.ts';

/** The first thing wrong with a spec: the field, its value, the rule it breaks. */
export function specInvalid(path: string, value: unknown, rule: string): SerinError {
  return new SerinError('SPEC_INVALID', `${path} is ${shown(value)}; ${rule}`, {
    fields: { field: path, value: value ?? null, rule },
  });
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** An unchecked JSON object at a path, read field by field. Unknown fields are refused: a misspelt guardrail must not vanish. */
export class CheckedFields {
  readonly path: string;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(value: unknown, path: string, known: readonly string[]) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw specInvalid(path, value, 'it must be an object');
    for (const name of Object.keys(value)) {
      if (!known.includes(name))
        throw specInvalid(
          `${path}.${name}`,
          (value as Record<string, unknown>)[name],
          `there is no such field; the fields are ${known.join(', ')}`,
        );
    }
    this.path = path;
    this.#values = value as Record<string, unknown>;
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  raw(name: string): unknown {
    return this.#values[name];
  }

  at(name: string): string {
    return `${this.path}.${name}`;
  }

  number(name: string, { min, max, exclusive = false }: { min: number; max: number; exclusive?: boolean }): number {
    const value = this.#values[name];
    const inside = typeof value === 'number' && (exclusive ? value > min && value < max : value >= min && value <= max);
    if (!inside) {
      const range =
        max === Infinity
          ? `${exclusive ? 'above' : 'at least'} ${min}`
          : `${exclusive ? 'strictly ' : ''}between ${min} and ${max}`;
      throw specInvalid(this.at(name), value, `it must be a number ${range}`);
    }
    return value as number;
  }

  count(name: string, min: number): number {
    const value = this.#values[name];
    if (!Number.isSafeInteger(value) || (value as number) < min)
      throw specInvalid(this.at(name), value, `it must be a whole number of at least ${min}`);
    return value as number;
  }

  durationMs(name: string, min = 0): number {
    const value = this.#values[name];
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > MAX_DURATION_MS) {
      throw specInvalid(
        this.at(name),
        value,
        `it must be a whole number of milliseconds from ${min} to ${MAX_DURATION_MS} (a year)`,
      );
    }
    return value as number;
  }

  text(name: string): string {
    const value = this.#values[name];
    if (typeof value !== 'string' || value === '')
      throw specInvalid(this.at(name), value, 'it must be a text that is not empty');
    return value;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.#values[name];
    const found = allowed.find((each) => each === value);
    if (found === undefined) throw specInvalid(this.at(name), value, `it must be one of ${allowed.join(', ')}`);
    return found;
  }

  truth(name: string): boolean {
    const value = this.#values[name];
    if (typeof value !== 'boolean') throw specInvalid(this.at(name), value, 'it must be true or false');
    return value;
  }

  list(name: string, minLength: number): readonly unknown[] {
    const value = this.#values[name];
    if (!Array.isArray(value) || value.length < minLength || value.length > MAX_LIST) {
      throw specInvalid(this.at(name), value, `it must be a list of ${minLength} to ${MAX_LIST} entries`);
    }
    return value;
  }
}

const MAX_DURATION_MS = 366 * 86_400_000;
const MAX_LIST = 100;
