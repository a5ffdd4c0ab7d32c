import type { FeatureKnowledge } from '../../db/predictions.ts';
import type { Row } from '../../domain/project/expression.ts';
import type { Processed } from '../../domain/registry/post-processing.ts';
import type { Micros } from '../../domain/time.ts';
import type { TraceContext } from '../../platform/trace-context.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry, RungName } from '../routing/route-entry.ts';

/** One row of a predict request, checked against the champion's feature set. */
export interface Instance {
  readonly predictionId: string;
  /** What assignment sticks to: the same unit gets the same arm as long as weight and salt stay. */
  readonly unit: string;
  readonly asOf: Micros;
  /** As sent; other versions of the route check it against their own feature sets. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly request: Row;
  /** `asOf` was asked for: the answer is of that instant or none. Absent: `asOf` is now. */
  readonly isReplay?: boolean;
  /** Who is to answer, whatever the unit's hash says: for testers. Absent: the hash. */
  readonly override?: Override;
}

/** A loaded version of the route by its number, or an arm. */
export type Override = { readonly version: number } | { readonly arm: 'champion' | 'canary' };

/**
 * Why the version that was to answer did not:
 *   error              it threw, or its stored features cannot be read
 *   timeout            it did not compute within its time
 *   not_finite         its score is NaN or infinite
 *   missing_feature    a mandatory feature is missing or expired
 *   circuit_open       it failed so often just now that it is not asked
 *   store_unavailable  the online store did not answer, and it reads from it
 *   refused_request    its feature set does not take the request
 */
export const FALLBACK_REASONS = [
  'error',
  'timeout',
  'not_finite',
  'missing_feature',
  'circuit_open',
  'store_unavailable',
  'refused_request',
] as const;
export type FallbackReason = (typeof FALLBACK_REASONS)[number];

/** Why a version has no score for a row, for programs and for people. */
export interface Failure {
  readonly reason: FallbackReason;
  readonly message: string;
}

export interface Answer extends Processed {
  readonly instance: Instance;
  /** `override`: asked for by a tester; such answers are no evidence. */
  readonly arm: 'champion' | 'canary' | 'override';
  /** The version the arm stands for. */
  readonly armVersion: number;
  /** What gave the score; on the rung `fallback` the version of another model. */
  readonly served: ServedVersion;
  /** Its number. */
  readonly version: number;
  readonly rung: RungName;
  readonly epoch: number;
  /** In the order of `featureNames`; NaN where missing. */
  readonly features: Float64Array;
  /** Of each feature, a position in `FEATURE_STATUSES`; empty where none were read. */
  readonly statuses: Uint8Array;
  readonly featureNames: readonly string[];
  /** What the features knew; null: no store was read for them. */
  readonly known: FeatureKnowledge | null;
  /** Why the arm's own version did not answer; null: it did. */
  readonly reason: FallbackReason | null;
  /** The same as a sentence that begins with the version; null: it did. */
  readonly error: string | null;
}

export interface ShadowScore {
  readonly answer: Answer;
  readonly version: number;
  /** NaN when the shadow failed. */
  readonly score: number;
  readonly label: 0 | 1;
  readonly features: Float64Array;
  /** Of each feature, a position in `FEATURE_STATUSES`. */
  readonly statuses: Uint8Array;
  readonly error: string | null;
}

/** Who is asked for a row: the version, for which arm, on which rung. */
export type Standing = Pick<Answer, 'version' | 'arm' | 'rung'>;

/** Who is told what was answered; nothing here is waited for. */
export interface Accounting {
  /** @param latencyMs from the arrival of the request to its answer  @param trace that the request belongs to */
  answered(entry: RouteEntry, answers: readonly Answer[], latencyMs: number, trace?: TraceContext): void;
  shadowScored(entry: RouteEntry, scores: readonly ShadowScore[]): void;
  shadowDropped(entry: RouteEntry, rows: number): void;
  batchDone(rows: number): void;
  /** @param by who is to answer it (its first instance)  @param seconds from the arrival of a request to the beginning of its batch */
  queued(entry: RouteEntry, by: Standing, seconds: number): void;
  /** @param by a version with rows in the batch, and for whom  @param seconds of the one read that brings all of their features */
  read(entry: RouteEntry, by: Standing, seconds: number): void;
  /** @param by as above  @param seconds that it took for its rows of a batch */
  computed(entry: RouteEntry, by: Standing, seconds: number): void;
}
