import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import golden from '../../test/golden/calibration.json' with { type: 'json' };
import { expectedCalibrationError } from '../statistics/calibration.ts';
import { type Calibration, calibrate, CALIBRATION_METHODS, calibrationText } from './calibration.ts';
import { fitCalibration } from './fit-calibration.ts';

const probabilities = (calibration: Calibration) => golden.probes.map((score) => calibrate(calibration, score));
const closeTo = (expected: readonly number[], digits: number) => expected.map((each) => expect.closeTo(each, digits));

describe.each(golden.cases)(
  'as scikit-learn and SciPy fit it: $name',
  ({ y, scores, platt, isotonic, temperature }) => {
    test('platt', () => {
      const fitted = fitCalibration('platt', y, scores);
      expect(fitted).toEqual({
        method: 'platt',
        slope: expect.closeTo(platt.slope, 9) as number,
        intercept: expect.closeTo(platt.intercept, 9) as number,
        rows: 240,
      });
      expect(probabilities(fitted)).toEqual(closeTo(platt.probabilities, 9));
      // its own search ends a little before the minimum
      expect(fitted).toMatchObject({
        slope: expect.closeTo(platt.sklearnSlope, 3) as number,
        intercept: expect.closeTo(platt.sklearnIntercept, 3) as number,
      });
    });

    test('isotonic', () => {
      const fitted = fitCalibration('isotonic', y, scores);
      expect(fitted).toEqual({
        method: 'isotonic',
        scores: isotonic.scores,
        probabilities: closeTo(isotonic.thresholds, 12),
        rows: 240,
      });
      expect(probabilities(fitted)).toEqual(closeTo(isotonic.probabilities, 12));
    });

    test('temperature', () => {
      const fitted = fitCalibration('temperature', y, scores);
      expect(fitted).toMatchObject({ temperature: expect.closeTo(temperature.temperature, 9) as number });
      expect(probabilities(fitted)).toEqual(closeTo(temperature.probabilities, 9));
    });
  },
);

const share = fc.integer({ min: 0, max: 1_000_000 }).map((millionths) => millionths / 1_000_000);

/** Labels that tend to rise with the score. */
const someRows = fc
  .array(fc.record({ score: share.map(Math.fround), noise: share }), { minLength: 100, maxLength: 200 })
  .map((rows) => ({
    scores: rows.map(({ score }) => score),
    y: rows.map(({ score, noise }) => (noise < 0.1 + 0.8 * score ? 1 : 0)),
  }));

/** null: refused as rows that say nothing. */
function fitOrRefuse(method: (typeof CALIBRATION_METHODS)[number], y: number[], scores: number[]): Calibration | null {
  try {
    return fitCalibration(method, y, scores);
  } catch (error) {
    expect(error).toMatchObject({ code: 'TRAINING_INVALID' });
    return null;
  }
}

describe.each(CALIBRATION_METHODS)('%s', (method) => {
  test('a higher score never has a lower probability, and each is a probability', () => {
    let fitted = 0;
    fc.assert(
      fc.property(
        someRows,
        fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 2 }),
        ({ y, scores }, asked) => {
          const calibration = fitOrRefuse(method, y, scores);
          if (calibration === null) return;
          fitted++;
          const given = [...asked, ...scores, 0, 1]
            .toSorted((a, b) => a - b)
            .map((score) => calibrate(calibration, score));
          for (const [i, probability] of given.entries()) {
            expect(probability).toBeGreaterThanOrEqual(given[i - 1] ?? 0);
            expect(probability).toBeLessThanOrEqual(1);
          }
        },
      ),
    );
    expect(fitted).toBeGreaterThan(20);
  });

  test('the same rows in another order give the same calibration', () => {
    const [{ y, scores }] = golden.cases as [(typeof golden.cases)[number]];
    const turned = fitCalibration(method, y.toReversed(), scores.toReversed());
    const straight = fitCalibration(method, y, scores);
    for (const score of golden.probes) expect(calibrate(turned, score)).toBeCloseTo(calibrate(straight, score), 12);
  });

  test('it lowers the calibration error of a model that is too sure', () => {
    const [{ y, scores }] = golden.cases as [(typeof golden.cases)[number]];
    const calibration = fitCalibration(method, y, scores);
    const ece = (given: number[]) => expectedCalibrationError(y, given, { bins: 10, strategy: 'equal_mass' }).ece;
    expect(ece(scores.map((score) => calibrate(calibration, score)))).toBeLessThan(ece(scores) / 1.5);
  });

  test('a score that is no number has no probability', () => {
    const [{ y, scores }] = golden.cases as [(typeof golden.cases)[number]];
    expect(calibrate(fitCalibration(method, y, scores), NaN)).toBeNaN();
  });

  test.each([
    ['a score that is no probability', [0, 1], [0.2, 1.5], /row 1 has the score 1.5/],
    ['too few rows of a class', [1, 0, 0, 0], [0.9, 0.1, 0.2, 0.3], /there are 1 with label 1 and 3 with label 0/],
    ['one score for all', alternating(40), new Array<number>(40).fill(0.3), /every validation row has the score 0.3/],
    [
      'scores that fall when the labels rise',
      alternating(40),
      alternating(40).map((label, i) => (label === 1 ? 0.1 + i / 1000 : 0.8 + i / 1000)),
      /do not rise with the labels/,
    ],
  ])('%s is refused', (_, y, scores, message) => {
    expect(() => fitCalibration(method, y, scores)).toThrow(
      expect.objectContaining({ code: 'TRAINING_INVALID', message: expect.stringMatching(message) as string }),
    );
  });
});

test('rows of one class above a score do not make it certain', () => {
  const y = [...new Array<number>(20).fill(0), ...new Array<number>(20).fill(1)];
  const scores = y.map((_, row) => row / 40);
  const isotonic = fitCalibration('isotonic', y, scores);
  expect(calibrate(isotonic, 1)).toBeCloseTo(41 / 42, 12);
  expect(calibrate(isotonic, 0)).toBeCloseTo(1 / 42, 12);
  const platt = fitCalibration('platt', y, scores);
  expect(calibrate(platt, 0.6)).toBeLessThan(1);
  expect(calibrate(platt, 0.6)).toBeGreaterThan(0.5);
});

test('a calibration has a line of text', () => {
  const [{ y, scores }] = golden.cases as [(typeof golden.cases)[number]];
  expect(CALIBRATION_METHODS.map((method) => calibrationText(fitCalibration(method, y, scores)))).toEqual([
    'platt, slope 0.39, intercept 0.16, fitted on 240 rows',
    'isotonic, 16 points, fitted on 240 rows',
    'temperature, T 2.69, fitted on 240 rows',
  ]);
});

function alternating(rows: number): number[] {
  return Array.from({ length: rows }, (_, row) => row % 2);
}
