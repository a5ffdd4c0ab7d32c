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
  const rows = rowsByScore(score, weight);
  let negativesBelow = 0;
  let positives = 0;
  let wins = 0;
  for (let start = 0; start < rows.length;) {
    const value = score[rows[start]!]!;
    let tiedPositives = 0;
    let tiedNegatives = 0;
    let end = start;
    for (; end < rows.length; end++) {
      const row = rows[end]!;
      if (score[row] !== value) break;
      const w = weight === undefined ? 1 : weight[row]!;
      if (y[row] === 1) tiedPositives += w;
      else tiedNegatives += w;
    }
    wins += tiedPositives * (negativesBelow + tiedNegatives / 2);
    positives += tiedPositives;
    negativesBelow += tiedNegatives;
    start = end;
  }
  if (positives === 0 || negativesBelow === 0) {
    throw new StatisticError('single_class', `AUC needs both labels, all rows are ${positives === 0 ? 0 : 1}`);
  }
  return wins / (positives * negativesBelow);
}

/**
 * Average precision: Σ (Rᵢ − Rᵢ₋₁)·Pᵢ over distinct score values, descending; equal scores enter together. This is not the
 * trapezoid under the precision-recall curve, which is optimistic between operating points.
 * @throws StatisticError no_positives
 */
export function averagePrecision(y: Numbers, score: Numbers, weight?: Numbers): number {
  checkLabelsAndScores(y, score, weight);
  const rows = rowsByScore(score, weight);
  let positives = 0;
  for (let i = 0; i < rows.length; i++) {
    if (y[rows[i]!] === 1) positives += weight === undefined ? 1 : weight[rows[i]!]!;
  }
  if (positives === 0) throw new StatisticError('no_positives', 'average precision needs a positive row');

  let found = 0;
  let shown = 0;
  let area = 0;
  for (let end = rows.length; end > 0;) {
    const value = score[rows[end - 1]!]!;
    const foundBefore = found;
    let start = end;
    for (; start > 0; start--) {
      const row = rows[start - 1]!;
      if (score[row] !== value) break;
      const w = weight === undefined ? 1 : weight[row]!;
      shown += w;
      if (y[row] === 1) found += w;
    }
    area += ((found - foundBefore) / positives) * (found / shown);
    end = start;
  }
  return area;
}

/** Row numbers by ascending score; rows of weight 0, whatever they hold, are left out. */
function rowsByScore(score: Numbers, weight: Numbers | undefined): Uint32Array {
  if (weight === undefined) return ascendingOrder(score);
  const kept = new Uint32Array(weight.length);
  let n = 0;
  for (let i = 0; i < weight.length; i++) if (weight[i] !== 0) kept[n++] = i;
  const keptScore = new Float64Array(n);
  for (let i = 0; i < n; i++) keptScore[i] = score[kept[i]!]!;
  const order = ascendingOrder(keptScore);
  for (let i = 0; i < n; i++) order[i] = kept[order[i]!]!;
  return order;
}
