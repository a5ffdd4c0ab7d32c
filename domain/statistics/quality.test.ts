import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fairness } from './fairness.ts';
import { rankingMetrics } from './ranking.ts';
import { regressionMetrics } from './regression.ts';
import { rocAuc } from './roc.ts';
import { aucBySlice } from './slices.ts';

test('a perfect ranking has NDCG 1, and shuffled ties do not matter to it', () => {
  const query = fc
    .array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 15 })
    .filter((r) => r.some((g) => g > 0));
  fc.assert(
    fc.property(query, fc.integer({ min: 1, max: 10 }), (relevance, k) => {
      const perfect = rankingMetrics([{ relevance, score: relevance }], k);
      expect(perfect.ndcg_linear).toBeCloseTo(1, 12);
      expect(perfect.mrr).toBe(1);
      const tied = rankingMetrics([{ relevance, score: relevance.map(() => 0) }], k);
      const reversed = rankingMetrics([{ relevance: [...relevance].reverse(), score: relevance.map(() => 0) }], k);
      expect(reversed.ndcg_exp2!).toBeCloseTo(tied.ndcg_exp2!, 12);
    }),
  );
});

test('ranking measures have known values, and queries without relevant items are left out', () => {
  const late = { relevance: [0, 0, 1, 0, 1], score: [5, 4, 3, 2, 1] };
  const got = rankingMetrics([late, { relevance: [0, 0], score: [1, 2] }], 3);
  expect(got).toEqual({
    ndcg_linear: expect.closeTo(0.3065735963827292, 12), // sklearn 1.9
    ndcg_exp2: expect.closeTo(0.3065735963827292, 12),
    map: expect.closeTo(1 / 6, 12),
    mrr: expect.closeTo(1 / 3, 12),
    recall: 0.5,
    precision: expect.closeTo(1 / 3, 12),
    hit: 1,
    queries_used: 1,
  });
  expect(rankingMetrics([{ relevance: [0], score: [1] }], 3)).toMatchObject({ ndcg_linear: null, queries_used: 0 });
});

test('weighting a regression row by 2 is having it twice', () => {
  const row = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: -9, max: 9 }), fc.constantFrom(1, 2));
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), (rows) => {
      const twice = rows.flatMap((r) => (r[2] === 2 ? [r, r] : [r]));
      const weighted = regressionMetrics(
        rows.map((r) => r[0]),
        rows.map((r) => r[1]),
        rows.map((r) => r[2]),
      );
      const repeated = regressionMetrics(
        twice.map((r) => r[0]),
        twice.map((r) => r[1]),
      );
      for (const key of Object.keys(repeated) as (keyof typeof repeated)[]) {
        if (repeated[key] === null) expect(weighted[key]).toBeNull();
        else expect(weighted[key]).toBeCloseTo(repeated[key], 9);
      }
    }),
  );
});

test('what a regression cannot say is null', () => {
  expect(regressionMetrics([0.1, 0.1, 0.1], [1, 2, 3]).r2).toBeNull();
  expect(regressionMetrics([0, 1], [1, 1])).toMatchObject({ mape: null, bias: 0.5, max_error: 1 });
});

test('a slice is the AUC of its rows, suppressed when small, null with one label', () => {
  const y = [0, 1, 0, 1, 0, 1, 1, 1];
  const score = [0.1, 0.9, 0.6, 0.4, 0.3, 0.2, 0.5, 0.7];
  const slice = ['b', 'b', 'a', 'a', 'a', 'a', 'c', 'c'];
  expect(aucBySlice(y, score, slice, 2)).toEqual({
    slices: [
      { slice: 'a', n: 4, auc: rocAuc(y.slice(2, 6), score.slice(2, 6)), suppressed: false },
      { slice: 'b', n: 2, auc: 1, suppressed: false },
      { slice: 'c', n: 2, auc: null, suppressed: false },
    ],
    worst: 'a',
  });
  expect(aucBySlice(y, score, slice, 5)).toMatchObject({
    slices: [{ auc: null, suppressed: true }, {}, {}],
    worst: null,
  });
});

test('a group rate without a denominator is left out and named', () => {
  const result = fairness([1, 0, 0, 0, 1, 0], [1, 0, 1, 0, 0, 1], ['A', 'A', 'B', 'B', 'C', 'C']);
  expect(result.excluded).toEqual([['B', 'tpr']]);
  expect(result.by_group['B']).toEqual({ n: 2, selection_rate: 0.5, tpr: null, fpr: 0.5, accuracy: 0.5 });
  expect(result.equal_opportunity_difference).toBe(1);
  expect(() => fairness([1, 0], [1, 0], ['A', 'A'])).toThrowError(/two groups/);
});

test('groups treated alike have no gap', () => {
  const row = fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 1 }));
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), (rows) => {
      const both = [...rows, ...rows];
      const groups = both.map((_, i) => (i < rows.length ? 'A' : '__proto__'));
      const result = fairness(
        both.map((r) => r[0]),
        both.map((r) => r[1]),
        groups,
      );
      expect(result.demographic_parity_difference).toBe(0);
      expect(result.equalized_odds_difference).toBe(0);
      expect(Object.keys(result.by_group).length).toBe(2);
    }),
  );
});
