import fc from 'fast-check';
import { expect, test } from 'vitest';
import { holdOutLatest } from './holdout.ts';

test('the latest rows are held out, and rows of one instant stay together', () => {
  const { fit, validation } = holdOutLatest(Float64Array.of(5, 1, 4, 4, 2, 3, 0, 6, 4, 7), 0.3);
  expect([...validation]).toEqual([0, 7, 9]);
  expect([...fit]).toEqual([1, 2, 3, 4, 5, 6, 8]);
  expect([...holdOutLatest(Float64Array.of(1, 2, 2, 2), 0.5).validation]).toEqual([]);
});

test('every row is on one side, at most the fraction is held out, and all of it is later', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1 }),
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      (times, fraction) => {
        const asOf = Float64Array.from(times);
        const { fit, validation } = holdOutLatest(asOf, fraction);
        expect([...fit, ...validation].toSorted((a, b) => a - b)).toEqual(times.map((_, row) => row));
        expect(fit.length).toBeGreaterThan(0);
        expect(validation.length).toBeLessThanOrEqual(times.length * fraction);
        const latestFitted = Math.max(...[...fit].map((row) => asOf[row]!));
        for (const row of validation) expect(asOf[row]).toBeGreaterThan(latestFitted);
      },
    ),
  );
});
