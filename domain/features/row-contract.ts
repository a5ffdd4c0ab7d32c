/**
 * The contract of a source, row by row: what an event must look like to be stored. Nothing is repaired and no value is
 * converted (`"5"` is not 5); whatever breaks a rule is returned with all its reasons. `features/offline/ingest-sql.ts`
 * says the same in SQL for whole files, and a test holds the two together.
 */
import { columnsOf, compileExpression, type Row, type Value } from '../project/expression.ts';
import type { ColumnSpec, ProjectSpec, SourceSpec } from '../project/spec.ts';
import type { Micros } from '../time.ts';
import { type Operation, OPERATIONS } from './log-file.ts';
import { isTimeFault, readTime, TIME_RULES, type TimeFaultCode } from './time-text.ts';

export type RowReasonCode =
  | TimeFaultCode
  | 'COLUMN_UNKNOWN'
  | 'COLUMN_TYPE'
  | 'VALUE_MISSING'
  | 'VALUE_NULL'
  | 'VALUE_RANGE'
  | 'VALUE_NOT_FINITE'
  | 'AVAILABLE_AT_NULL'
  | 'DUPLICATE'
  | 'FORGOTTEN';

export interface RowReason {
  readonly code: RowReasonCode;
  /** Null when the reason is about the whole row. */
  readonly column: string | null;
  /** As it came; texts are cut after `MAX_VALUE_CHARS`. */
  readonly value: unknown;
  readonly rule: string;
}

export type RowCheck =
  | {
      readonly ok: true;
      readonly row: Row;
      readonly eventAt: Micros;
      readonly availableAt: Micros;
      readonly operation: Operation;
    }
  | { readonly ok: false; readonly reasons: readonly RowReason[] };

export interface RowContract {
  check(event: Readonly<Record<string, unknown>>): RowCheck;
}

export const MAX_VALUE_CHARS = 100;
export const AVAILABLE_AT_RULE = 'availableAt must give an instant in 1684…2255';

/** What `DUPLICATE` means for a source. */
export function duplicateRule({ revisions }: Pick<SourceSpec, 'revisions'>): string {
  return revisions === 'versions'
    ? 'the very same row, known at the same instant, is already stored, or earlier in this batch'
    : 'an event with the same eventId values is already stored, or earlier in this batch';
}

/** The keys of the views over a source, each once: a tombstone ends the older rows of at least one of them. */
export function keysOfSource({ views }: Pick<ProjectSpec, 'views'>, source: string): readonly (readonly string[])[] {
  const keys = views.filter((view) => view.source === source).map(({ key }) => key);
  return keys.filter((key, i) => keys.findIndex((other) => other.join('\0') === key.join('\0')) === i);
}

export function keyRule(keys: readonly (readonly string[])[]): string {
  return `a tombstone needs a whole key: ${keys.map((key) => key.join(' and ')).join(', or ')}`;
}

/** Columns that a row needs (as far as they are declared so) even when it removes something: the times, the identity, the operation. */
export function columnsOfRemovals(source: SourceSpec): ReadonlySet<string> {
  return new Set([
    source.eventAt,
    ...source.eventId,
    ...(source.operation === undefined ? [] : [source.operation.column]),
    ...columnsOf(source.availableAt),
  ]);
}

/** What a row does, by its operation column. */
export function createOperationReader({ operation }: Pick<SourceSpec, 'operation'>): (row: Row) => Operation {
  if (operation === undefined) return () => 'put';
  const { column, retract, tombstone } = operation;
  return (row) => {
    const value = row[column] ?? null;
    return value === null ? 'put' : value === retract ? 'retract' : value === tombstone ? 'tombstone' : 'put';
  };
}

/**
 * An `i64` is at most ±(2^53 − 1), in JSON a number: beyond it JSON readers disagree, and pushed events would not be what
 * files say. Larger identifiers are texts.
 * @param keys of the views over the source (`keysOfSource`); without any, tombstones are not asked for a key
 * @throws RangeError for a source that cannot be read at all (its `eventAt` is no `ts` column); a validated project has none.
 */
