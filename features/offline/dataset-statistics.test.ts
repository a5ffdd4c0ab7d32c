import { expect, test } from 'vitest';
import { columnStatistics } from './dataset-statistics.ts';

test('nulls are counted apart, moments and deciles are of the values', () => {
  const values = Float64Array.from({ length: 110 }, (_, i) => (i < 100 ? 99 - i : NaN));
  expect(columnStatistics('x', values)).toEqual({
    feature: 'x',
    rows: 110,
    nulls: 10,
    nullRate: 10 / 110,
    mean: 49.5,
    standardDeviation: Math.sqrt((100 * 101) / 12),
    min: 0,
    max: 99,
    edges: expect.arrayContaining([9.9, 19.8, 49.5, 79.2]),
    counts: Array.from({ length: 10 }, () => 10),
  });
});

test('a constant has one edge and no deviation, a column of nulls has nothing', () => {
  expect(columnStatistics('x', Float64Array.of(2, 2, 2))).toMatchObject({
    edges: [2],
    counts: [0, 3],
    standardDeviation: 0,
  });
  expect(columnStatistics('x', Float64Array.of(NaN, NaN))).toEqual({
    feature: 'x',
    rows: 2,
    nulls: 2,
    nullRate: 1,
    mean: null,
    standardDeviation: null,
    min: null,
    max: null,
    edges: [],
    counts: [0],
  });
});
