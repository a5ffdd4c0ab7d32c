import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evaluateScores } from './evaluate.ts';
import { randomNumbers } from './testing/a-matrix.ts';

/** Labels drawn with known probabilities, which are the perfect scores; a blurred copy is a worse model. */
function scored(rows: number, seed = 1) {
  const random = randomNumbers(seed);
  const scores = Float64Array.from({ length: rows }, () => random());
  const y = Uint8Array.from(scores, (score) => (random() < score ? 1 : 0));
  const blurred = scores.map((score) => 0.5 * score + 0.5 * random());
  return { y, scores, blurred };
}

test('a small case has the numbers worked out by hand', () => {
  const report = evaluateScores({
    y: Uint8Array.of(0, 0, 1, 1),
    scores: Float64Array.of(0.1, 0.6, 0.5, 0.9),
    threshold: 0.5,
  });
  expect(report.rows).toBe(4);
  expect(report.positives).toBe(2);
  expect(report.auc?.value).toBe(0.75);
  expect(report.logLoss.value).toBeCloseTo(-(Math.log(0.9) + Math.log(0.4) + Math.log(0.5) + Math.log(0.9)) / 4, 12);
  expect(report.brier.value).toBeCloseTo((0.01 + 0.36 + 0.25 + 0.01) / 4, 12);
  expect(report.threshold).toMatchObject({
    truePositives: 2,
    falsePositives: 1,
    falseNegatives: 0,
    trueNegatives: 1,
    recall: 1,
    precision: 2 / 3,
  });
  expect(report.scores.mean).toBeCloseTo(0.525, 12);
  expect(report.scores.histogram.length).toBe(50);
  expect(report.scores.histogram.map((rows, bin) => (rows > 0 ? bin : -1)).filter((bin) => bin >= 0)).toEqual([
    5, 25, 30, 45,
  ]);
  expect(report.comparison).toBeNull();
});

test('intervals hold the true value about 95 times in 100', () => {
  // Labels are drawn with the scores as probabilities, uniform: AUC 5/6, log loss 1/2, Brier 1/6.
  const covered = { auc: 0, logLoss: 0, brier: 0 };
  const truth = { auc: 5 / 6, logLoss: 1 / 2, brier: 1 / 6 };
  const rounds = 300;
  for (let round = 0; round < rounds; round++) {
    const { y, scores } = scored(400, round + 1);
    const report = evaluateScores({ y, scores, threshold: 0.5 });
    for (const name of ['auc', 'logLoss', 'brier'] as const) {
      const { low, high } = report[name]!;
      if (low <= truth[name] && truth[name] <= high) covered[name]++;
    }
  }
  // Three standard deviations of a binomial of 300 rounds around 95 %.
  for (const count of Object.values(covered)) expect(Math.abs(count / rounds - 0.95)).toBeLessThan(0.038);
});

test('a perfectly calibrated score has a small calibration error, a distorted one a large', () => {
  const { y, scores } = scored(20_000);
  expect(evaluateScores({ y, scores, threshold: 0.5 }).calibration.ece).toBeLessThan(0.02);
  const halved = evaluateScores({ y, scores: scores.map((score) => score / 2), threshold: 0.5 }).calibration;
  expect(halved.ece).toBeGreaterThan(0.2);
  expect(halved.bins.length).toBe(15);
  expect(halved.bins.reduce((rows, bin) => rows + bin.rows, 0)).toBe(20_000);
});

test('the paired comparison favours the better model, and says so the other way round', () => {
  const { y, scores, blurred } = scored(3000);
  const better = evaluateScores({ y, scores, champion: blurred, threshold: 0.5 }).comparison!;
  const worse = evaluateScores({ y, scores: blurred, champion: scores, threshold: 0.5 }).comparison!;
  expect(better.aucDifference!.low).toBeGreaterThan(0);
  expect(better.aucDifference!.p).toBeLessThan(1e-6);
  expect(better.logLossDifference.high).toBeLessThan(0);
  expect(better.logLossDifference.p).toBeLessThan(1e-6);
  expect(worse.aucDifference!.value).toBeCloseTo(-better.aucDifference!.value, 12);
  expect(worse.logLossDifference.value).toBeCloseTo(-better.logLossDifference.value, 12);
  expect(better.championAuc).toBeCloseTo(evaluateScores({ y, scores: blurred, threshold: 0.5 }).auc!.value, 12);
});

test('a model compared with itself differs by nothing', () => {
  const { y, scores } = scored(500);
  const { aucDifference, logLossDifference } = evaluateScores({
    y,
    scores,
    champion: scores,
    threshold: 0.5,
  }).comparison!;
  expect(aucDifference).toMatchObject({ value: 0, p: 1 });
  expect(logLossDifference).toMatchObject({ value: 0, standardError: 0, p: 1 });
});

