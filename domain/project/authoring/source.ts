/** Sources: streams of events with a contract for their rows, and the columns that row expressions are written over. */
import type { ColumnType } from '../expression.ts';
import type { ColumnSpec, OperationSpec, SourceSpec } from '../spec.ts';
import { type Duration, inSeconds } from './durations.ts';
import { columnTerm, type Instant, type TermOf } from './terms.ts';

interface ColumnOptions {
  readonly description?: string;
  readonly nullable?: boolean;
  /** Personal data: redacted before a prediction is logged, and marked on every feature that comes from it. */
  readonly pii?: boolean;
}

interface NumberColumnOptions extends ColumnOptions {
  /** Inclusive; a row outside is quarantined. */
  readonly min?: number;
  readonly max?: number;
}

/** A column or request field before it has a name. */
export interface ColumnDefinition<T extends ColumnType = ColumnType> extends NumberColumnOptions {
  readonly type: T;
}

/** Columns of a source and fields of a request, by type: `column.f64({ min: 0 })`. Not null unless said. */
export const column = {
  i64: (options: NumberColumnOptions = {}): ColumnDefinition<'i64'> => ({ ...options, type: 'i64' }),
  f64: (options: NumberColumnOptions = {}): ColumnDefinition<'f64'> => ({ ...options, type: 'f64' }),
  bool: (options: ColumnOptions = {}): ColumnDefinition<'bool'> => ({ ...options, type: 'bool' }),
  str: (options: ColumnOptions = {}): ColumnDefinition<'str'> => ({ ...options, type: 'str' }),
  ts: (options: ColumnOptions = {}): ColumnDefinition<'ts'> => ({ ...options, type: 'ts' }),
} as const;

export type Columns = Readonly<Record<string, ColumnDefinition>>;

/** One term per column. */
export type RowOf<C extends Columns> = { readonly [Name in keyof C]: TermOf<C[Name]['type']> };

export type NamesOfType<C extends Columns, T extends ColumnType> = {
  [Name in keyof C & string]: C[Name]['type'] extends T ? Name : never;
}[keyof C & string];

export interface Source<C extends Columns = Columns> {
  readonly spec: SourceSpec;
  readonly row: RowOf<C>;
}

interface SourceDefinition<C extends Columns> {
  readonly description: string;
  readonly owner: string;
  readonly columns: C;
  readonly eventAt: NamesOfType<C, 'ts'>;
  /** IANA zone of times written without an offset; left out: such times are refused. */
  readonly zone?: string;
  /** When Serin could have known the event. */
  readonly availableAt: (row: RowOf<C>) => Instant;
  readonly eventId: readonly (keyof C & string)[];
  readonly freshnessSla: Duration;
  /** `versions`: a later row with the same `eventId` corrects the earlier one. Left out: it is a duplicate and set aside. */
  readonly revisions?: 'none' | 'versions';
  /** The column that says whether a row removes something, and the words it says it with. Needs `revisions: 'versions'` to retract. */
  readonly operation?: {
    readonly column: NamesOfType<C, 'str'>;
    /** Takes back the event of the same `eventId`. */
    readonly retract?: string;
    /** Ends everything older of the same key, for good. */
    readonly tombstone?: string;
  };
}

export function source<const C extends Columns>(name: string, definition: SourceDefinition<C>): Source<C> {
  const { columns, description, owner, eventAt, zone = null, eventId, freshnessSla, revisions, operation } = definition;
  const row = termsOf(columns);
  return {
    row,
    spec: {
      name,
      description,
      owner,
      columns: Object.entries(columns).map(([columnName, options]) => columnSpec(columnName, options)),
      eventAt,
      zone,
      availableAt: definition.availableAt(row).expression,
      eventId,
      freshnessSlaSeconds: inSeconds(freshnessSla),
      ...(revisions !== undefined && { revisions }),
      ...(operation !== undefined && { operation: operationSpec(operation) }),
    },
  };
}

function operationSpec({
  column: named,
  retract = null,
  tombstone = null,
}: {
  readonly column: string;
  readonly retract?: string | null;
  readonly tombstone?: string | null;
}): OperationSpec {
  return { column: named, retract, tombstone };
}

function columnSpec(
  name: string,
  { type, nullable = false, pii = false, description = '', min, max }: ColumnDefinition,
): ColumnSpec {
  return {
    name,
    type,
    nullable,
    ...(min !== undefined && { min }),
    ...(max !== undefined && { max }),
    pii,
    description,
  };
}

export function termsOf<C extends Columns>(columns: C): RowOf<C> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, { type }]) => [name, columnTerm(name, type)]),
  ) as RowOf<C>;
}
