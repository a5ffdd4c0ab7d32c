import type { LogisticModel } from './logistic/logistic-model.ts';
import type { TreeEnsemble } from './gbt/tree-ensemble.ts';

export type TrainedModel = LogisticModel | TreeEnsemble;

export interface StepMetrics {
  /** Steps done: trees grown, or Newton iterations. */
  readonly step: number;
  /** Upper bound on steps; training may end earlier. */
  readonly steps: number;
  /** Mean log loss in nats over the rows the model is fitted to, after this step. */
  readonly trainLogLoss: number;
  /** The same over the held-out latest rows; null when none are held out. */
  readonly validationLogLoss: number | null;
}

/**
 * A training that advances one step at a time, so that its caller decides when to report, checkpoint or stop. The same
 * spec, matrix and seed give the same bytes, interrupted or not.
 */
export interface SteppableTraining {
  readonly metrics: readonly StepMetrics[];
  readonly done: boolean;
  advance(): StepMetrics;
  /** All that is needed, beside the matrix, to carry on from here: JSON, exact. */
  state(): unknown;
  model(): TrainedModel;
}

/** Rows per partial sum: sums of rounded numbers are taken chunk by chunk in order, whoever computes the chunks. */
export const CHUNK_ROWS = 65_536;
