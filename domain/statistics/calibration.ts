import {
  type Numbers,
  checkLabelsAndScores,
  checkLengths,
  checkCountParameter,
  checkParameter,
} from './input-checks.ts';
import { ascendingOrder } from './order.ts';
import { StatisticError } from './statistic-error.ts';

export interface CalibrationBins {
  readonly bins: number;
  readonly strategy: 'equal_width' | 'equal_mass';
}

/** [index, rows, mean p, mean y] of a bin that holds rows */
export type CalibrationBin = readonly [index: number, n: number, meanP: number, meanY: number];

/**
 * Expected calibration error: Σ n_b/n · |mean p − mean y| over bins; mce is the largest of them. Empty bins are skipped.
 *
 * equal_width: bin min(⌊p·K⌋, K−1) in IEEE doubles (0.29·100 falls in 28, which is meant). equal_mass: rows sorted by (p,
 * position), rank i (0-based) goes to bin ⌊i·K/n⌋, so ties may straddle bins.
 */
export function expectedCalibrationError(
  y: Numbers,
  p: Numbers,
  { bins: binCount, strategy }: CalibrationBins,
): { ece: number; mce: number; bins: CalibrationBin[] } {
  checkLengths(y, p);
  checkCountParameter(binCount, 'bins', 1);
  checkParameter(strategy === 'equal_width' || strategy === 'equal_mass', `there is no binning called ${strategy}`);
  checkLabelsAndScores(y, p, undefined, 'p');

  const n = y.length;
  const rows = new Float64Array(binCount);
  const sumP = new Float64Array(binCount);
  const sumY = new Float64Array(binCount);
  if (strategy === 'equal_width') {
    for (let i = 0; i < n; i++) {
      const bin = Math.min(Math.floor(p[i]! * binCount), binCount - 1);
      rows[bin]! += 1;
      sumP[bin]! += p[i]!;
      sumY[bin]! += y[i]!;
    }
  } else {
    const order = ascendingOrder(p);
    for (let rank = 0; rank < n; rank++) {
      const bin = Math.floor((rank * binCount) / n);
      rows[bin]! += 1;
      sumP[bin]! += p[order[rank]!]!;
      sumY[bin]! += y[order[rank]!]!;
    }
  }

  let ece = 0;
  let mce = 0;
  const bins: CalibrationBin[] = [];
  for (let bin = 0; bin < binCount; bin++) {
    const count = rows[bin]!;
    if (count === 0) continue;
    const meanP = sumP[bin]! / count;
    const meanY = sumY[bin]! / count;
    const gap = Math.abs(meanP - meanY);
    ece += (count / n) * gap;
    mce = Math.max(mce, gap);
    bins.push([bin, count, meanP, meanY]);
  }
  return { ece, mce, bins };
}

export interface CalibrationSlope {
  readonly slope: number;
  readonly intercept: number;
  /** from the observed information */
  readonly slope_se: number;
  /** calibration-in-the-large: the intercept with the slope held at 1 */
  readonly intercept_at_slope_1: number;
}

/**
 * Cox's recalibration: y regressed on logit(p), unpenalised maximum likelihood. 1 and 0 are perfect; a slope below 1 is an
 * over-confident model.
 *
 * Source: Cox, Biometrika 45 (1958); Van Calster et al., BMC Medicine 17 (2019).
 * @param options.eps p is clipped to [eps, 1 − eps], default 1e-12
 * @throws StatisticError single_class, zero_variance for constant p, separation when no finite maximum exists
 */
