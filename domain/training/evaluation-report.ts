/** A number measured on a sample, with its 95 % interval (normal approximation). */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly standardError: number;
}

/** What held-out labelled rows say about a model's scores. Plain JSON: it travels in manifests and is compared by gates. */
export interface EvaluationReport {
  readonly rows: number;
  readonly positives: number;
  /** null when the rows are all of one class. The interval is by DeLong's variance. */
  readonly auc: Estimate | null;
  /** Mean, in nats; probabilities are kept 1e-15 away from 0 and 1. */
  readonly logLoss: Estimate;
  readonly brier: Estimate;
  readonly calibration: CalibrationReport;
  readonly threshold: ThresholdReport;
  readonly scores: ScoreDistribution;
  /** The same rows scored by the champion; null when there was none to compare with. */
  readonly comparison: PairedComparison | null;
  readonly slices: readonly SliceReport[];
}

export interface CalibrationReport {
  /** Expected calibration error over bins of equal numbers of rows. */
  readonly ece: number;
  /** The largest gap of a bin. */
  readonly maxGap: number;
  readonly bins: readonly { readonly rows: number; readonly meanScore: number; readonly positiveRate: number }[];
  /** The same rows by the model's own scores; absent where the version has no calibration. */
  readonly before?: { readonly ece: number; readonly maxGap: number };
}

/** What happens when a score of at least `value` (or the slice's own threshold) counts as a yes. null: nothing to divide by. */
export interface ThresholdReport {
  readonly value: number;
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly falseNegatives: number;
  readonly trueNegatives: number;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly specificity: number | null;
  readonly f1: number | null;
  readonly accuracy: number;
}

export interface ScoreDistribution {
  readonly mean: number;
  /** Rows per bin of equal width over [0, 1]; a score of 1 is in the last. */
  readonly histogram: readonly number[];
}

/** Differences are candidate − champion on the same rows, so that what is hard for both cancels. */
export interface PairedComparison {
  readonly championAuc: number | null;
  readonly championLogLoss: number;
  /** By DeLong's paired test, p two-sided; null when the rows are all of one class. */
  readonly aucDifference: (Estimate & { readonly p: number }) | null;
  /** Below 0 the candidate is better. */
  readonly logLossDifference: Estimate & { readonly p: number };
}

/** One value of one slicing column. */
export interface SliceReport {
  readonly column: string;
  readonly value: string;
  readonly rows: number;
  readonly positives: number;
  /** null when the slice has too few rows to tell, or one class only. */
  readonly auc: Estimate | null;
  /** null when the slice has too few rows to tell. */
  readonly logLoss: Estimate | null;
}
