import { type Numbers, checkBinary, checkFinite, checkLengths, checkNotEmpty } from './input-checks.ts';
import { StatisticError } from './statistic-error.ts';

export interface GroupRates {
  readonly n: number;
  readonly selection_rate: number;
  /** null when the group has no positives (tpr) or no negatives (fpr) */
  readonly tpr: number | null;
  readonly fpr: number | null;
  readonly accuracy: number;
}

export interface Fairness {
  /** largest − smallest selection rate */
  readonly demographic_parity_difference: number;
  /** smallest / largest; null for 0/0 */
  readonly demographic_parity_ratio: number | null;
  /** the worse of TPR and FPR */
  readonly equalized_odds_difference: number | null;
  readonly equalized_odds_ratio: number | null;
  readonly equal_opportunity_difference: number | null;
  readonly by_group: Readonly<Record<string, GroupRates>>;
  /** rates left out because their denominator is 0 (fairlearn would count them as 0) */
  readonly excluded: readonly (readonly [group: string, rate: 'tpr' | 'fpr'])[];
}

/**
 * How differently a binary decision treats groups.
 *
 * Sources: Dwork et al. (2012) for parity, Hardt, Price & Srebro (2016) for odds and opportunity.
 * @param y,prediction 0 or 1    @param group name per row
 * @throws StatisticError single_group
 */
export function fairness(y: Numbers, prediction: Numbers, group: ArrayLike<string>): Fairness {
  checkLengths(y, prediction, group);
  checkNotEmpty(y, 'y');
  checkFinite(y, 'y');
  checkFinite(prediction, 'prediction');
  checkBinary(y, 'y');
  checkBinary(prediction, 'prediction');
  const counts = countByGroup(y, prediction, group);
  if (counts.size < 2) throw new StatisticError('single_group', 'fairness compares at least two groups');

  const ratesByName: [string, GroupRates][] = [];
  const excluded: [string, 'tpr' | 'fpr'][] = [];
  for (const name of [...counts.keys()].sort()) {
    const { tp, fp, fn, tn } = counts.get(name)!;
    const n = tp + fp + fn + tn;
    const tpr = tp + fn === 0 ? null : tp / (tp + fn);
    const fpr = fp + tn === 0 ? null : fp / (fp + tn);
    if (tpr === null) excluded.push([name, 'tpr']);
    if (fpr === null) excluded.push([name, 'fpr']);
    ratesByName.push([name, { n, selection_rate: (tp + fp) / n, tpr, fpr, accuracy: (tp + tn) / n }]);
  }
  const groups = ratesByName.map(([, rates]) => rates);
  const selection = range(groups.map((rates) => rates.selection_rate));
  const tpr = range(groups.map((rates) => rates.tpr));
  const fpr = range(groups.map((rates) => rates.fpr));
  return {
    demographic_parity_difference: selection.difference!,
    demographic_parity_ratio: selection.ratio,
    equalized_odds_difference: worse(tpr.difference, fpr.difference, Math.max),
    equalized_odds_ratio: worse(tpr.ratio, fpr.ratio, Math.min),
    equal_opportunity_difference: tpr.difference,
    by_group: Object.fromEntries(ratesByName),
    excluded,
  };
}

interface ConfusionCounts {
  tp: number;
  fp: number;
  fn: number;
  tn: number;
}

function countByGroup(y: Numbers, prediction: Numbers, group: ArrayLike<string>): Map<string, ConfusionCounts> {
  const counts = new Map<string, ConfusionCounts>();
  for (let i = 0; i < y.length; i++) {
    let of = counts.get(group[i]!);
    if (of === undefined) {
      of = { tp: 0, fp: 0, fn: 0, tn: 0 };
      counts.set(group[i]!, of);
    }
    if (y[i] === 1) {
      if (prediction[i] === 1) of.tp++;
      else of.fn++;
    } else if (prediction[i] === 1) of.fp++;
    else of.tn++;
  }
  return counts;
}

/** max − min and min/max over the rates that exist. */
function range(rates: readonly (number | null)[]): { difference: number | null; ratio: number | null } {
  const known = rates.filter((rate) => rate !== null);
  if (known.length === 0) return { difference: null, ratio: null };
  const low = Math.min(...known);
  const high = Math.max(...known);
  return { difference: high - low, ratio: high === 0 ? null : low / high };
}

function worse(a: number | null, b: number | null, pick: (a: number, b: number) => number): number | null {
  if (a === null) return b;
  return b === null ? a : pick(a, b);
}
