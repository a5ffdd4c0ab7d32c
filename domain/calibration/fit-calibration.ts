import { SerinError } from '../errors.ts';
import { fitLogistic } from '../statistics/calibration.ts';
import { type Calibration, type CalibrationMethod, logit } from './calibration.ts';
import { fitIsotonic } from './fit-isotonic.ts';

/** Fewer rows of a class say more about chance than about the model. */
const LEAST_ROWS_PER_CLASS = 10;
/** The range a temperature is looked for in. */
const TEMPERATURES = { least: 0.01, greatest: 100 } as const;

/**
 * Fits a calibration to scores of rows that the model was not fitted to.
 * @param y 0 or 1 per row  @param scores in [0, 1], one per row
 * @throws SerinError TRAINING_INVALID with too few rows of a class, or with scores that do not rise with the labels: no
 *   monotone calibration can mend a model that ranks backwards
 */
export function fitCalibration(
  method: CalibrationMethod,
  y: ArrayLike<number>,
  scores: ArrayLike<number>,
): Calibration {
  refuseRows(method, y, scores);
  switch (method) {
    case 'platt':
      return fitPlatt(y, scores);
    case 'isotonic': {
      const fitted = fitIsotonic(y, scores);
      if (fitted.probabilities[0]! >= fitted.probabilities.at(-1)!) throw backwards(method, 'it comes out level');
      return fitted;
    }
    case 'temperature':
      return fitTemperature(y, scores);
  }
}

/**
 * σ(slope · logit + intercept) by maximum likelihood, with the targets (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2) in place of 1 and 0,
 * so that also scores that separate the classes give finite parameters. Newton's method with halved steps.
 *
 * Source: Platt, "Probabilistic outputs for support vector machines" (1999); Lin, Lin & Weng, Machine Learning 68 (2007).
 * They take a decision value; Serin's models give probabilities, whose logit is theirs. Golden values: test/golden/calibration.json.
 */
function fitPlatt(y: ArrayLike<number>, scores: ArrayLike<number>): Calibration {
  const rows = y.length;
  let positives = 0;
  for (let i = 0; i < rows; i++) positives += y[i]!;
  const targets = new Float64Array(rows);
  const logits = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    targets[i] = y[i] === 1 ? (positives + 1) / (positives + 2) : 1 / (rows - positives + 2);
    logits[i] = logit(scores[i]!);
  }
  const { slope, intercept } = fitLogistic(targets, logits, new Float64Array(rows).fill(1));
  if (!(slope > 0) || !Number.isFinite(slope) || !Number.isFinite(intercept))
    throw backwards('platt', `its slope is ${slope}`);
  return { method: 'platt', slope, intercept, rows };
}

/**
 * σ(logit / T) by maximum likelihood. With β = 1/T the derivative Σ (y − σ(β · logit)) · logit falls in β, so bisection
 * cannot miss its zero.
 *
 * Source: Guo et al., "On calibration of modern neural networks", ICML 2017. Golden values: test/golden/calibration.json.
 */
function fitTemperature(y: ArrayLike<number>, scores: ArrayLike<number>): Calibration {
  const rows = y.length;
  const logits = Float64Array.from(scores, logit);
  const slopeAt = (beta: number): number => {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += (y[i]! - 1 / (1 + Math.exp(-beta * logits[i]!))) * logits[i]!;
    return sum;
  };
  let low = 1 / TEMPERATURES.greatest;
  let high = 1 / TEMPERATURES.least;
  if (!(slopeAt(low) > 0)) throw backwards('temperature', `its temperature is above ${TEMPERATURES.greatest}`);
  // a double has 53 bits: more halvings change nothing
  for (let step = 0; step < 64; step++) {
    const middle = low + (high - low) / 2;
    if (slopeAt(middle) > 0) low = middle;
    else high = middle;
  }
  return { method: 'temperature', temperature: 1 / low, rows };
}

function refuseRows(method: CalibrationMethod, y: ArrayLike<number>, scores: ArrayLike<number>): void {
  let positives = 0;
  let least = Infinity;
  let greatest = -Infinity;
  for (let i = 0; i < y.length; i++) {
    const score = scores[i]!;
    if (!(score >= 0 && score <= 1)) {
      throw new SerinError(
        'TRAINING_INVALID',
        `a ${method} calibration takes probabilities, but row ${i} has the score ${score}`,
        { fields: { row: i, value: String(score) } },
      );
    }
    positives += y[i]!;
    least = Math.min(least, score);
    greatest = Math.max(greatest, score);
  }
  if (Math.min(positives, y.length - positives) < LEAST_ROWS_PER_CLASS) {
    throw new SerinError(
      'TRAINING_INVALID',
      `a ${method} calibration needs ${LEAST_ROWS_PER_CLASS} validation rows of each class; there are ${positives} with label 1 ` +
        `and ${y.length - positives} with label 0: raise the trainer's validationFraction, or leave the calibration out`,
      { fields: { positives, rows: y.length } },
    );
  }
  if (least === greatest) throw backwards(method, `every validation row has the score ${least}`);
}

function backwards(method: CalibrationMethod, what: string): SerinError {
  return new SerinError(
    'TRAINING_INVALID',
    `the scores do not rise with the labels of the validation rows, so a ${method} calibration has nothing to go by: ${what}`,
    { fields: { method } },
  );
}
