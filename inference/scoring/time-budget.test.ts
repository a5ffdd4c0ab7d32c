import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TimeBudget } from './time-budget.ts';

const limits = { share: 0.05, pieceMs: 0.25, maxFactor: 25, burstMs: 50 };

/** Takes pieces whenever it may, and says which part of the time that was. */
function shareOf(pieceMs: number, forMs: number): number {
  const budget = new TimeBudget(limits, 0);
  let now = 0;
  let taken = 0;
  while (now < forMs) {
    if (budget.hasSome(now)) {
      now += pieceMs;
      taken += pieceMs;
      budget.spend(now, pieceMs);
    } else {
      now += 1;
    }
  }
  return taken / now;
}

test('short pieces take their share of the time, long ones ever less, down to a floor', () => {
  expect(shareOf(0.25, 100_000)).toBeCloseTo(0.05, 2);
  expect(shareOf(0.5, 100_000)).toBeCloseTo(0.05 / 4, 3);
  expect(shareOf(2.5, 1_000_000)).toBeCloseTo(0.05 / 25, 4);
  expect(shareOf(25, 10_000_000)).toBeCloseTo(0.05 / 25, 4);
});

test('no more is saved up than the burst, however long it was quiet', () => {
  const budget = new TimeBudget(limits, 0);
  expect(budget.hasSome(1e9)).toBe(true);
  budget.spend(1e9, 0.25);
  for (let piece = 1; piece < 200; piece++) budget.spend(1e9, 0.25);
  expect(budget.hasSome(1e9)).toBe(false);
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
          budget.spend(now, pieceMs);
        }
        expect(taken).toBeLessThanOrEqual(limits.share * now + limits.burstMs + longest + 1e-6);
      },
    ),
  );
});