export function calibrationSlope(
  y: Numbers,
  p: Numbers,
  { eps = 1e-12, weight }: { readonly eps?: number; readonly weight?: Numbers | undefined } = {},
): CalibrationSlope {
  checkLengths(y, p, weight);
  checkParameter(eps >= 0 && eps < 0.5, `eps must lie in [0, 0.5), got ${eps}`);
  checkLabelsAndScores(y, p, weight, 'p');

  const n = y.length;
  const x = new Float64Array(n);
  const w = new Float64Array(n);
  let lowestPositive = Infinity;
  let highestPositive = -Infinity;
  let lowestNegative = Infinity;
  let highestNegative = -Infinity;
  for (let i = 0; i < n; i++) {
    w[i] = weight === undefined ? 1 : weight[i]!;
    if (w[i] === 0) continue;
    const clipped = Math.min(Math.max(p[i]!, eps), 1 - eps);
    const logit = Math.log(clipped) - Math.log1p(-clipped);
    x[i] = logit;
    if (y[i] === 1) {
      lowestPositive = Math.min(lowestPositive, logit);
      highestPositive = Math.max(highestPositive, logit);
    } else {
      lowestNegative = Math.min(lowestNegative, logit);
      highestNegative = Math.max(highestNegative, logit);
    }
  }
  if (lowestPositive === Infinity || lowestNegative === Infinity) {
    throw new StatisticError('single_class', 'a calibration slope needs both labels');
  }
  if (Math.min(lowestPositive, lowestNegative) === Math.max(highestPositive, highestNegative)) {
    throw new StatisticError('zero_variance', 'a calibration slope needs more than one distinct p');
  }
  // With one covariate the maximum is finite exactly when the two classes overlap in it.
  if (highestNegative <= lowestPositive || highestPositive <= lowestNegative) {
    throw new StatisticError(
      'separation',
      'p separates the labels, so the slope has no finite maximum-likelihood value',
    );
  }

  const { intercept, slope, slopeSe } = fitLogistic(y, x, w);
  return { slope, intercept, slope_se: slopeSe, intercept_at_slope_1: fitIntercept(y, x, w) };
}

/** Enough for quadratic convergence from 0 with halved steps where the likelihood would fall. */
const NEWTON_STEPS = 100;

/**
 * y ≈ σ(intercept + slope · x) by weighted maximum likelihood; y may be any target in [0, 1]. NaN where x is constant,
 * without bound where x separates targets of 0 and 1.
 */
export function fitLogistic(
  y: Numbers,
  x: Float64Array,
  w: Float64Array,
): { intercept: number; slope: number; slopeSe: number } {
  // Centred, so that the two parameters are nearly uncorrelated and the 2×2 system is well conditioned.
  let weightSum = 0;
  let centre = 0;
  for (let i = 0; i < x.length; i++) {
    weightSum += w[i]!;
    centre += w[i]! * x[i]!;
  }
  centre /= weightSum;

  let a = 0;
  let b = 0;
  let likelihood = logLikelihood(y, x, w, a, b, centre);
  let slopeSe = Infinity;
  for (let step = 0; step < NEWTON_STEPS; step++) {
    let ga = 0;
    let gb = 0;
    let haa = 0;
    let hab = 0;
    let hbb = 0;
    for (let i = 0; i < x.length; i++) {
      const dx = x[i]! - centre;
      const mu = 1 / (1 + Math.exp(-(a + b * dx)));
      const residual = w[i]! * (y[i]! - mu);
      const information = w[i]! * mu * (1 - mu);
      ga += residual;
      gb += residual * dx;
      haa += information;
      hab += information * dx;
      hbb += information * dx * dx;
    }
    const determinant = haa * hbb - hab * hab;
    slopeSe = Math.sqrt(haa / determinant);
    let da = (hbb * ga - hab * gb) / determinant;
    let db = (haa * gb - hab * ga) / determinant;
    if (Math.abs(da) + Math.abs(db) < 1e-14 * (1 + Math.abs(a) + Math.abs(b))) break;
    let next = logLikelihood(y, x, w, a + da, b + db, centre);
    for (let halving = 0; halving < 60 && !(next >= likelihood - 1e-12 * Math.abs(likelihood)); halving++) {
      da /= 2;
      db /= 2;
      next = logLikelihood(y, x, w, a + da, b + db, centre);
    }
    a += da;
    b += db;
    likelihood = next;
  }
  return { intercept: a - b * centre, slope: b, slopeSe };
}

/** The intercept that makes Σ w (y − σ(a + x)) = 0; the sum falls in a, so bisection cannot miss. */
function fitIntercept(y: Numbers, x: Float64Array, w: Float64Array): number {
  let low = -100;
  let high = 100;
  for (let step = 0; step < 200; step++) {
    const a = low + (high - low) / 2;
    if (a <= low || a >= high) break;
    let residual = 0;
    for (let i = 0; i < x.length; i++) residual += w[i]! * (y[i]! - 1 / (1 + Math.exp(-(a + x[i]!))));
    if (residual > 0) low = a;
    else high = a;
  }
  return low + (high - low) / 2;
}

function logLikelihood(y: Numbers, x: Float64Array, w: Float64Array, a: number, b: number, centre: number): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) {
    const eta = a + b * (x[i]! - centre);
    const softplus = eta > 0 ? eta + Math.log1p(Math.exp(-eta)) : Math.log1p(Math.exp(eta));
    total += w[i]! * (y[i]! * eta - softplus);
  }
  return total;
}
