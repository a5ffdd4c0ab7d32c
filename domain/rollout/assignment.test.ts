import fc from 'fast-check';
import { expect, test } from 'vitest';
import golden from '../../test/golden/assignment.json' with { type: 'json' };
import { srm } from '../statistics/sample-ratio.ts';
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

/** A salt as rollouts have it, and any other. */
const salts = fc.oneof(
  fc
    .tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), fc.nat(999))
    .map(([model, version]) => `rollout/${model}/${version}`),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
);
const UNITS = Array.from({ length: 4_000 }, (_, unit) => `user-${unit}`);

test('a ramp keeps whom it has: of every ramp, under every salt, nobody who came in earlier goes back', () => {
  const ramp = fc.uniqueArray(fc.integer({ min: 1, max: BUCKETS }), { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(salts, ramp, (salt, shares) => {
      const buckets = UNITS.slice(0, 500).map((unit) => bucketOf(salt, unit));
      let before: readonly boolean[] = buckets.map(() => false);
      for (const share of shares.toSorted((a, b) => a - b)) {
        const now = buckets.map((bucket) => armOf(bucket, share / 100) === 'canary');
        expect(before.every((was, unit) => !was || now[unit]!)).toBe(true);
        before = now;
      }
    }),
  );
});

test('from 5 to 20 % the first 5 % stay where they were, and three times as many join them', () => {
  const at = (weight: number) => UNITS.filter((unit) => armOf(bucketOf('rollout/m/2', unit), weight) === 'canary');
  const [first, second] = [at(5), new Set(at(20))];
  expect(first.every((unit) => second.has(unit))).toBe(true);
  // five standard deviations of the binomials
  expect(Math.abs(first.length - 0.05 * UNITS.length)).toBeLessThan(5 * Math.sqrt(UNITS.length * 0.05 * 0.95));
  expect(Math.abs(second.size - 0.2 * UNITS.length)).toBeLessThan(5 * Math.sqrt(UNITS.length * 0.2 * 0.8));
});

test('the split is that of the route by a chi-square test, whatever salt, weight and form of units', () => {
  const forms = [
    (i: number) => `user-${i}`,
    (i: number) => String(i),
    (i: number) => `AA|2001-06-${String((i % 28) + 1).padStart(2, '0')}|${i}`,
    (i: number) => `${i.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`,
  ];
  let worst = 1;
  let trials = 0;
  for (const form of forms) {
    for (let rollout = 0; rollout < 25; rollout++) {
      const buckets = Array.from({ length: 4_000 }, (_, i) => bucketOf(`rollout/m/${rollout}`, form(i)));
      for (const weight of [1, 5, 20, 50]) {
        worst = Math.min(worst, srm(countsOf(buckets, weight), [100 - weight, weight]).p);
        trials++;
      }
    }
  }
  // the least of as many fair p values is below this in one of ten thousand such tests
  expect(worst).toBeGreaterThan(1e-4 / trials);
});

test('a split that is not the route’s is found', () => {
  const buckets = UNITS.map((unit) => bucketOf('rollout/m/2', unit));
  expect(srm(countsOf(buckets, 50), [50, 50]).p).toBeGreaterThan(1e-3);
  // units that are lost on the way to the canary: one in five
  const [champion, canary] = countsOf(
    buckets.filter((bucket) => armOf(bucket, 50) === 'champion' || bucket % 5 !== 0),
    50,
  );
  expect(srm([champion, canary], [50, 50]).p).toBeLessThan(1e-6);
});

function countsOf(buckets: readonly number[], weight: number): [number, number] {
  const canary = buckets.filter((bucket) => armOf(bucket, weight) === 'canary').length;
  return [buckets.length - canary, canary];
}
