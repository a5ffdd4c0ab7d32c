import type { LogisticSpec } from '../../domain/training/trainer-spec.ts';
import { holdOutLatest } from '../holdout.ts';
import type { TrainingMatrix } from '../matrix.ts';
import { CHUNK_ROWS, type StepMetrics, type SteppableTraining } from '../training-steps.ts';
import { type LogisticModel, standardised } from './logistic-model.ts';
import { solvePositiveDefinite } from './solve-positive-definite.ts';

export interface LogisticState {
  /** Weights of the standardised columns, then the intercept. */
  readonly parameters: readonly number[];
  readonly metrics: readonly StepMetrics[];
  readonly done: boolean;
}

/** The objective and its derivatives at some parameters. */
interface Evaluation {
  readonly parameters: Float64Array;
  /** Summed log loss, without the penalty. */
  readonly loss: number;
  readonly objective: number;
  readonly gradient: Float64Array;
  /** Row-major, lower triangle filled. */
  readonly hessian: Float64Array;
}

/** A step that improves the objective by less than this share of it is the last. */
const RELATIVE_TOLERANCE = 1e-10;
/** Newton's step is halved at most this often before the optimum counts as reached. */
const MAX_HALVINGS = 20;

/**
 * Fits a logistic regression by Newton's method (iteratively reweighted least squares):
 *
 *   minimise Σ log(1 + exp(−tᵢ·f(xᵢ))) + ½·l2·‖w‖²,   t = ±1, f(x) = w·z(x) + b, the intercept b not penalised
 *
 * with z the columns standardised by their mean and deviation in the fitted rows. The penalty makes the objective
 * strictly convex in w, so separable classes and constant or duplicated columns have one finite optimum.
 */
export function trainLogistic(spec: LogisticSpec, matrix: TrainingMatrix, saved?: LogisticState): SteppableTraining {
  const { fit, validation } = holdOutLatest(matrix.asOf, spec.validationFraction);
  const { mean, scale } = columnMoments(matrix, fit);
  const width = matrix.columns.length;
  const metrics: StepMetrics[] = [...(saved?.metrics ?? [])];
  let done = saved?.done ?? false;
  let current = evaluate(saved === undefined ? new Float64Array(width + 1) : Float64Array.from(saved.parameters));

  function evaluate(parameters: Float64Array): Evaluation {
    const size = width + 1;
    const sums = new Float64Array(1 + size + size * size);
    for (let begin = 0; begin < fit.length; begin += CHUNK_ROWS) {
      const chunk = sumChunk(matrix, fit.subarray(begin, begin + CHUNK_ROWS), { mean, scale }, parameters);
      for (let index = 0; index < sums.length; index++) sums[index]! += chunk[index]!;
    }
    const loss = sums[0]!;
    const gradient = sums.slice(1, 1 + size);
    const hessian = sums.slice(1 + size);
    let objective = loss;
    for (let column = 0; column < width; column++) {
      const weight = parameters[column]!;
      objective += 0.5 * spec.l2 * weight * weight;
      gradient[column]! += spec.l2 * weight;
      hessian[column * size + column]! += spec.l2;
    }
    return { parameters, loss, objective, gradient, hessian };
  }

  function newtonStep(from: Evaluation): Evaluation {
    const direction = solvePositiveDefinite(from.hessian, from.gradient);
    for (let halving = 0, length = 1; halving <= MAX_HALVINGS; halving++, length /= 2) {
      const to = evaluate(from.parameters.map((value, index) => value - length * direction[index]!));
      if (to.objective <= from.objective) return to;
    }
    return from;
  }

  return {
    metrics,
    get done() {
      return done;
    },
    advance() {
      const next = newtonStep(current);
      const improvement = current.objective - next.objective;
      current = next;
      const step: StepMetrics = {
        step: metrics.length + 1,
        steps: spec.maxIterations,
        trainLogLoss: current.loss / fit.length,
        validationLogLoss:
          validation.length === 0
            ? null
            : sumLoss(matrix, validation, { mean, scale }, current.parameters) / validation.length,
      };
      metrics.push(step);
      done = metrics.length >= spec.maxIterations || improvement <= RELATIVE_TOLERANCE * Math.abs(current.objective);
      return step;
    },
    state: (): LogisticState => ({ parameters: [...current.parameters], metrics, done }),
    model: (): LogisticModel => ({
      kind: 'logistic',
      columns: matrix.columns,
      mean,
      scale,
      weight: Float32Array.from(current.parameters.subarray(0, width)),
      intercept: Math.fround(current.parameters[width]!),
    }),
  };
}