export function createRowContract(source: SourceSpec, keys: readonly (readonly string[])[] = []): RowContract {
  const needed = columnsOfRemovals(source);
  const columns = source.columns.map((spec) => {
    const mayBeNull = spec.nullable && spec.name !== source.eventAt;
    return { spec, mayBeNull, mayBeNullInRemoval: mayBeNull || !needed.has(spec.name) };
  });
  const operationOf = createOperationReader(source);
  if (!columns.some(({ spec }) => spec.name === source.eventAt && spec.type === 'ts')) {
    throw new RangeError(`${source.name}: eventAt names "${source.eventAt}", which is not one of its ts columns`);
  }
  const known = new Set(columns.map(({ spec }) => spec.name));
  const unknownRule = `the source has the columns ${[...known].join(', ')}`;
  const availableAtOf = compileExpression(source.availableAt);

  return {
    check(event) {
      const reasons: RowReason[] = [];
      const row: Record<string, Value> = {};
      for (const name of Object.keys(event)) {
        if (!known.has(name))
          reasons.push({ code: 'COLUMN_UNKNOWN', column: name, value: shown(event[name]), rule: unknownRule });
      }
      const operation = operationOf(event as Row);
      for (const { spec, mayBeNull, mayBeNullInRemoval } of columns) {
        const given = Object.hasOwn(event, spec.name) ? event[spec.name] : undefined;
        if (given === undefined || given === null) {
          if (!(operation === 'put' ? mayBeNull : mayBeNullInRemoval)) {
            const code = given === undefined ? 'VALUE_MISSING' : 'VALUE_NULL';
            reasons.push({ code, column: spec.name, value: null, rule: 'a value is required' });
          }
          row[spec.name] = null;
          continue;
        }
        const read = readValue(spec, source.zone, given);
        if (typeof read === 'object') {
          reasons.push({ code: read.code, column: spec.name, value: shown(given), rule: read.rule });
        } else {
          row[spec.name] = read;
        }
      }
      if (reasons.length > 0) return { ok: false, reasons };
      if (
        operation === 'tombstone' &&
        keys.length > 0 &&
        !keys.some((key) => key.every((name) => row[name] !== null))
      ) {
        return { ok: false, reasons: [{ code: 'VALUE_NULL', column: null, value: null, rule: keyRule(keys) }] };
      }
      const availableAt = availableAtOf(row);
      if (!Number.isSafeInteger(availableAt)) {
        const value = availableAt === null ? null : String(availableAt);
        return { ok: false, reasons: [{ code: 'AVAILABLE_AT_NULL', column: null, value, rule: AVAILABLE_AT_RULE }] };
      }
      return { ok: true, row, eventAt: row[source.eventAt] as Micros, availableAt: availableAt as Micros, operation };
    },
  };
}

/**
 * What makes two events one, as text: per `eventId` column a type tag, for text its length, then the value; a null is `n`.
 * The event id is the first half of its SHA-256. An `f64` is written as its 64 bits, so that no two numbers share a text;
 * but a whole one is written as an `i64` is, so that a column that is widened keeps its ids.
 *
 *   i64 `i<decimal>;`   ts `t<decimal µs>;`   f64 `f<64 binary digits>` or `i<decimal>;`   bool `b0|b1`   str `s<code points>:<text>`
 */
export function createEventIdentity(source: {
  readonly columns: readonly Pick<ColumnSpec, 'name' | 'type'>[];
  readonly eventId: readonly string[];
}): (row: Row) => string {
  const types = new Map(source.columns.map(({ name, type }) => [name, type]));
  const parts = source.eventId.map((name) => ({ name, type: types.get(name) }));
  const bits = new DataView(new ArrayBuffer(8));
  return (row) => {
    let text = '';
    for (const { name, type } of parts) {
      const value = row[name] ?? null;
      if (value === null) text += 'n';
      else if (type === 'i64') text += `i${value};`;
      else if (type === 'ts') text += `t${value};`;
      else if (type === 'bool') text += value === true ? 'b1' : 'b0';
      else if (type === 'f64' && Number.isSafeInteger(value)) text += `i${value};`;
      else if (type === 'f64') {
        bits.setFloat64(0, value as number);
        text += `f${bits.getBigUint64(0).toString(2).padStart(64, '0')}`;
      } else text += `s${Array.from(value as string).length}:${value}`;
    }
    return text;
  };
}

