import { expect, test } from 'vitest';
import { checkTrainerSpec } from './trainer-spec.ts';

test('defaults fill what the author left out', () => {
  expect(checkTrainerSpec({ kind: 'gbt', trees: 50 }, 'trainer')).toEqual({
    kind: 'gbt',
    trees: 50,
    leaves: 31,
    learningRate: 0.1,
    minRowsPerLeaf: 20,
    minHessianPerLeaf: 1e-3,
    minGain: 0,
    l2: 1,
    maxBins: 255,
    validationFraction: 0.1,
    earlyStoppingTrees: 0,
  });
  expect(checkTrainerSpec({ kind: 'logistic' }, 'trainer')).toEqual({
    kind: 'logistic',
    l2: 1,
    maxIterations: 30,
    validationFraction: 0.1,
  });
});

test('a checked spec is unchanged by a second check', () => {
  const spec = checkTrainerSpec({ kind: 'gbt', leaves: 7 }, 'trainer');
  expect(checkTrainerSpec(spec, 'trainer')).toEqual(spec);
});

test.each([
  [{ kind: 'forest' }, 'm.kind is "forest" but must be one of logistic, gbt'],
  [null, 'm is null but must be an object with a kind'],
  [[], 'm is [] but must be an object with a kind'],
  [{ kind: 'gbt', trees: 0 }, 'm.trees is 0 but must be a whole number from 1 to 10000'],
  [{ kind: 'gbt', trees: 1.5 }, 'm.trees is 1.5 but must be a whole number from 1 to 10000'],
  [{ kind: 'gbt', maxBins: 256 }, 'm.maxBins is 256 but must be a whole number from 2 to 255'],
  [{ kind: 'gbt', learningRate: 0 }, 'm.learningRate is 0 but must be a number above 0 and at most 1'],
  [{ kind: 'gbt', l2: Number.NaN }, 'm.l2 is NaN but must be a number from 0 to 1000000000'],
  [{ kind: 'logistic', l2: 0 }, 'm.l2 is 0 but must be a number above 0 and at most 1000000000'],
  [{ kind: 'logistic', l2: '1' }, 'm.l2 is "1" but must be a number above 0 and at most 1000000000'],
  [
    { kind: 'logistic', trees: 3 },
    'm.trees is 3 but is not a field of this trainer; it has l2, maxIterations, validationFraction',
  ],
  [
    { kind: 'gbt', earlyStoppingTrees: 5, validationFraction: 0 },
    'm.earlyStoppingTrees is 5 but needs a validationFraction above 0',
  ],
])('%j is refused by name, value and rule', (value, detail) => {
  expect(() => checkTrainerSpec(value, 'm')).toThrow(
    expect.objectContaining({ name: 'SerinError', code: 'TRAINING_INVALID', message: detail }),
  );
});
