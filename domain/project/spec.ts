/**
 * A project as plain JSON: what the typed definitions of `authoring.ts` compile to, what `serin apply` sends, what is
 * stored and hashed. Every other room reads these types and none of the authoring ones.
 */
import type { CalibrationMethod } from '../calibration/calibration.ts';
import type { GateSpec } from '../gates/gate-spec.ts';
import type { SliceThresholds } from '../registry/post-processing.ts';
import type { RolloutPolicy } from '../rollout/policy.ts';
import type { TrainerSpec } from '../training/trainer-spec.ts';
import type { Micros } from '../time.ts';
import type { ColumnType, Expression } from './expression.ts';

export const PROJECT_FORMAT = 'serin.project/1';

export interface ProjectSpec {
  readonly format: typeof PROJECT_FORMAT;
  readonly name: string;
  readonly description: string;
  readonly sources: readonly SourceSpec[];
  readonly entities: readonly EntitySpec[];
  readonly views: readonly FeatureViewSpec[];
  readonly featureSets: readonly FeatureSetSpec[];
  readonly spines: readonly SpineSpec[];
  readonly labels: readonly LabelSpec[];
  readonly models: readonly ModelSpec[];
}

export interface ColumnSpec {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
  /** Inclusive range of a number; a row outside is quarantined. */
  readonly min?: number;
  readonly max?: number;
  readonly pii: boolean;
  readonly description: string;
}

/** A stream of immutable events. A row that breaks the contract is quarantined with its reasons, never repaired. */
export interface SourceSpec {
  readonly name: string;
  readonly description: string;
  readonly owner: string;
  readonly columns: readonly ColumnSpec[];
  /** The `ts` column that says when the event happened. */
  readonly eventAt: string;
  /** IANA zone of wall-clock times in the input; null: every time must carry its offset. */
  readonly zone: string | null;
  /** When Serin could have known the event (`ts`), over the source's columns. */
  readonly availableAt: Expression;
  /** Columns whose values make one event. */
  readonly eventId: readonly string[];
  readonly freshnessSlaSeconds: number;
  /**
   * `none` (absent: none): a second event with the same `eventId` values is a duplicate and set aside.
   * `versions`: it is a correction, the version known latest by (available_at, ingest_seq) stands; also one that changes
   * the key or the time. The very same row again (every column, known at the same instant) is still a duplicate.
   */
  readonly revisions?: 'none' | 'versions';
  /** Absent: every row is an event. */
  readonly operation?: OperationSpec;
}

/**
 * A `str` column that says what a row does. A `retract` removes the event with its `eventId`; a `tombstone` ends everything
 * older of its key, also what arrives later. Any other value, or null, is an event. Both need only the columns of
 * `eventId`, the key and the times.
 */
export interface OperationSpec {
  readonly column: string;
  readonly retract: string | null;
  readonly tombstone: string | null;
}

export interface KeyPart {
  readonly name: string;
  readonly type: 'str' | 'i64' | 'bool' | 'ts';
}

export interface EntitySpec {
  readonly name: string;
  readonly keys: readonly KeyPart[];
  readonly description: string;
}

/**
 * Over the live rows of a window that pass `where`; nulls of `of` are skipped but by `count` without `of`, `rate`, and
 * `first`/`last` that keep them. Empty: `count`, `rate` and the distinct counts are 0, the others are null; then `default`
 * replaces null.
 *
 *   count, sum, mean, min, max, first, last            first and last by position (event_at, available_at, ingest_seq)
 *   share                                              the part of the rows for which `of` (a condition) holds
 *   rate                                               rows × `unitMicros` / length
 *   variance_pop, stddev_pop (n), variance_samp, stddev_samp (n − 1; null below two values)
 *   count_distinct                                     exact
 *   approx_count_distinct                              exact up to `exactUpTo` values, HyperLogLog beyond
 *   top_k                                              the `k` most frequent values, by (count descending, value), as a list
 *   quantile                                           the value at `q`, within a relative error of 1 % (DDSketch)
 *   latest                                             of no window: the newest live row's value, within the view's TTL
 */
export type AggregateFunction =
  | 'count'
  | 'sum'
  | 'mean'
  | 'min'
  | 'max'
  | 'share'
  | 'rate'
  | 'variance_pop'
  | 'variance_samp'
  | 'stddev_pop'
  | 'stddev_samp'
  | 'first'
  | 'last'
  | 'count_distinct'
  | 'approx_count_distinct'
  | 'top_k'
  | 'quantile'
  | 'latest';

/**
 * `(t − length, t]` by event time, for an exclusive view `[t − length, t)`. With a hop the start is moved down to a multiple
 * of it (the sawtooth window `(floor_hop(t − length), t]`), so that state is a handful of tiles; without one the window is
 * exact and the state keeps the events.
 */
