import {
  type Numbers,
  checkCounts,
  checkFinite,
  checkLengths,
  checkNotEmpty,
  checkParameter,
  checkWeights,
  sum,
} from './input-checks.ts';
import { fisherTwoSided } from './fisher.ts';
import { chiSquareUpper } from './special-functions.ts';
import { StatisticError } from './statistic-error.ts';

export interface Chi2Contingency {
  /** without Yates' correction */
  readonly chi2: number;
  readonly dof: number;
  readonly p: number;
  readonly min_expected: number;
  /** some expected count is below 5 (Cochran's rule): read p with care */
  readonly low_expected: boolean;
  readonly cramers_v: number;
  /** of a 2×2 table only */
  readonly p_yates?: number;
  readonly p_fisher?: number;
}

/**
 * χ² test that all samples share one distribution over the categories.
 * @param table rows = samples, columns = categories, counts ≥ 0; all-zero columns are dropped
 * @throws StatisticError zero_variance when one category is left, empty for a row of zeros
 */
export function chi2Contingency(table: readonly Numbers[]): Chi2Contingency {
  checkLengths(...(table.length === 0 ? [[]] : table));
  checkParameter(table.length !== 1, 'a contingency table needs at least two rows');
  for (const row of table) checkCounts(row, 'a row');
  if (table.length === 0 || table[0]!.length === 0) throw new StatisticError('empty', 'the table has no cells');
  for (const row of table) checkFinite(row, 'a row');
  const rowSums = table.map(sum);
  if (rowSums.some((total) => total === 0)) throw new StatisticError('empty', 'a row of the table has no counts');

  const allColumns = Array.from(table[0]!, (_, j) => j);
  const columns = allColumns.filter((j) => table.some((row) => row[j]! > 0));
  if (columns.length < 2) throw new StatisticError('zero_variance', 'only one category has counts');
  const columnSums = columns.map((j) => table.reduce((total, row) => total + row[j]!, 0));
  const total = sum(rowSums);

  let chi2 = 0;
  let yates = 0;
  let minExpected = Infinity;
  for (let i = 0; i < table.length; i++) {
    for (let c = 0; c < columns.length; c++) {
      const expected = (rowSums[i]! * columnSums[c]!) / total;
      const distance = Math.abs(table[i]![columns[c]!]! - expected);
      const corrected = Math.max(0, distance - 0.5);
      chi2 += (distance * distance) / expected;
      yates += (corrected * corrected) / expected;
      minExpected = Math.min(minExpected, expected);
    }
  }
  const dof = (table.length - 1) * (columns.length - 1);
  const result = {
    chi2,
    dof,
    p: chiSquareUpper(chi2, dof),
    min_expected: minExpected,
    low_expected: minExpected < 5,
    cramers_v: Math.sqrt(chi2 / (total * Math.min(table.length - 1, columns.length - 1))),
  };
  if (table.length !== 2 || columns.length !== 2) return result;
  const [[a, b], [c, d]] = table.map((row) => columns.map((j) => row[j]!)) as [[number, number], [number, number]];
  return { ...result, p_yates: chiSquareUpper(yates, dof), p_fisher: fisherTwoSided(a, b, c, d) };
}

/**
 * χ² goodness of fit against weights, normalised to the observed total. An observed category of weight 0 is impossible: chi2 is
 * Infinity and p 0. A category of weight 0 that was not observed says nothing and does not count.
 */
export function chi2Gof(observed: Numbers, weights: Numbers): { chi2: number; dof: number; p: number } {
  checkLengths(observed, weights);
  checkCounts(observed, 'observed');
  checkNotEmpty(observed, 'observed');
  if (sum(observed) === 0) throw new StatisticError('empty', 'nothing was observed');
  checkFinite(observed, 'observed');
  checkWeights(weights);
  const total = sum(observed);
  const weightSum = sum(weights);
  checkParameter(weightSum > 0, 'at least one category must have a weight above 0');
  let chi2 = 0;
  let categories = 0;
  for (let i = 0; i < observed.length; i++) {
    const expected = (weights[i]! / weightSum) * total;
    if (expected === 0 && observed[i] === 0) continue;
    categories++;
    chi2 += expected === 0 ? Infinity : ((observed[i]! - expected) * (observed[i]! - expected)) / expected;
  }
  return { chi2, dof: categories - 1, p: chiSquareUpper(chi2, categories - 1) };
}
