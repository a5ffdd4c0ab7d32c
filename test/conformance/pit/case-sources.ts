/** Sources of a case in the product's terms: specs with renamed columns, and typed rows in order of arrival. */
import { SerinError } from '../../../domain/errors.ts';
import { type Instant, plus } from '../../../domain/instant.ts';
import type { ColumnSpec, EntitySpec, SourceSpec } from '../../../domain/project/spec.ts';
import type { Datum, FactKind } from '../../../features/history/fact.ts';
import type { CaseSource, CaseType } from './case-types.ts';
import { readTimeValue, readValue } from './case-values.ts';
import { malformed } from './json-fields.ts';

/** One stored row that becomes known at some time; others are never seen by anybody. */
export interface WorldRow {
  readonly kind: FactKind;
  readonly eventAt: Instant;
  readonly availableAt: Instant;
  readonly seq: number;
  /** By the names of the source's spec; a null key part is no key. */
  readonly row: Readonly<Record<string, Datum>>;
}

export interface WorldSource {
  readonly spec: SourceSpec;
  readonly entity: EntitySpec;
  readonly identity: CaseSource['identity'];
  /** Names of the key's columns in `spec`. */
  readonly keyColumns: readonly string[];
  /** In order of arrival. */
  readonly rows: readonly WorldRow[];
}

const KEY_TYPES: readonly string[] = ['str', 'i64', 'bool', 'ts'];

/**
 * What is ingested lies in 1684…2255, where instants are numbers, and tiles count on it. Cases go beyond: there a source is
 * declared to have operations, as those that the history kernel keeps.
 */
export function isBeyondNumbers(at: Instant): boolean {
  return typeof at === 'bigint';
}

/** @param askedBeyond some question is about an instant that is no number */
export function sourceOf(given: CaseSource, askedBeyond: boolean): WorldSource {
  const path = `sources.${given.name}`;
  if (given.assumeDelay !== null && given.assumeDelay < 0) {
    throw new SerinError('BAD_DURATION', `${path}.assume_delay_us cannot be negative, got ${given.assumeDelay}`);
  }
  const keyColumns = given.key.map((part, i) => {
    if (!KEY_TYPES.includes(part.type))
      throw malformed(`${path}.key[${i}].type`, part.type, `must be one of ${KEY_TYPES.join(', ')}`);
    return `k${i}`;
  });
  const rows = given.rows.flatMap((row, r): WorldRow[] => {
    const at = `${path}.rows[${r}]`;
    const eventAt = readTimeValue(row.event_at, `${at}.event_at`);
    const known = row.available_at === null ? null : readTimeValue(row.available_at, `${at}.available_at`);
    const key = given.key.map(({ name, type }, i) => readValue(row.key[i], type, `${at}.key.${name}`));
    const values = given.columns.map(({ name, type }) => readValue(row.v[name], type, `${at}.v.${name}`));
    const availableAt = known ?? (given.assumeDelay === null ? null : plus(eventAt, given.assumeDelay));
    if (availableAt === null) return [];
    const columns: Record<string, Datum> = {
      at: eventAt,
      known: availableAt,
      seq: row.seq,
      op: row.op,
      row: row.row_id,
    };
    key.forEach((part, i) => (columns[`k${i}`] = part));
    values.forEach((value, i) => (columns[`c${i}`] = value));
    return [{ kind: row.op, eventAt, availableAt, seq: row.seq, row: columns }];
  });
  const column = (name: string, type: CaseType, nullable = true): ColumnSpec => ({
    name,
    type,
    nullable,
    pii: false,
    description: '',
  });
  const spec: SourceSpec = {
    name: given.name,
    description: '',
    owner: 'conformance',
    columns: [
      column('at', 'ts', false),
      column('known', 'ts', false),
      column('seq', 'i64', false),
      column('op', 'str'),
      column('row', 'str'),
      ...given.key.map(({ type }, i) => column(`k${i}`, type)),
      ...given.columns.map(({ type }, i) => column(`c${i}`, type)),
    ],
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'column', name: 'known' },
    eventId: given.identity === 'key_event' ? [...keyColumns, 'at'] : given.identity === 'row_id' ? ['row'] : ['seq'],
    freshnessSlaSeconds: 60,
    ...(given.identity === 'append' ? {} : { revisions: 'versions' as const }),
    ...(askedBeyond || rows.some(hasOperation)
      ? { operation: { column: 'op', retract: 'retract', tombstone: 'tombstone' } }
      : {}),
  };
  const entity: EntitySpec = {
    name: given.name,
    keys: given.key.map(({ type }, i) => ({ name: `k${i}`, type: type as EntitySpec['keys'][number]['type'] })),
    description: '',
  };
  return { spec, entity, identity: given.identity, keyColumns, rows: rows.toSorted((a, b) => a.seq - b.seq) };
}

function hasOperation({ kind, eventAt, availableAt }: WorldRow): boolean {
  return kind !== 'put' || isBeyondNumbers(eventAt) || isBeyondNumbers(availableAt);
}
