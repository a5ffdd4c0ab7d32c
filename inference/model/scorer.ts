import type { ModelReport } from './model-report.ts';

/** A loaded model as the batcher sees it: numbers in, one number a row out. */
export interface Scorer {
  /** Width F of a row. */
  readonly featureCount: number;
  /** True where it computes in another thread: who waits for other versions need not wait for this one. */
  readonly offLoop?: boolean;
  /** What the loader found out; a rule has none. */
  readonly report?: ModelReport;
  /**
   * @param features rows × F, row-major; NaN where a value is missing. Doubles, as the dataset stores them: a model that
   *   computes in float32 casts here, as its trainer did.
   * @returns one score per row; NaN where the model has none
   */
  score(features: Float64Array, rows: number): Promise<Float64Array>;
  release(): Promise<void>;
}
