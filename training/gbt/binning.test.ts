import fc from 'fast-check';
import { expect, test } from 'vitest';
import { binOf, edgesOf } from './binning.ts';

const floats = fc.array(
  fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, 1.0000001192092896, Infinity, -Infinity)),
  { maxLength: 60 },
);
const sorted = (values: readonly number[]): Float32Array => Float32Array.from(values).sort();

test('a value and its edge compare the same in bins as in numbers', () => {
  fc.assert(
    fc.property(floats, fc.integer({ min: 2, max: 255 }), (values, maxBins) => {
      const edges = edgesOf(sorted(values), maxBins);
      for (const value of Float32Array.from(values))
        for (const [index, edge] of edges.entries()) expect(binOf(value, edges) <= index + 1).toBe(value <= edge);
    }),
  );
});

test('edges ascend, fit the bins, and separate all values when they are few', () => {
  fc.assert(
    fc.property(floats, fc.integer({ min: 2, max: 20 }), (values, maxBins) => {
      const edges = edgesOf(sorted(values), maxBins);
      expect(edges.length).toBeLessThan(maxBins);
      for (let at = 1; at < edges.length; at++) expect(edges[at]!).toBeGreaterThan(edges[at - 1]!);
      const distinct = new Set([...Float32Array.from(values)].map((value) => value + 0));
      if (distinct.size <= maxBins)
        expect(new Set([...distinct].map((value) => binOf(value, edges))).size).toBe(distinct.size);
    }),
  );
});

test('a heavy value takes one bin and leaves the others their share', () => {
  const values = sorted([
    ...Array.from({ length: 900 }, () => 0),
    ...Array.from({ length: 100 }, (_, index) => index + 1),
  ]);
  const edges = edgesOf(values, 11);
  expect(edges.length).toBe(10);
  const rowsPerBin = new Map<number, number>();
  for (const value of values) rowsPerBin.set(binOf(value, edges), (rowsPerBin.get(binOf(value, edges)) ?? 0) + 1);
  expect([...rowsPerBin.values()]).toEqual([900, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
});

test('missing has the bin 0', () => {
  expect(binOf(Number.NaN, Float32Array.of(1))).toBe(0);
  expect(edgesOf(new Float32Array(), 255)).toEqual(new Float32Array());
});
