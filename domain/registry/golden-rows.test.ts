import fc from 'fast-check';
import { expect, test } from 'vitest';
import { agreesWithGolden, goldenRows, mixRows } from './golden-rows.ts';

const matrix = fc
  .record({ rows: fc.integer({ min: 1, max: 40 }), width: fc.integer({ min: 1, max: 12 }) })
  .chain(({ rows, width }) =>
    fc
      .array(fc.float(), { minLength: rows * width, maxLength: rows * width })
      .map((values) => ({ rows, width, x: Float32Array.from(values) })),
  );

test('golden rows hold values of their own columns, or none, and are the same each time', () => {
  fc.assert(
    fc.property(matrix, ({ x, rows, width }) => {
      const mixed = mixRows(x, rows, width);
      expect(mixed).toEqual(mixRows(x, rows, width));
      expect(mixed.rows).toBe(16);
      mixed.features.forEach((value, at) => {
        const column = Array.from({ length: rows }, (_, row) => x[row * width + (at % width)]);
        expect(Math.abs(value)).not.toBe(Infinity);
        if (!Number.isNaN(value)) expect(column).toContain(value);
      });
      // a model must say what it makes of missing values too
      expect(mixed.features.some(Number.isNaN)).toBe(true);
    }),
  );
});

test('golden rows of many columns together are no single row of the data', () => {
  const [rows, width] = [200, 30];
  const x = Float32Array.from({ length: rows * width }, (_, at) => Math.floor(at / width));
  const { features } = mixRows(x, rows, width);
  for (let row = 0; row < 16; row++)
    expect(new Set(features.subarray(row * width, (row + 1) * width)).size).toBeGreaterThan(width / 2);
});

test('a wide model gets fewer golden rows, an empty matrix none', () => {
  expect(mixRows(new Float32Array(3_000), 1, 3_000).rows).toBe(2);
  expect(mixRows(new Float32Array(20_000), 1, 20_000).rows).toBe(1);
  expect(mixRows(new Float32Array(0), 0, 4).rows).toBe(0);
});

test('golden rows survive JSON to the bit, missing values and scores that are no numbers too', () => {
  const features = Float32Array.of(0.1, NaN, -0, 3e38);
  const kept = JSON.parse(JSON.stringify(goldenRows(features, Float32Array.of(0.3, NaN)))) as unknown;
  expect(kept).toEqual({
    features: [
      [Math.fround(0.1), null],
      [0, Math.fround(3e38)],
    ],
    scores: [Math.fround(0.3), null],
  });
});

test.each([
  [0.5, 0.5 + 4e-6, true],
  [0.5, 0.5 + 6e-6, false],
  [1_000, 1_000.009, true],
  [0, 9e-8, true],
  [0, 2e-7, false],
  [NaN, NaN, true],
  [NaN, 0.5, false],
  [0.5, NaN, false],
  [Infinity, 1, false],
  [NaN, Infinity, true],
  [0.5, Infinity, false],
])('known %d and given %d agree: %s', (known, given, agrees) => {
  expect(agreesWithGolden(given, known)).toBe(agrees);
});
