import { SerinError } from '../domain/errors.ts';
import {
  brierScore,
  expectedCalibrationError,
  logLoss,
  rocAucVariance,
  thresholdMetrics,
} from '../domain/statistics/classification.ts';
import { delong } from '../domain/statistics/delong.ts';
import { normalQuantile, normalTwoSided } from '../domain/statistics/special-functions.ts';
import type {
  CalibrationReport,
  Estimate,
  EvaluationReport,
  PairedComparison,
  ScoreDistribution,
  SliceReport,
  ThresholdReport,
} from '../domain/training/evaluation-report.ts';

export interface EvaluationRequest {
  /** 0 or 1 per row. */
  readonly y: Uint8Array;
  /** Probability of class 1 per row, as it is answered: calibrated where the version has a calibration. */
  readonly scores: Float32Array | Float64Array;
  /** The same before calibration, so that the report says what it did; absent: there is none. */
  readonly uncalibrated?: Float32Array | Float64Array;
  /** The champion's, for the same rows. */
  readonly champion?: Float32Array | Float64Array;
  /** A value per row for each slicing column. */
  readonly slices?: Readonly<Record<string, readonly string[]>>;
  /** The score from which a row counts as a yes, in [0, 1]. */
  readonly threshold: number;
  /** Per row, where slices have thresholds of their own. */
  readonly thresholds?: Float64Array;
}

const CALIBRATION_BINS = 15;
const HISTOGRAM_BINS = 50;
/** Below this a slice's numbers say more about chance than about the model. */
const MIN_SLICE_ROWS = 200;
/** Slices reported per column, the largest first: a column of keys must not swell the report. */
const MAX_SLICES_PER_COLUMN = 500;
const NORMAL_95 = normalQuantile(0.975);
const EPSILON = 1e-15;

/**
 * Measures scores against labels.
 * @throws SerinError TRAINING_INVALID when the rows do not match each other or hold what is no label or probability
 */
export function evaluateScores(request: EvaluationRequest): EvaluationReport {
  const { y, scores, champion, slices = {} } = request;
  checkRows(y, scores, 'scores');
  if (champion !== undefined) checkRows(y, champion, 'champion');
  const losses = rowLosses(y, scores);
  return {
    rows: y.length,
    positives: countPositives(y),
    auc: aucEstimate(y, scores),
    logLoss: { ...meanEstimate(losses), value: logLoss(y, scores, { eps: EPSILON }) },
    brier: { ...meanEstimate(rowSquares(y, scores)), value: brierScore(y, scores) },
    calibration: calibrationReport(request),
    threshold: thresholdReport(request),
    scores: scoreDistribution(scores),
    comparison: champion === undefined ? null : compare(y, scores, champion),
    slices: Object.entries(slices).flatMap(([column, values]) => sliceReports(column, values, y, scores, losses)),
  };
}

function aucEstimate(y: Uint8Array, scores: ArrayLike<number>): Estimate | null {
  const positives = countPositives(y);
  if (Math.min(positives, y.length - positives) < 2) return null; // no variance from a single row of a class
  const { auc, variance } = rocAucVariance(y, scores);
  const { low, high, standardError } = estimate(auc, Math.sqrt(variance));
  return { value: auc, low: Math.max(low, 0), high: Math.min(high, 1), standardError };
}

function compare(y: Uint8Array, scores: ArrayLike<number>, champion: ArrayLike<number>): PairedComparison {
  const candidateLosses = rowLosses(y, scores);
  const championLosses = rowLosses(y, champion);
  const difference = meanEstimate(candidateLosses.map((loss, row) => loss - championLosses[row]!));
  const base = {
    championLogLoss: logLoss(y, champion, { eps: EPSILON }),
    logLossDifference: { ...difference, p: twoSided(difference) },
  };
  const positives = countPositives(y);
  if (Math.min(positives, y.length - positives) < 2) return { ...base, championAuc: null, aucDifference: null };
  const { auc_b: championAuc, diff, var_a: varA, var_b: varB, cov, p } = delong(y, scores, champion);
  const standardError = Math.sqrt(Math.max(varA + varB - 2 * cov, 0));
  return { ...base, championAuc, aucDifference: { ...estimate(diff, standardError), p } };
}

