import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SHADOW_LIMITS as limits } from './shadow-runner.ts';
import { TimeBudget, type TimeBudgetLimits, UsualLength } from './time-budget.ts';

/** Takes pieces whenever it may, and says which part of the time that was. */
function shareOf(pieceMs: number, forMs: number): number {
  const budget = new TimeBudget(limits, 0);
  let now = 0;
  let taken = 0;
  while (now < forMs) {
    if (budget.hasSome(now)) {
      now += pieceMs;
      taken += pieceMs;
      budget.spend(now, pieceMs, pieceMs);
    } else {
      now += 1;
    }
  }
  return taken / now;
}

test('short pieces take their share of the time, long ones ever less, down to a floor', () => {
  expect(shareOf(0.25, 100_000)).toBeCloseTo(0.05, 2);
  expect(shareOf(0.7, 100_000)).toBeCloseTo(0.05, 2);
  expect(shareOf(1.4, 100_000)).toBeCloseTo(0.05 / 8, 3);
  expect(shareOf(2.5, 1_000_000)).toBeCloseTo(0.05 / 25, 4);
  expect(shareOf(25, 10_000_000)).toBeCloseTo(0.05 / 25, 4);
});

test('no more is saved up than the burst, however long it was quiet', () => {
  const budget = new TimeBudget(limits, 0);
  expect(budget.hasSome(1e9)).toBe(true);
  budget.spend(1e9, 0.25, 0.25);
  for (let piece = 1; piece < 200; piece++) budget.spend(1e9, 0.25, 0.25);
  expect(budget.hasSome(1e9)).toBe(false);
});

test('a piece that takes longer than its kind does as a rule costs what it takes, once', () => {
  const budget = new TimeBudget({ ...limits, burstMs: 1 }, 0);
  const usual = new UsualLength();
  for (let piece = 0; piece < 50; piece++) usual.learn(0.1);
  budget.spend(0, 24, usual.learn(24));
  // 24 ms at a twentieth of the time, less the millisecond that was saved up
  expect(budget.hasSome(450)).toBe(false);
  expect(budget.hasSome(470)).toBe(true);
});

test('pieces that are long each time are found out within a dozen, and forgotten as soon', () => {
  const usual = new UsualLength();
  const learned = Array.from({ length: 15 }, () => usual.learn(5));
  expect(learned[0]).toBeLessThan(0.1);
  expect(learned[11]).toBeGreaterThan(2.5);
  expect(learned[14]).toBeGreaterThan(4);
  expect(learned.every((ms) => ms <= 5)).toBe(true);
  const forgotten = Array.from({ length: 12 }, () => usual.learn(0.1));
  expect(forgotten[11]).toBeLessThan(0.2);
});

test('over any time the share is kept, but for the burst and the last piece', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          pauseMs: fc.double({ min: 0, max: 50, noNaN: true }),
          pieceMs: fc.double({ min: 0, max: 20, noNaN: true }),
        }),
        {
          maxLength: 200,
        },
      ),
      (steps) => {
        const budget = new TimeBudget(limits, 0);
        let now = 0;
        let taken = 0;
        let longest = 0;
        for (const { pauseMs, pieceMs } of steps) {
          now += pauseMs;
          if (!budget.hasSome(now)) continue;
          now += pieceMs;
          taken += pieceMs;
          longest = Math.max(longest, pieceMs);
          budget.spend(now, pieceMs, pieceMs);
        }
        expect(taken).toBeLessThanOrEqual(limits.share * now + limits.burstMs + longest + 1e-6);
      },
    ),
  );
});

test.each([0.25, 0.7, 1, 1.5, 2, 10])(
  'a shadow that takes %f ms a row moves the 99th percentile of those it shares a thread with by less than a twentieth',
  (pieceMs) => expect(tailMovedBy(limits, pieceMs)).toBeLessThan(1.05),
);

test('paid in proportion to its length a long piece would move it further', () => {
  expect(tailMovedBy({ ...limits, maxFactor: 1 }, 2.5)).toBeGreaterThan(1.05);
});

/** The 99th percentile beside a shadow whose rows take `pieceMs`, by that without one. */
function tailMovedBy(of: TimeBudgetLimits, pieceMs: number): number {
  const random = seeded(7);
  const exponential = (mean: number): number => -mean * Math.log(1 - random());
  const budget = new TimeBudget({ ...of, burstMs: 0.001 }, 0);
  const requests = 60_000;
  const [alone, shared] = [new Float64Array(requests), new Float64Array(requests)];
  let now = 0;
  let [runsFrom, runsUntil] = [0, 0];
  for (let request = 0; request < requests; request++) {
    // a thousand a second, with a median of 0.6 ms and a 99th percentile of 2 ms
    now += exponential(1);
    const own = 0.35 + exponential(0.36);
    alone[request] = own;
    shared[request] = own + (now >= runsFrom ? Math.max(0, runsUntil - now) : 0);
    if (now < runsUntil || !budget.hasSome(now)) continue;
    // it begins when the answer is out
    runsFrom = now + own;
    runsUntil = runsFrom + pieceMs;
    budget.spend(now, pieceMs, pieceMs);
  }
  return p99(shared) / p99(alone);
}

function p99(values: Float64Array): number {
  return values.toSorted()[Math.floor(values.length * 0.99)]!;
}

/** Numbers in [0, 1), the same ones for a seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