export interface WindowSpec {
  readonly name: string;
  /** Null: all of the past. */
  readonly lengthMicros: number | null;
  readonly hopMicros: number | null;
  /** Moves both ends of the window back (not what is known); absent: 0. Not with a hop. */
  readonly offsetMicros?: number;
}

export interface AggregateSpec {
  readonly name: string;
  readonly fn: AggregateFunction;
  /** What is aggregated, over the source's columns: a number, for `share` a condition, for `count` (of rows) and `rate` absent. */
  readonly of: Expression | null;
  /** Rows for which this does not hold (false or null) do not take part. */
  readonly where: Expression | null;
  /** At least one; for `latest` none. */
  readonly windows: readonly WindowSpec[];
  readonly default: number | string | boolean | null;
  readonly description: string;
  /** Group by: the value is a list of [group, aggregate], ascending by group; rows whose group is null are left out. */
  readonly by?: Expression;
  /** For `first`, `last` and `latest`: whether a null value can be it (absent: keep). */
  readonly nulls?: 'keep' | 'skip';
  /** For `rate`; absent: a second. */
  readonly unitMicros?: number;
  /** For `top_k`: 1…1,000. */
  readonly k?: number;
  /** For `quantile`: 0…1. */
  readonly q?: number;
  /** For `approx_count_distinct`; absent: 1,024. */
  readonly exactUpTo?: number;
}

export interface FeatureViewSpec {
  readonly name: string;
  readonly version: number;
  readonly entity: string;
  readonly source: string;
  /** Source columns that hold the entity's key, in the order of its parts. A row with a null part belongs to no entity. */
  readonly key: readonly string[];
  readonly features: readonly AggregateSpec[];
  readonly owner: string;
  readonly description: string;
  /**
   * `inclusive` (absent): what is known at `asOf` counts. `exclusive`: only what was known a microsecond before, on both
   * clocks; demanded where the availability of events is assumed and not recorded.
   */
  readonly boundary?: 'inclusive' | 'exclusive';
  /** A `latest` value whose row is older than this (by event time, from `asOf`) is expired; exactly as old is alive. Absent: never. */
  readonly ttlMicros?: number;
  /** How old the newest event may be before the view counts as stale; absent: the source's. */
  readonly freshnessSlaSeconds?: number;
}

export interface RequestField {
  readonly name: string;
  readonly type: ColumnType;
  readonly description: string;
  /** Its values are personal data and never logged as they are (`personal-data.ts`); absent: false. */
  readonly pii?: boolean;
}

export interface ViewUse {
  /** The role of the view in this set; features are named `<alias>__<feature>__<window>`. */
  readonly alias: string;
  /** `name@version` */
  readonly view: string;
  /** Request fields that hold the key, in the order of the entity's parts. */
  readonly key: readonly string[];
}

export type FeatureSpec =
  | {
      readonly kind: 'view';
      readonly name: string;
      readonly alias: string;
      readonly feature: string;
      /** Null for a `latest` value. */
      readonly window: string | null;
    }
  /** Computed at read time over the request fields, `as_of` (a `ts`) and other features of the set. */
  | { readonly kind: 'derived'; readonly name: string; readonly expression: Expression; readonly description: string };

/** The exact, ordered input of a model: column i of the feature vector is `features[i]`. */
export interface FeatureSetSpec {
  readonly name: string;
  readonly version: number;
  readonly request: readonly RequestField[];
  readonly views: readonly ViewUse[];
  readonly features: readonly FeatureSpec[];
  readonly description: string;
}

/** Observation rows: one per event of a source, at the instant `asOf`, with the request fields as they would have been sent. */
export interface SpineSpec {
  readonly name: string;
  /** With `sql` the first of its sources. */
  readonly source: string;
  readonly asOf: Expression;
  readonly where: Expression | null;
  readonly request: readonly { readonly name: string; readonly value: Expression }[];
  /** Rows by a query instead: `asOf` is then its column `as_of`, `where` null and `request` empty. Labels need a window. */
  readonly sql?: SpineQuerySpec;
}

/**
 * One SELECT (DuckDB) that gives `as_of` (BIGINT, µs) and every request field by its name. Its tables are the sources, each
 * with event_at, available_at, ingest_seq and the source's own columns (`ts` as BIGINT µs): one row per event, as it stands
 * at the dataset's knowledge cut. It may read nothing else and call nothing that differs from run to run.
 */
export interface SpineQuerySpec {
  readonly text: string;
  readonly sources: readonly string[];
}

/**
 * The outcome of the spine's own event: `of` over its source's columns, known from the event's `availableAt` on.
 * A row whose event is not available at the dataset's knowledge cut is `IMMATURE`, never negative.
 */
export interface LabelSpec {
  readonly name: string;
  readonly source: string;
  readonly of: Expression;
  readonly description: string;
  /** Absent: the label is of the spine's own event. */
  readonly window?: LabelWindowSpec;
}