/**
 * What makes two rows of the log the same row, as text; a row whose text is known already is a `DUPLICATE`. The version id is
 * the first half of its SHA-256, but for an event of a source without versions, whose version id is its event id.
 *
 * Of a source without versions: for a retract the event it removes, `r<event identity>`. Else the whole row,
 * `<operation's position>a<available_at>;` and then per column that is not null, ascending by name, `<characters of the name>:<name>`
 * and the value as `createEventIdentity` writes it: so the text stays as it is when a source gains a nullable column, changes
 * the order of its columns or widens an `i64`.
 * @returns null where the version id is the event id
 */
export function createVersionIdentity(
  source: SourceSpec,
): (row: Row, operation: Operation, availableAt: Micros) => string | null {
  const eventIdentity = createEventIdentity(source);
  const columns = source.columns
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type }) => ({
      name,
      tag: `${Array.from(name).length}:${name}`,
      text: createEventIdentity({ columns: [{ name, type }], eventId: [name] }),
    }));
  return (row, operation, availableAt) => {
    if (source.revisions !== 'versions') {
      if (operation === 'put') return null;
      if (operation === 'retract') return `r${eventIdentity(row)}`;
    }
    let text = `${OPERATIONS.indexOf(operation)}a${availableAt};`;
    for (const { name, tag, text: valueText } of columns)
      if ((row[name] ?? null) !== null) text += tag + valueText(row);
    return text;
  };
}

/** The UUID text of an event id, from the SHA-256 (lower-case hex) of its identity: the first 128 bits, as they are. */
export function eventIdOfDigest(sha256Hex: string): string {
  const hex = sha256Hex;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** The rule of a column's type, for people. */
export function typeRule({ type }: Pick<ColumnSpec, 'type'>): string {
  switch (type) {
    case 'i64':
      return 'a whole number';
    case 'f64':
      return 'a number';
    case 'bool':
      return 'true or false';
    case 'str':
      return 'text of well-formed Unicode without U+0000';
    case 'ts':
      return TIME_RULES.TIME_INVALID;
  }
}

export const FINITE_RULE = 'a finite number';

/** Inclusive bounds: the declared ones, for an `i64` at most ±(2^53 − 1), beyond which numbers are not exact. */
export function boundsOf({ type, min, max }: ColumnSpec): { readonly min: number; readonly max: number } {
  const widest = type === 'i64' ? Number.MAX_SAFE_INTEGER : Infinity;
  return { min: Math.max(min ?? -widest, -widest), max: Math.min(max ?? widest, widest) };
}

export function rangeRule(column: ColumnSpec): string {
  const { min, max } = boundsOf(column);
  return `between ${min} and ${max}`;
}

interface Fault {
  readonly code: RowReasonCode;
  readonly rule: string;
}

/** Unpaired surrogates have no UTF-8, and PostgreSQL stores no U+0000. */
const UNSTORABLE_TEXT = /[\p{Surrogate}\0]/u;

function readValue(column: ColumnSpec, zone: string | null, given: unknown): Exclude<Value, null> | Fault {
  const wrongType: Fault = { code: 'COLUMN_TYPE', rule: typeRule(column) };
  switch (column.type) {
    case 'i64':
    case 'f64': {
      if (typeof given !== 'number') return wrongType;
      if (!Number.isFinite(given)) return { code: 'VALUE_NOT_FINITE', rule: FINITE_RULE };
      if (column.type === 'i64' && !Number.isInteger(given)) return wrongType;
      const { min, max } = boundsOf(column);
      // −0 becomes 0: they are equal, so they must not be told apart by their bits
      return given < min || given > max ? { code: 'VALUE_RANGE', rule: rangeRule(column) } : given + 0;
    }
    case 'bool':
      return typeof given === 'boolean' ? given : wrongType;
    case 'str':
      return typeof given === 'string' && !UNSTORABLE_TEXT.test(given) ? given : wrongType;
    case 'ts': {
      if (typeof given !== 'string') return wrongType;
      const time = readTime(given, zone);
      return isTimeFault(time) ? { code: time.fault, rule: time.rule } : time;
    }
  }
}

function shown(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'boolean' || value === null || value === undefined) return value ?? null;
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? typeof value);
  return text.length > MAX_VALUE_CHARS ? `${text.slice(0, MAX_VALUE_CHARS)}…` : text;
}