function sliceReports(
  column: string,
  values: readonly string[],
  y: Uint8Array,
  scores: ArrayLike<number>,
  losses: Float64Array,
): SliceReport[] {
  if (values.length !== y.length)
    throw new SerinError('TRAINING_INVALID', `the slice ${column} has ${values.length} values for ${y.length} rows`, {
      fields: { column },
    });
  const rowsByValue = new Map<string, number[]>();
  for (const [row, value] of values.entries()) {
    const rows = rowsByValue.get(value);
    if (rows === undefined) rowsByValue.set(value, [row]);
    else rows.push(row);
  }
  return [...rowsByValue]
    .toSorted(([a, rowsA], [b, rowsB]) => rowsB.length - rowsA.length || (a < b ? -1 : 1))
    .slice(0, MAX_SLICES_PER_COLUMN)
    .map(([value, rows]) => {
      const labels = Uint8Array.from(rows, (row) => y[row]!);
      const enough = rows.length >= MIN_SLICE_ROWS;
      return {
        column,
        value,
        rows: rows.length,
        positives: countPositives(labels),
        auc: enough
          ? aucEstimate(
              labels,
              Float64Array.from(rows, (row) => scores[row]!),
            )
          : null,
        logLoss: enough ? meanEstimate(Float64Array.from(rows, (row) => losses[row]!)) : null,
      };
    });
}

function calibrationReport({ y, scores, uncalibrated }: EvaluationRequest): CalibrationReport {
  const errorOf = (given: ArrayLike<number>) =>
    expectedCalibrationError(y, given, { bins: CALIBRATION_BINS, strategy: 'equal_mass' });
  const { ece, mce, bins } = errorOf(scores);
  const before = uncalibrated === undefined ? undefined : errorOf(uncalibrated);
  return {
    ece,
    maxGap: mce,
    bins: bins.map(([, rows, meanScore, positiveRate]) => ({ rows, meanScore, positiveRate })),
    ...(before !== undefined && { before: { ece: before.ece, maxGap: before.mce } }),
  };
}

function thresholdReport({ y, scores, threshold, thresholds }: EvaluationRequest): ThresholdReport {
  const metrics =
    thresholds === undefined
      ? thresholdMetrics(y, scores, { threshold })
      : thresholdMetrics(
          y,
          thresholds.map((each, row) => (scores[row]! >= each ? 1 : 0)),
          { threshold: 1 },
        );
  return {
    value: threshold,
    truePositives: metrics.tp,
    falsePositives: metrics.fp,
    falseNegatives: metrics.fn,
    trueNegatives: metrics.tn,
    precision: metrics.precision,
    recall: metrics.recall,
    specificity: metrics.specificity,
    f1: metrics.f_beta,
    accuracy: metrics.accuracy,
  };
}

function scoreDistribution(scores: ArrayLike<number>): ScoreDistribution {
  const histogram = Array.from({ length: HISTOGRAM_BINS }, () => 0);
  let sum = 0;
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row]!;
    sum += score;
    histogram[Math.min(Math.floor(score * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)]! += 1;
  }
  return { mean: sum / scores.length, histogram };
}

/** Mean with the interval of its standard error s/√n (s² with n − 1); no width can be given for one row, so it is 0. */
function meanEstimate(values: Float64Array): Estimate {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) * (value - mean);
  return estimate(mean, values.length > 1 ? Math.sqrt(squares / (values.length - 1) / values.length) : 0);
}

function estimate(value: number, standardError: number): Estimate {
  return { value, low: value - NORMAL_95 * standardError, high: value + NORMAL_95 * standardError, standardError };
}

function twoSided({ value, standardError }: Estimate): number {
  if (standardError === 0) return value === 0 ? 1 : 0;
  return normalTwoSided(value / standardError);
}

function rowLosses(y: Uint8Array, scores: ArrayLike<number>): Float64Array {
  return Float64Array.from(y, (label, row) => {
    const p = Math.min(Math.max(scores[row]!, EPSILON), 1 - EPSILON);
    return label === 1 ? -Math.log(p) : -Math.log1p(-p);
  });
}

function rowSquares(y: Uint8Array, scores: ArrayLike<number>): Float64Array {
  return Float64Array.from(y, (label, row) => (scores[row]! - label) ** 2);
}

function countPositives(y: Uint8Array): number {
  let positives = 0;
  for (const label of y) positives += label;
  return positives;
}

function checkRows(y: Uint8Array, scores: ArrayLike<number>, name: string): void {
  if (y.length === 0) throw new SerinError('TRAINING_INVALID', 'there are no labelled rows to evaluate on');
  if (scores.length !== y.length)
    throw new SerinError('TRAINING_INVALID', `${name} has ${scores.length} rows for ${y.length} labels`, {
      fields: { field: name },
    });
  for (let row = 0; row < y.length; row++) {
    const score = scores[row]!;
    if (!(score >= 0 && score <= 1))
      throw new SerinError('TRAINING_INVALID', `${name} has ${score} at row ${row}, but a probability is in [0, 1]`, {
        fields: { field: name, row, value: score },
      });
    if (y[row]! > 1)
      throw new SerinError('TRAINING_INVALID', `row ${row} has label ${y[row]}, but a class label is 0 or 1`);
  }
}
