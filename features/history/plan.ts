/**
 * A feature view compiled for the history kernel, which keeps the facts of a key and answers for any instant at or after
 * its fold point: the whole of the selection rule (versions, tombstones, TTL, both boundaries, exact values of every type).
 * Views that need none of that are compiled for the tile kernel (`features/kernel/view-plan.ts`), which is smaller and faster.
 */
import type { ColumnType } from '../../domain/project/expression.ts';
import type { OutputType } from '../../domain/project/output-type.ts';
import type { AggregateFunction, KeyPart } from '../../domain/project/spec.ts';
import type { Aggregate } from './aggregates.ts';
import type { Datum } from './fact.ts';
import type { Instant } from '../../domain/instant.ts';

/** A value that facts carry: a column or expression that some output aggregates, filters or groups by. */
export interface Slot {
  readonly type: ColumnType;
  read(row: Readonly<Record<string, Datum>>): Datum;
  /** The same over the log's columns. */
  readonly sql: string;
}

export type { OutputType };
/** What an output is; `i64` sums are integers of any size: a number where safe, a bigint beyond. For outputs with `by` (and `top_k`) the pairs [group, value], ascending by group. */
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

/**
 * What makes facts of one key versions of one row: nothing; their `eventAt` (the event's id is its key and time); their
 * `identity`. Only rows of the last kind can move, to another time or key: they come through `row-index.ts`.
 */
export type Identity = 'append' | 'key_event' | 'row_id';

/** Accumulators of all windows with one hop (null: of all of the past, up to `offset` before the cut), kept instead of facts. */
export interface TileSet {
  readonly hop: number | null;
  readonly offset: Instant;
  /** The longest window; null for all of the past. */
  readonly length: Instant | null;
  /** Outputs that need an accumulator of their own; others of the set read the same one. */
  readonly fields: readonly number[];
}

/** Where an output's accumulators are. */
export interface TileField {
  readonly set: number;
  readonly field: number;
}

/** Outputs that are read from one accumulator over one window. */
export interface WindowReading {
  readonly over: HistoryWindow;
  /** Positions of the outputs; the first one stands for all in what is accumulated. */
  readonly outputs: readonly number[];
  /** Null: read from facts. */
  readonly tiles: TileField | null;
  /** Whether what leaves the window can be taken away from the accumulator (`sliding.ts`). */
  readonly slides: boolean;
}

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
  /** One per output. */
  readonly aggregates: readonly Aggregate[];
  /** Rows are never corrected, retracted or ended by a tombstone. */
  readonly appendOnly: boolean;
  /** Only of append-only views. */
  readonly tileSets: readonly TileSet[];
  readonly readings: readonly WindowReading[];
  /** Positions of the `latest` outputs. */
  readonly latest: readonly number[];
  /** Facts with `eventAt ≤ cut − horizon` are in no window and no TTL at `cut`; null: there is no such instant. */
  readonly horizon: Instant | null;
  /** The same for windows alone, and for windows that are read from facts; 0: there are none. */
  readonly windowReach: Instant | null;
  readonly factReach: Instant | null;
  /** Says how state is laid out; stored with it, so that bytes of another plan are refused. */
  readonly layout: number;
}
