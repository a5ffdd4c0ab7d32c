import { type Numbers, checkCountParameter, checkFinite, checkLengths } from './input-checks.ts';
import { ascendingOrder } from './order.ts';
import { StatisticError } from './statistic-error.ts';

export interface RankedQuery {
  /** graded relevance ≥ 0 per item; an item is relevant when above 0 */
  readonly relevance: Numbers;
  readonly score: Numbers;
}

/** Means over the queries that have a relevant item; null when none has. */
export interface RankingMetrics {
  readonly ndcg_linear: number | null;
  readonly ndcg_exp2: number | null;
  readonly map: number | null;
  readonly mrr: number | null;
  readonly recall: number | null;
  readonly precision: number | null;
  readonly hit: number | null;
  readonly queries_used: number;
}

const MEASURES = ['ndcg_linear', 'ndcg_exp2', 'map', 'mrr', 'recall', 'precision', 'hit'] as const;
type QueryMetrics = Record<(typeof MEASURES)[number], number>;

/**
 * Ranking quality at k, averaged over queries; a query without relevant items is left out.
 *
 * NDCG discounts by 1/log2(rank + 1) and averages ties: each tied group gets its mean gain at its positions, those beyond k
 * count 0 (McSherry & Najork 2008; sklearn). Gains are the relevance, or 2^relevance − 1. The others break ties by position:
 * map = Σ_{i≤k} P@i·rel_i / min(R, k), precision = hits/k also for shorter lists.
 */
export function rankingMetrics(queries: readonly RankedQuery[], k: number): RankingMetrics {
  for (const { relevance, score } of queries) checkLengths(relevance, score);
  checkCountParameter(k, 'k', 1);
  if (queries.length === 0) throw new StatisticError('empty', 'there are no queries');
  for (const { relevance, score } of queries) {
    checkFinite(relevance, 'relevance');
    checkFinite(score, 'score');
  }
  for (const { relevance } of queries) checkNotNegative(relevance);

  const measured = queries.map((query) => measureQuery(query, k)).filter((metrics) => metrics !== null);
  const means = {} as Record<(typeof MEASURES)[number], number | null>;
  for (const measure of MEASURES) {
    let total = 0;
    for (const metrics of measured) total += metrics[measure];
    means[measure] = measured.length === 0 ? null : total / measured.length;
  }
  return { ...means, queries_used: measured.length };
}

function checkNotNegative(relevance: Numbers): void {
  for (let i = 0; i < relevance.length; i++) {
    if (relevance[i]! < 0)
      throw new StatisticError('out_of_range', `relevance must be at least 0, got ${relevance[i]}`);
  }
}

function measureQuery({ relevance, score }: RankedQuery, k: number): QueryMetrics | null {
  const n = relevance.length;
  let relevant = 0;
  for (let i = 0; i < n; i++) if (relevance[i]! > 0) relevant++;
  if (relevant === 0) return null;

  const descending = ascendingOrder(Float64Array.from(score, (value) => -value));
  let hits = 0;
  let precisions = 0;
  let firstHit = Infinity;
  for (let rank = 1; rank <= Math.min(k, n); rank++) {
    if (relevance[descending[rank - 1]!]! <= 0) continue;
    hits++;
    precisions += hits / rank;
    firstHit = Math.min(firstHit, rank);
  }
  const linear = Float64Array.from(relevance);
  const exp2 = Float64Array.from(relevance, (grade) => 2 ** grade - 1);
  return {
    ndcg_linear: ndcg(linear, score, descending, k),
    ndcg_exp2: ndcg(exp2, score, descending, k),
    map: precisions / Math.min(relevant, k),
    mrr: 1 / firstHit,
    recall: hits / relevant,
    precision: hits / k,
    hit: hits > 0 ? 1 : 0,
  };
}

function ndcg(gain: Float64Array, score: Numbers, descending: Uint32Array, k: number): number {
  const n = gain.length;
  let found = 0;
  for (let start = 0; start < Math.min(k, n);) {
    const value = score[descending[start]!]!;
    let gains = 0;
    let discounts = 0;
    let end = start;
    for (; end < n && score[descending[end]!] === value; end++) {
      gains += gain[descending[end]!]!;
      if (end < k) discounts += 1 / Math.log2(end + 2);
    }
    found += (gains / (end - start)) * discounts;
    start = end;
  }
  const ideal = Float64Array.from(gain).sort().reverse();
  let best = 0;
  for (let i = 0; i < Math.min(k, n); i++) best += ideal[i]! / Math.log2(i + 2);
  return found / best;
}
