/**
 * A project as plain JSON: what the typed definitions of `authoring.ts` compile to, what `serin apply` sends, what is
 * stored and hashed. Every other room reads these types and none of the authoring ones.
 */
import type { GateSpec } from '../gates/gate-spec.ts';
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
  /** Columns whose values make one event; a second event with the same values is a duplicate. */
  readonly eventId: readonly string[];
  readonly freshnessSlaSeconds: number;
}

export interface KeyPart {
  readonly name: string;
  readonly type: 'str' | 'i64';
}

export interface EntitySpec {
  readonly name: string;
  readonly keys: readonly KeyPart[];
  readonly description: string;
}

/**
 * `share`: the part of the rows for which `of` (a condition) holds. Empty window: `count` is 0, the others are null,
 * then `default` replaces null.
 */
export type AggregateFunction = 'count' | 'sum' | 'mean' | 'min' | 'max' | 'share';

/**
 * `(t − length, t]` by event time. With a hop the start is moved down to a multiple of it (the sawtooth window
 * `(floor_hop(t − length), t]`), so that state is a handful of tiles; without one the window is exact and the state
 * keeps the events.
 */
export interface WindowSpec {
  readonly name: string;
  readonly lengthMicros: number;
  readonly hopMicros: number | null;
}

export interface AggregateSpec {
  readonly name: string;
  readonly fn: AggregateFunction;
  /** What is aggregated, over the source's columns: a number, for `share` a condition, for `count` absent. Null rows are skipped. */
  readonly of: Expression | null;
  /** Rows for which this does not hold (false or null) do not take part. */
  readonly where: Expression | null;
  readonly windows: readonly WindowSpec[];
  readonly default: number | null;
  readonly description: string;
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
}

export interface RequestField {
  readonly name: string;
  readonly type: ColumnType;
  readonly description: string;
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
      readonly window: string;
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
  readonly source: string;
  readonly asOf: Expression;
  readonly where: Expression | null;
  readonly request: readonly { readonly name: string; readonly value: Expression }[];
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
}

export interface TrainingSpec {
  readonly name: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly trainer: TrainerSpec;
  readonly split: SplitSpec;
  readonly seed: number;
  readonly description: string;
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
  readonly latencyBudgetMsP99: number;
  /** The rule baseline, version 0: the first champion and the last rung of the fallback ladder. */
  readonly rule: { readonly featureSet: string; readonly expression: Expression };
  readonly gates: readonly GateSpec[];
  readonly rollout: RolloutPolicy;
  readonly monitors: readonly MonitorSpec[];
  /** Share of champion answers that are logged; canary, shadow, fallback and errors always are. */
  readonly logSampleRate: number;
  readonly trainings: readonly TrainingSpec[];
}

/** `origin_delays@1` */
export function versioned({ name, version }: { readonly name: string; readonly version: number }): string {
  return `${name}@${version}`;
}

export function featureNames(set: FeatureSetSpec): string[] {
  return set.features.map((feature) => feature.name);
}