interface Moments {
  readonly mean: Float32Array;
  readonly scale: Float32Array;
}

/** Mean and deviation of each column over its finite values; a column with at most one distinct value has scale 1. */
function columnMoments({ x, columns }: TrainingMatrix, rows: Uint32Array): Moments {
  const width = columns.length;
  const mean = new Float32Array(width);
  const scale = new Float32Array(width).fill(1);
  for (let column = 0; column < width; column++) {
    let count = 0;
    let sum = 0;
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const row of rows) {
      const value = x[row * width + column]!;
      if (!Number.isFinite(value)) continue;
      count++;
      sum += value;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (count === 0) continue;
    if (low === high) {
      mean[column] = low; // exact: a rounded mean would make noise of a constant column
      continue;
    }
    const center = sum / count;
    let squares = 0;
    for (const row of rows) {
      const value = x[row * width + column]!;
      if (Number.isFinite(value)) squares += (value - center) * (value - center);
    }
    mean[column] = center;
    const deviation = Math.fround(Math.sqrt(squares / count));
    if (deviation > 0 && Number.isFinite(deviation)) scale[column] = deviation;
  }
  return { mean, scale };
}

/** [loss, gradient (width + 1), Hessian (lower triangle, row-major)] summed over the rows. */
function sumChunk(
  { x, y, columns }: TrainingMatrix,
  rows: Uint32Array,
  { mean, scale }: Moments,
  parameters: Float64Array,
): Float64Array {
  const width = columns.length;
  const size = width + 1;
  const sums = new Float64Array(1 + size + size * size);
  const z = new Float64Array(size);
  z[width] = 1;
  for (const row of rows) {
    let logit = parameters[width]!;
    for (let column = 0, at = row * width; column < width; column++, at++) {
      const value = standardised(x[at]!, mean[column]!, scale[column]!);
      z[column] = value;
      logit += parameters[column]! * value;
    }
    const p = 1 / (1 + Math.exp(-logit));
    sums[0]! += logLossOfLogit(logit, y[row]!);
    const residual = p - y[row]!;
    const curvature = p * (1 - p);
    for (let a = 0; a < size; a++) {
      const za = z[a]!;
      sums[1 + a]! += residual * za;
      const scaled = curvature * za;
      const line = 1 + size + a * size;
      for (let b = 0; b <= a; b++) sums[line + b]! += scaled * z[b]!;
    }
  }
  return sums;
}

function sumLoss(
  { x, y, columns }: TrainingMatrix,
  rows: Uint32Array,
  { mean, scale }: Moments,
  parameters: Float64Array,
): number {
  const width = columns.length;
  let loss = 0;
  for (const row of rows) {
    let logit = parameters[width]!;
    for (let column = 0, at = row * width; column < width; column++, at++)
      logit += parameters[column]! * standardised(x[at]!, mean[column]!, scale[column]!);
    loss += logLossOfLogit(logit, y[row]!);
  }
  return loss;
}

/** −log of the probability given to what happened, without cancellation at either end. */
function logLossOfLogit(logit: number, label: number): number {
  const signed = label === 1 ? -logit : logit;
  return Math.max(signed, 0) + Math.log1p(Math.exp(-Math.abs(signed)));
}