test('slices are reported largest first; those too small are counted but not measured', () => {
  const { y, scores } = scored(1000);
  const origin = Array.from(y, (_, row) => (row < 700 ? 'SEA' : row < 900 ? 'JFK' : 'LAX'));
  const report = evaluateScores({ y, scores, slices: { origin, side: origin.map(() => 'all') }, threshold: 0.5 });
  expect(report.slices.map(({ column, value, rows }) => [column, value, rows])).toEqual([
    ['origin', 'SEA', 700],
    ['origin', 'JFK', 200],
    ['origin', 'LAX', 100],
    ['side', 'all', 1000],
  ]);
  expect(report.slices[1]!.auc!.value).toBeGreaterThan(0.6);
  expect(report.slices[2]).toMatchObject({ auc: null, logLoss: null });
  expect(report.slices[3]!.auc).toEqual(report.auc);
  expect(report.slices[3]!.logLoss!.value).toBeCloseTo(report.logLoss.value, 10);
});

test('rows of one class have no AUC, but all else', () => {
  const report = evaluateScores({
    y: Uint8Array.of(0, 0, 0),
    scores: Float32Array.of(0, 0.5, 1),
    champion: Float32Array.of(0, 0, 0),
    threshold: 0.5,
  });
  expect(report.auc).toBeNull();
  expect(report.comparison).toMatchObject({ championAuc: null, aucDifference: null });
  expect(report.threshold.recall).toBeNull();
  // A certain error costs −ln 1e-15, give or take what rounding 1 − 1e-15 costs.
  expect(report.logLoss.value).toBeCloseTo((0 + Math.LN2 + Math.log(1e15)) / 3, 3);
  expect((report.logLoss.low + report.logLoss.high) / 2).toBeCloseTo(report.logLoss.value, 12);
});

test('a report is plain JSON, whatever the rows', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 1 }), fc.float({ min: 0, max: 1, noNaN: true })), {
        minLength: 1,
        maxLength: 30,
      }),
      (rows) => {
        const scores = Float32Array.from(rows, ([, score]) => score);
        const report = evaluateScores({
          y: Uint8Array.from(rows, ([label]) => label),
          scores,
          champion: scores.toReversed(),
          slices: { all: rows.map(() => 'x') },
          threshold: 0.5,
        });
        const plain = JSON.parse(JSON.stringify(report)) as unknown;
        // −0 has no JSON, so it is compared as 0; NaN and infinities would show as null.
        expect(JSON.stringify(plain)).toBe(JSON.stringify(report));
        expect(findNonFinite(report)).toEqual([]);
      },
    ),
  );
});

function findNonFinite(value: unknown, path = ''): string[] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [path];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => findNonFinite(member, `${path}.${key}`));
}

test.each([
  ['no rows', { y: new Uint8Array(), scores: new Float32Array() }, 'no labelled rows'],
  ['too few scores', { y: Uint8Array.of(0, 1), scores: Float32Array.of(0.5) }, 'scores has 1 rows for 2 labels'],
  [
    'a score that is missing',
    { y: Uint8Array.of(0, 1), scores: Float32Array.of(0.5, Number.NaN) },
    'scores has NaN at row 1',
  ],
  [
    'a champion that is no probability',
    { y: Uint8Array.of(0), scores: Float32Array.of(0.5), champion: Float32Array.of(2) },
    'champion has 2 at row 0',
  ],
  ['a label that is no class', { y: Uint8Array.of(3), scores: Float32Array.of(0.5) }, 'row 0 has label 3'],
  [
    'a slice of other rows',
    { y: Uint8Array.of(1), scores: Float32Array.of(0.5), slices: { origin: [] } },
    'origin has 0 values for 1 rows',
  ],
])('%s is refused', (_, request, detail) => {
  expect(() => evaluateScores({ threshold: 0.5, ...request })).toThrow(detail);
});

test('the report says what a calibration did to the calibration error', () => {
  const { y, scores } = scored(5_000);
  const sure = scores.map((score) => 1 / (1 + Math.exp(-3 * Math.log(score / (1 - score)))));
  const report = evaluateScores({ y, scores, uncalibrated: sure, threshold: 0.5 });
  expect(report.calibration.before).toEqual({
    ece: evaluateScores({ y, scores: sure, threshold: 0.5 }).calibration.ece,
    maxGap: evaluateScores({ y, scores: sure, threshold: 0.5 }).calibration.maxGap,
  });
  expect(report.calibration.ece).toBeLessThan(report.calibration.before!.ece / 3);
  expect(evaluateScores({ y, scores, threshold: 0.5 }).calibration).not.toHaveProperty('before');
});

test('rows of a slice are held against its own threshold', () => {
  const request = { y: Uint8Array.of(0, 1, 1, 0), scores: Float64Array.of(0.45, 0.45, 0.6, 0.6), threshold: 0.5 };
  expect(evaluateScores(request).threshold).toMatchObject({ truePositives: 1, falsePositives: 1, falseNegatives: 1 });
  const report = evaluateScores({ ...request, thresholds: Float64Array.of(0.4, 0.4, 0.5, 0.7) });
  expect(report.threshold).toMatchObject({
    value: 0.5,
    truePositives: 2,
    falsePositives: 1,
    falseNegatives: 0,
    trueNegatives: 1,
  });
});
