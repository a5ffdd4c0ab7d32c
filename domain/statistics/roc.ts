import { type Numbers, checkLabelsAndScores } from './input-checks.ts';
import { ascendingOrder } from './order.ts';
import { StatisticError } from './statistic-error.ts';

/**
 * Area under the ROC curve: P(score⁺ > score⁻) + ½ P(equal), pairs weighted w⁺·w⁻.
 *
 * Any finite score, not only [0, 1]. Rows of weight 0 do not exist. One sort, O(n log n).
 * @throws StatisticError single_class when only one label is left
 */
export function rocAuc(y: Numbers, score: Numbers, weight?: Numbers): number {
  checkLabelsAndScores(y, score, weight);
  return weight === undefined ? countedAuc(y, score) : weightedAuc(y, score, weight);
}

/** Two native sorts and a merge: about three times as fast as ordering the rows. The counts are exact integers. */
function countedAuc(y: Numbers, score: Numbers): number {
  let positiveCount = 0;
  for (let i = 0; i < y.length; i++) positiveCount += y[i]!;
  const negativeCount = y.length - positiveCount;
  checkBothClasses(positiveCount, negativeCount);

  const positives = new Float64Array(positiveCount);
  const negatives = new Float64Array(negativeCount);
  let p = 0;
  let q = 0;
  for (let i = 0; i < y.length; i++) {
    // + 0 turns −0 into 0: the native sort puts −0 before 0, the comparison says they are equal
    if (y[i] === 1) positives[p++] = score[i]! + 0;
    else negatives[q++] = score[i]! + 0;
  }
  positives.sort();
  negatives.sort();

  let twiceWins = 0;
  let less = 0;
  let notGreater = 0;
  for (let i = 0; i < positiveCount; i++) {
    const value = positives[i]!;
    while (less < negativeCount && negatives[less]! < value) less++;
    while (notGreater < negativeCount && negatives[notGreater]! <= value) notGreater++;
    twiceWins += less + notGreater;
  }
  return twiceWins / 2 / (positiveCount * negativeCount);
}

function weightedAuc(y: Numbers, score: Numbers, weight: Numbers): number {
  const kept = rowsOfWeight(weight);
  const keptScore = new Float64Array(kept.length);
  for (let i = 0; i < kept.length; i++) keptScore[i] = score[kept[i]!]!;
  const order = ascendingOrder(keptScore);

  let negativesBelow = 0;
  let positives = 0;
  let wins = 0;
  for (let start = 0; start < order.length;) {
    const value = keptScore[order[start]!]!;
    let tiedPositives = 0;
    let tiedNegatives = 0;
    let end = start;
    for (; end < order.length && keptScore[order[end]!] === value; end++) {
      const row = kept[order[end]!]!;
      if (y[row] === 1) tiedPositives += weight[row]!;
      else tiedNegatives += weight[row]!;
    }
    wins += tiedPositives * (negativesBelow + tiedNegatives / 2);
    positives += tiedPositives;
    negativesBelow += tiedNegatives;
    start = end;
  }
  checkBothClasses(positives, negativesBelow);
  return wins / (positives * negativesBelow);
}

function checkBothClasses(positives: number, negatives: number): void {
  if (positives === 0 || negatives === 0) {
    throw new StatisticError('single_class', `AUC needs both labels, all rows are ${positives === 0 ? 0 : 1}`);
  }
}

function rowsOfWeight(weight: Numbers): Uint32Array {
  const rows = new Uint32Array(weight.length);
  let n = 0;
  for (let i = 0; i < weight.length; i++) if (weight[i] !== 0) rows[n++] = i;
  return rows.subarray(0, n);
}

/**
 * Average precision: Σ (Rᵢ − Rᵢ₋₁)·Pᵢ over distinct score values, descending; equal scores enter together. This is not the
 * trapezoid under the precision-recall curve, which is optimistic between operating points.
 * @throws StatisticError no_positives
 */
export function averagePrecision(y: Numbers, score: Numbers, weight?: Numbers): number {
  checkLabelsAndScores(y, score, weight);
  let positives = 0;
  for (let i = 0; i < y.length; i++) {
    const w = weight === undefined ? 1 : weight[i]!;
    if (w !== 0) positives += w * y[i]!;
  }
  if (positives === 0) throw new StatisticError('no_positives', 'average precision needs a positive row');

  const kept = weight === undefined ? undefined : rowsOfWeight(weight);
  const n = kept?.length ?? y.length;
  const keptScore = new Float64Array(n);
  for (let i = 0; i < n; i++) keptScore[i] = score[kept === undefined ? i : kept[i]!]!;
  const order = ascendingOrder(keptScore);

  let found = 0;
  let shown = 0;
  let area = 0;
  for (let end = n; end > 0;) {
    const value = keptScore[order[end - 1]!]!;
    const foundBefore = found;
    let start = end;
    for (; start > 0 && keptScore[order[start - 1]!] === value; start--) {
      const at = order[start - 1]!;
      const row = kept === undefined ? at : kept[at]!;
      const w = weight === undefined ? 1 : weight[row]!;
      shown += w;
      found += w * y[row]!;
    }
    area += ((found - foundBefore) / positives) * (found / shown);
    end = start;
  }
  return area;
}
