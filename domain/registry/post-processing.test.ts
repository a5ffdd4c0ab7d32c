import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PostProcessing, postProcess, postProcessingOf } from './post-processing.ts';

const version: PostProcessing = {
  threshold: 0.5,
  calibration: { method: 'temperature', temperature: 2, rows: 100 },
  classes: ['on time', 'late'],
  slices: { by: 'carrier', thresholds: { AA: 0.4, '7': 0.9, true: 0.1 } },
};

test('the calibrated score is held against the threshold, and the raw one is kept', () => {
  expect(postProcess(version, 0.9, { carrier: 'UA' })).toEqual({
    score: expect.closeTo(0.75, 12) as number,
    rawScore: 0.9,
    label: 1,
    className: 'late',
    threshold: 0.5,
    slice: null,
  });
});

test('a version without any of it answers with what the model gave', () => {
  expect(postProcess({ threshold: 0.3 }, 0.3, {})).toEqual({
    score: 0.3,
    rawScore: 0.3,
    label: 1,
    className: null,
    threshold: 0.3,
    slice: null,
  });
});

test.each([
  ['AA', 0.4, 'AA'],
  [7, 0.9, '7'],
  [true, 0.1, 'true'],
  ['UA', 0.5, null],
  [null, 0.5, null],
  // names that every object has
  ['constructor', 0.5, null],
  ['__proto__', 0.5, null],
])('the value %j has the threshold %d', (carrier, threshold, slice) => {
  expect(postProcess(version, 0.5, { carrier })).toMatchObject({ threshold, slice });
});

test('a request without the field has the threshold of the version', () => {
  expect(postProcess(version, 0.5, {})).toMatchObject({ threshold: 0.5, slice: null });
});

test('within a slice a higher raw score has neither a lower score nor a lower label', () => {
  const score = fc.float({ min: 0, max: 1, noNaN: true });
  const carrier = fc.constantFrom('AA', 'UA', 7, true, null);
  fc.assert(
    fc.property(score, score, carrier, (a, b, carrier) => {
      const lower = postProcess(version, Math.min(a, b), { carrier });
      const higher = postProcess(version, Math.max(a, b), { carrier });
      expect(higher.score).toBeGreaterThanOrEqual(lower.score);
      expect(higher.label).toBeGreaterThanOrEqual(lower.label);
      expect(higher.label).toBe(higher.score >= higher.threshold ? 1 : 0);
      expect(higher.className).toBe(higher.label === 1 ? 'late' : 'on time');
    }),
  );
});

test('a score that is no number is no yes', () => {
  expect(postProcess(version, NaN, { carrier: 'AA' })).toMatchObject({ score: NaN, label: 0 });
});

test('of a manifest what is absent stays absent', () => {
  expect(postProcessingOf({ ...version, model: 'm' } as PostProcessing)).toEqual(version);
  expect(Object.keys(postProcessingOf({ threshold: 0.5 }))).toEqual(['threshold']);
});
