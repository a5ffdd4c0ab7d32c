import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TokenBuckets } from './token-buckets.ts';

test('a quiet client may ask its burst at once, then at its rate, and is told when', () => {
  const buckets = new TokenBuckets({ rate: 10, burst: 3, maxClients: 10 });
  expect([0, 0, 0, 0].map((at) => buckets.take('a', at))).toEqual([0, 0, 0, 100]);
  expect(buckets.take('a', 60)).toBeCloseTo(40);
  expect(buckets.take('a', 100)).toBe(0);
  expect(buckets.take('b', 100)).toBe(0);
});

test('a large request is let in and makes its client wait for it', () => {
  const buckets = new TokenBuckets({ rate: 100, burst: 10, maxClients: 10 });
  expect(buckets.take('a', 0)).toBe(0);
  buckets.charge('a', 49, 0);
  expect(buckets.take('a', 0)).toBeCloseTo(410);
});

test('clients are remembered up to a number; the one not heard of for longest is forgotten', () => {
  const buckets = new TokenBuckets({ rate: 1, burst: 1, maxClients: 2 });
  buckets.take('old', 0);
  buckets.take('kept', 0);
  buckets.take('old', 1);
  buckets.take('new', 1);
  expect(buckets.clients).toBe(2);
  expect(buckets.take('old', 2)).toBeGreaterThan(0);
  expect(buckets.take('kept', 2)).toBe(0);
});

test('in no stretch of time does a client get more than its burst and its rate', () => {
  const waits = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(waits, fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), (given, rate, burst) => {
      const buckets = new TokenBuckets({ rate, burst, maxClients: 1 });
      const taken: number[] = [];
      let nowMs = 0;
      for (const wait of given) {
        nowMs += wait;
        if (buckets.take('a', nowMs) === 0) taken.push(nowMs);
      }
      for (let from = 0; from < taken.length; from++) {
        for (let to = from; to < taken.length; to++)
          expect(to - from + 1).toBeLessThanOrEqual(burst + ((taken[to]! - taken[from]!) / 1_000) * rate + 1e-6);
      }
    }),
    { numRuns: 50 },
  );
});
