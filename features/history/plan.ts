/**
 * A feature view compiled for the history kernel, which keeps the facts of a key and answers for any instant at or after
 * its fold point: the whole of the selection rule (versions, tombstones, TTL, both boundaries, exact values of every type).
 * Views that need none of that are compiled for the tile kernel (`features/kernel/view-plan.ts`), which is smaller and faster.
 */
import type { ColumnType } from '../../domain/project/expression.ts';
import type { AggregateFunction, KeyPart } from '../../domain/project/spec.ts';
import type { Datum } from './fact.ts';
import type { Instant } from './instant.ts';

/** A value that facts carry: a column or expression that some output aggregates, filters or groups by. */
export interface Slot {
  readonly type: ColumnType;
  read(row: Readonly<Record<string, Datum>>): Datum;
  /** The same over the log's columns. */
  readonly sql: string;
}

/** `i64` sums are integers of any size: a number where safe, a bigint beyond. */
export type OutputType = ColumnType | { readonly list: 'pairs'; readonly by: ColumnType; readonly of: ColumnType };
/** What an output is; for outputs with `by` (and `top_k`) the pairs [group, value], ascending by group. */
export type OutputValue = Datum | readonly (readonly [Exclude<Datum, null>, Datum])[];

export interface HistoryWindow {
  /** Null: all of the past. */
  readonly length: Instant | null;
  readonly hop: number | null;
  readonly offset: Instant;
}

export interface HistoryOutput {
  readonly feature: string;
  readonly window: string | null;
  /** `<feature>` for latest values, else `<feature>__<window>` */
  readonly name: string;
  readonly type: OutputType;
  readonly fn: AggregateFunction;
  /** Position of `of` in `slots`; −1: none. */
  readonly slot: number;
  /** Position of the condition, a bool slot; −1: every row. */
  readonly where: number;
  readonly by: number;
  /** Null for `latest`. */
  readonly over: HistoryWindow | null;
  readonly nulls: 'keep' | 'skip';
  readonly unit: number;
  readonly k: number;
  readonly q: number;
  readonly exactUpTo: number;
  readonly default: Datum;
}

export type Identity = 'append' | 'key_event' | 'row_id';

export interface HistoryPlan {
  /** `name@version` */
  readonly id: string;
  readonly source: string;
  readonly entity: string;
  readonly keyColumns: readonly string[];
  /** Empty: a view of everything, under one key of no parts. */
  readonly keyParts: readonly KeyPart[];
  readonly identity: Identity;
  readonly boundary: 'inclusive' | 'exclusive';
  /** Null: values never expire. */
  readonly ttl: Instant | null;
  readonly slots: readonly Slot[];
  readonly outputs: readonly HistoryOutput[];
  /** Facts with `eventAt ≤ cut − horizon` are in no window and no TTL at `cut`; null: there is no such instant. */
  readonly horizon: Instant | null;
  /** Says how state is laid out; stored with it, so that bytes of another plan are refused. */
  readonly layout: number;
}
