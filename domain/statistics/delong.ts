import { type Numbers, checkAnyRow, checkBinary, checkFinite, checkLengths } from './input-checks.ts';
import { ascendingOrder } from './order.ts';
import { normalTwoSided } from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

export interface DelongResult {
  readonly auc_a: number;
  readonly auc_b: number;
  /** auc_a − auc_b */
  readonly diff: number;
  readonly var_a: number;
  readonly var_b: number;
  readonly cov: number;
  /** null when the variance of the difference is 0 and the difference is not */
  readonly z: number | null;
  /** two-sided */
  readonly p: number;
}

/**
 * Compares two scores of the same rows by their AUC.
 *
 *   V10ᵢ = share of negatives that positive i beats, V01ⱼ = share of positives that beat negative j (ties ½)
 *   var = S10/m + S01/n, S with ddof 1;   z = diff / √(var_a + var_b − 2 cov)
 *
 * Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988); the components come from one ordering per score, O(n log n),
 * as in Sun & Xu, IEEE SPL 21 (2014).
 * @throws StatisticError insufficient_n with fewer than 2 rows of a class
 */
export function delong(y: Numbers, a: Numbers, b: Numbers): DelongResult {
  checkLengths(y, a, b);
  checkAnyRow(y, undefined);
  checkFinite(y, 'y');
  checkFinite(a, 'score_a');
  checkFinite(b, 'score_b');
  checkBinary(y, 'y');
  const classes = classSizes(y);
  const twiceA = twiceComponents(y, a, classes);
  const twiceB = twiceComponents(y, b, classes);
  const { mean: aucA, variance: varA } = spread(y, twiceA, twiceA, classes);
  const { mean: aucB, variance: varB } = spread(y, twiceB, twiceB, classes);
  const { variance: cov } = spread(y, twiceA, twiceB, classes);

  // The components are integers until here, so that equal rankings give a difference and a variance of exactly 0.
  const twiceDiff = new Float64Array(y.length);
  for (let i = 0; i < y.length; i++) twiceDiff[i] = twiceA[i]! - twiceB[i]!;
  const { mean: diff, variance } = spread(y, twiceDiff, twiceDiff, classes);
  const auc = { auc_a: aucA, auc_b: aucB, diff, var_a: varA, var_b: varB, cov };
  if (variance === 0) return diff === 0 ? { ...auc, z: 0, p: 1 } : { ...auc, z: null, p: 0 };
  const z = diff / Math.sqrt(variance);
  return { ...auc, z, p: normalTwoSided(z) };
}

/**
 * AUC with the DeLong variance of one score, for intervals.
 * @throws StatisticError insufficient_n with fewer than 2 rows of a class
 */
export function rocAucVariance(y: Numbers, score: Numbers): { auc: number; variance: number } {
  checkLengths(y, score);
  checkAnyRow(y, undefined);
  checkFinite(y, 'y');
  checkFinite(score, 'score');
  checkBinary(y, 'y');
  const classes = classSizes(y);
  const twice = twiceComponents(y, score, classes);
  const { mean, variance } = spread(y, twice, twice, classes);
  return { auc: mean, variance };
}

interface ClassSizes {
  readonly positives: number;
  readonly negatives: number;
}

function classSizes(y: Numbers): ClassSizes {
  let positives = 0;
  for (let i = 0; i < y.length; i++) positives += y[i]!;
  const negatives = y.length - positives;
  if (positives < 2 || negatives < 2) {
    throw new StatisticError(
      'insufficient_n',
      `DeLong needs 2 rows of each class, got ${positives} positive and ${negatives} negative`,
    );
  }
  return { positives, negatives };
}

/** Per row, twice the number of rows of the other class on the right side of it (ties count 1): 2n·V10 or 2m·V01. */
function twiceComponents(y: Numbers, score: Numbers, { positives }: ClassSizes): Float64Array {
  const order = ascendingOrder(score);
  const twice = new Float64Array(y.length);
  let positivesBelow = 0;
  let negativesBelow = 0;
  for (let start = 0; start < order.length;) {
    const value = score[order[start]!]!;
    let tiedPositives = 0;
    let end = start;
    for (; end < order.length && score[order[end]!] === value; end++) tiedPositives += y[order[end]!]!;
    const tiedNegatives = end - start - tiedPositives;
    const wins = 2 * negativesBelow + tiedNegatives;
    const losses = 2 * (positives - positivesBelow - tiedPositives) + tiedPositives;
    for (let i = start; i < end; i++) {
      const row = order[i]!;
      twice[row] = y[row] === 1 ? wins : losses;
    }
    positivesBelow += tiedPositives;
    negativesBelow += tiedNegatives;
    start = end;
  }
  return twice;
}

/** Mean of the V10 of `a`, and S10/m + S01/n between the components of `a` and `b`. */
function spread(
  y: Numbers,
  a: Float64Array,
  b: Float64Array,
  { positives, negatives }: ClassSizes,
): { mean: number; variance: number } {
  let positiveA = 0;
  let positiveB = 0;
  let negativeA = 0;
  let negativeB = 0;
  for (let i = 0; i < y.length; i++) {
    if (y[i] === 1) {
      positiveA += a[i]!;
      positiveB += b[i]!;
    } else {
      negativeA += a[i]!;
      negativeB += b[i]!;
    }
  }
  const meanPositiveA = positiveA / positives;
  const meanPositiveB = positiveB / positives;
  const meanNegativeA = negativeA / negatives;
  const meanNegativeB = negativeB / negatives;
  let positiveProducts = 0;
  let negativeProducts = 0;
  for (let i = 0; i < y.length; i++) {
    if (y[i] === 1) positiveProducts += (a[i]! - meanPositiveA) * (b[i]! - meanPositiveB);
    else negativeProducts += (a[i]! - meanNegativeA) * (b[i]! - meanNegativeB);
  }
  const s10 = positiveProducts / (positives - 1) / (4 * negatives * negatives);
  const s01 = negativeProducts / (negatives - 1) / (4 * positives * positives);
  return { mean: positiveA / (2 * negatives) / positives, variance: s10 / positives + s01 / negatives };
}
