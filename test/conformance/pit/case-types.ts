/**
 * Cases of the schema `serin.pit/1` (`shared/conformance/pit/README.md`) as types. Values and times are as they are written:
 * what they mean, and whether they are refused, is part of a case and belongs to `case-specs.ts`. Durations are microseconds.
 */

export const PIT_SCHEMA = 'serin.pit/1';

export const CASE_TYPES = ['i64', 'f64', 'bool', 'str', 'ts'] as const;
export type CaseType = (typeof CASE_TYPES)[number];

export interface CaseColumn {
  readonly name: string;
  readonly type: CaseType;
}

export interface CaseRow {
  readonly key: readonly unknown[];
  readonly event_at: unknown;
  readonly available_at: unknown;
  readonly seq: number;
  readonly op: 'put' | 'retract' | 'tombstone';
  readonly row_id: string | null;
  readonly v: Readonly<Record<string, unknown>>;
}

export interface CaseSource {
  readonly name: string;
  readonly key: readonly CaseColumn[];
  readonly columns: readonly CaseColumn[];
  readonly identity: 'key_event' | 'row_id' | 'append';
  /** Microseconds. */
  readonly assumeDelay: number | bigint | null;
  readonly rows: readonly CaseRow[];
}

export const FILTER_OPERATORS = ['==', '!=', '<', '<=', '>', '>=', 'in', 'is_null', 'not_null'] as const;
export interface CaseFilter {
  readonly column: string;
  readonly op: (typeof FILTER_OPERATORS)[number];
  readonly argument: unknown;
  readonly path: string;
}

export const WINDOW_FUNCTIONS = [
  'count',
  'sum',
  'mean',
  'min',
  'max',
  'stddev_samp',
  'stddev_pop',
  'first',
  'last',
  'count_distinct',
  'rate',
] as const;
export type WindowFunction = (typeof WINDOW_FUNCTIONS)[number];

export interface CaseWindow {
  readonly name: string;
  readonly length: number | bigint | null;
  readonly offset: number | bigint;
}

export interface CaseFeature {
  readonly name: string;
  readonly fn: WindowFunction | 'latest';
  readonly column: string | null;
  readonly windows: readonly CaseWindow[];
  readonly filter: readonly CaseFilter[];
  readonly bucket: string | null;
  readonly nulls: 'keep' | 'skip';
  readonly unit: number | bigint;
  /** Undefined: none. */
  readonly default: unknown;
  readonly path: string;
}

export interface CaseView {
  readonly name: string;
  readonly source: string;
  /** Source key part to spine column, where they differ. */
  readonly on: ReadonlyMap<string, string>;
  readonly boundary: 'inclusive' | 'exclusive';
  readonly ttl: number | bigint | null;
  readonly features: readonly CaseFeature[];
  readonly path: string;
}

export interface CaseLabel {
  readonly name: string;
  readonly source: string;
  readonly on: ReadonlyMap<string, string>;
  readonly fn: 'any' | WindowFunction;
  readonly column: string | null;
  readonly gap: number | bigint;
  readonly horizon: number | bigint;
  readonly delay: number | bigint;
  readonly boundary: 'inclusive' | 'exclusive';
  readonly filter: readonly CaseFilter[];
  readonly earlyPositive: boolean;
  readonly censor: {
    readonly source: string;
    readonly on: ReadonlyMap<string, string>;
    readonly filter: readonly CaseFilter[];
  } | null;
  readonly path: string;
}

export interface CaseSplit {
  readonly testStart: unknown;
  readonly testEnd: unknown;
  readonly gap: number | bigint;
  readonly horizon: number | bigint;
  readonly delay: number | bigint;
  readonly embargo: number | bigint;
  readonly group: string | null;
}

/** One value of an answer, as JSON has it. */
export type AnswerValue = null | boolean | number | string | readonly AnswerValue[];
export type Answer =
  | {
      readonly rows: readonly (readonly AnswerValue[])[];
      /** Per `latest` column and label, one status a row. */
      readonly status: Readonly<Record<string, readonly string[]>>;
    }
  | { readonly error: string };

export type Expected =
  | {
      readonly columns: readonly { readonly name: string; readonly type: string }[];
      readonly rows: readonly (readonly AnswerValue[])[];
      readonly status: Readonly<Record<string, readonly string[]>>;
    }
  | { readonly error: string };

export interface PitCase {
  readonly id: string;
  readonly topic: string;
  readonly level: 'core' | 'strict';
  readonly name: string;
  readonly sources: ReadonlyMap<string, CaseSource>;
  readonly spine: {
    readonly columns: readonly CaseColumn[];
    readonly asOf: string;
    readonly rows: readonly (readonly unknown[])[];
  };
  readonly views: readonly CaseView[];
  readonly labels: readonly CaseLabel[];
  readonly builtAt: unknown;
  readonly split: CaseSplit | null;
  /** Null: the file says what is asked, not what is right. */
  readonly expected: Expected | null;
}

/** A case that could not be read: it counts as failed, with the sentence. */
export interface UnreadableCase {
  readonly id: string;
  readonly unreadable: string;
}
