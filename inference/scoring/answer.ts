import type { FeatureKnowledge } from '../../db/predictions.ts';
import type { Row } from '../../domain/project/expression.ts';
import type { Micros } from '../../domain/time.ts';
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
}

export interface Answer {
  readonly instance: Instance;
  readonly arm: 'champion' | 'canary';
  /** The version the arm stands for. */
  readonly armVersion: number;
  /** The version that gave the score. */
  readonly version: number;
  readonly rung: RungName;
  readonly epoch: number;
  readonly score: number;
  readonly label: 0 | 1;
  /** In the order of `featureNames`; NaN where missing. */
  readonly features: Float64Array;
  readonly featureNames: readonly string[];
  /** What the features knew; null: no store was read for them. */
  readonly known: FeatureKnowledge | null;
  /** Why the arm's own version did not answer. */
  readonly error: string | null;
}

export interface ShadowScore {
  readonly answer: Answer;
  readonly version: number;
  /** NaN when the shadow failed. */
  readonly score: number;
  readonly label: 0 | 1;
  readonly features: Float64Array;
  readonly error: string | null;
}

/** Who is told what was answered; nothing here is waited for. */
export interface Accounting {
  /** @param latencyMs from the arrival of the request to its answer */
  answered(entry: RouteEntry, answers: readonly Answer[], latencyMs: number): void;
  shadowScored(entry: RouteEntry, scores: readonly ShadowScore[]): void;
  shadowDropped(entry: RouteEntry, rows: number): void;
  /** @param seconds of the batch spent on reading features, and on computing scores */
  batchDone(rows: number, featureSeconds: number, computeSeconds: number): void;
}
