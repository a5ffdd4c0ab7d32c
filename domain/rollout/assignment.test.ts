import fc from 'fast-check';
import { expect, test } from 'vitest';
import golden from '../../test/golden/assignment.json' with { type: 'json' };
import { armOf, bucketOf, BUCKETS, murmur3 } from './assignment.ts';

test('hashes are those of the reference, for every length of tail and beyond ASCII', () => {
  expect(golden.hashes.map(({ text }) => murmur3(text))).toEqual(golden.hashes.map(({ hash }) => hash));
});

test('buckets are those of the golden file', () => {
  expect(golden.buckets.map(({ salt, unit }) => bucketOf(salt, unit))).toEqual(
    golden.buckets.map(({ bucket }) => bucket),
  );
});

test('a lone surrogate hashes as the replacement character, as in encoders', () => {
  expect(murmur3('a\ud800b')).toBe(murmur3('a\ufffdb'));
  expect(murmur3('\udc00')).toBe(murmur3('\ufffd'));
});

test('a higher weight keeps every unit that is with the canary already', () => {
  const weight = fc.integer({ min: 0, max: BUCKETS }).map((share) => share / 100);
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), weight, weight, (unit, a, b) => {
      const bucket = bucketOf('rollout/m/2', unit);
      const [lower, higher] = [Math.min(a, b), Math.max(a, b)];
      return armOf(bucket, lower) === 'champion' || armOf(bucket, higher) === 'canary';
    }),
  );
});

test('a weight gives the canary its share of the units, exactly over the buckets', () => {
  for (const weight of [0, 0.01, 5, 12.34, 29, 57.99, 100]) {
    const canary = Array.from({ length: BUCKETS }, (_, bucket) => armOf(bucket, weight)).filter(
      (arm) => arm === 'canary',
    ).length;
    expect([weight, canary]).toEqual([weight, Math.round(weight * 100)]);
  }
});

test('buckets are uniform and another salt deals them anew', () => {
  const units = 20_000;
  let first = 0;
  let both = 0;
  for (let unit = 0; unit < units; unit++) {
    const isFirst = bucketOf('rollout/m/2', `user-${unit}`) < 1_000;
    first += Number(isFirst);
    both += Number(isFirst && bucketOf('rollout/m/3', `user-${unit}`) < 1_000);
  }
  // Six standard deviations of the binomial around a tenth and a hundredth.
  expect(Math.abs(first / units - 0.1)).toBeLessThan(0.013);
  expect(Math.abs(both / units - 0.01)).toBeLessThan(0.0043);
});