/**
 * A label of events after `asOf`: those of `source` with the row's key in `(t + gap, t + gap + horizon]` (exclusive:
 * `[t + gap, t + gap + horizon)`), as known at the dataset's knowledge cut. It is mature when the cut is at least `delay`
 * after the end of what is observed; a censoring event (the first after `asOf` and before the window's end) ends it early.
 *
 *   fn `any`  POSITIVE when an event (that passes `where`) is there, NEGATIVE when mature and none, else IMMATURE or CENSORED
 *   others    as in views, over `of` (`rate`: rows in a second of the horizon): VALUE, or IMMATURE or CENSORED with null
 */
export interface LabelWindowSpec {
  readonly fn: 'any' | Exclude<AggregateFunction, 'latest' | 'share' | 'top_k' | 'quantile' | 'approx_count_distinct'>;
  readonly where: Expression | null;
  /** Columns of `source` that hold the key, and the request fields they equal, in the same order. */
  readonly key: readonly string[];
  readonly on: readonly string[];
  readonly boundary: 'inclusive' | 'exclusive';
  readonly gapMicros: number;
  readonly horizonMicros: number;
  readonly delayMicros: number;
  /** `any` alone: a hit counts before the row is mature. */
  readonly earlyPositive: boolean;
  readonly censor: {
    readonly source: string;
    readonly key: readonly string[];
    readonly on: readonly string[];
    readonly where: Expression | null;
  } | null;
}

export interface TrainingSpec {
  readonly name: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly trainer: TrainerSpec;
  readonly split: SplitSpec;
  readonly seed: number;
  readonly description: string;
  /** Fitted on the rows that the trainer holds out to validate; absent: scores are served as the model gives them. */
  readonly calibration?: CalibrationMethod;
}

/**
 * Train on `[trainFrom, testFrom)`, evaluate on `[testFrom, testTo)`. A training row whose label is not known at `testFrom` is
 * `PURGED`. Samples are drawn by a seeded hash of the row, so that they do not depend on the order of rows.
 */
export interface SplitSpec {
  readonly trainFrom: Micros;
  readonly testFrom: Micros;
  readonly testTo: Micros;
  readonly trainRows: number | null;
  readonly testRows: number | null;
  /** Rows this long after the test range's own label windows are left out too; absent: 0. */
  readonly embargoMicros?: number;
  /** A request field: training rows that share its value with a test row are left out (`GROUP_PURGED`). */
  readonly group?: string;
}

export interface MonitorSpec {
  readonly name: string;
  readonly kind: 'input-drift' | 'score-drift' | 'quality';
  readonly everyMs: number;
  readonly minRows: number;
  readonly owner: string;
  readonly runbook: string;
}

export interface ModelSpec {
  readonly name: string;
  readonly description: string;
  readonly owner: string;
  readonly riskTier: 'low' | 'medium' | 'high';
  readonly task: 'binary';
  readonly spine: string;
  readonly label: string;
  /** Score from which an answer's label is 1. */
  readonly threshold: number;
  /** Names of label 0 and label 1. */
  readonly classes?: readonly [string, string];
  /** Other thresholds for some values of a request field, which every feature set of the model asks for. */
  readonly slices?: SliceThresholds;
  readonly latencyBudgetMsP99: number;
  /** The rule baseline, version 0: the first champion and the last rung of the fallback ladder. */
  readonly rule: { readonly featureSet: string; readonly expression: Expression };
  readonly gates: readonly GateSpec[];
  readonly rollout: RolloutPolicy;
  readonly monitors: readonly MonitorSpec[];
  /** Share of champion answers that are logged; canary, shadow, fallback and errors always are. */
  readonly logSampleRate: number;
  readonly trainings: readonly TrainingSpec[];
  readonly serving?: ServingSpec;
}

/** What the model's answers owe those who ask. Every member may be absent. */
export interface ServingSpec {
  /** Milliseconds from a request's arrival; one that cannot be answered by then is refused at once. Absent: only a full queue refuses. */
  readonly deadlineMs?: number;
  /** Milliseconds a version has to compute; rows that it leaves open go down the ladder. Absent: five times `latencyBudgetMsP99`. */
  readonly timeoutMs?: number;
  /**
   * Features without which a trained version is not asked: where one is missing the next rung answers. A version whose feature
   * set does not have one of them is asked without it.
   */
  readonly mandatory?: readonly string[];
  /** Another model of the project: its champion answers when no version of this one does, before the rule. */
  readonly fallback?: string;
}

/** `origin_delays@1` */
export function versioned({ name, version }: { readonly name: string; readonly version: number }): string {
  return `${name}@${version}`;
}

export function featureNames(set: FeatureSetSpec): string[] {
  return set.features.map((feature) => feature.name);
}
