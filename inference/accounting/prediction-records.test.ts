import { expect, test } from 'vitest';
import { aRule, anEntry, aVersion, aScorer } from '../scoring/serving-fixture.ts';
import { anAnswer } from './accounting-fixture.ts';
import { answerRecord, sampleWeight, shadowRecord } from './prediction-records.ts';

test('canary answers and failures are always logged, at their own weight', () => {
  expect(sampleWeight(anAnswer('a', { arm: 'canary' }), 0)).toBe(1);
  expect(sampleWeight(anAnswer('a', { error: 'gone' }), 0)).toBe(1);
});

test('champion answers are sampled by their id, and stand for the others', () => {
  const weights = Array.from({ length: 5_000 }, (_, i) => sampleWeight(anAnswer(`id-${i}`), 0.02));
  const logged = weights.filter((weight) => weight !== null);
  expect(new Set(logged)).toEqual(new Set([50]));
  // four standard deviations of a binomial around 100
  expect(Math.abs(logged.length - 100)).toBeLessThan(40);
  expect(weights).toEqual(Array.from({ length: 5_000 }, (_, i) => sampleWeight(anAnswer(`id-${i}`), 0.02)));
  expect(sampleWeight(anAnswer('a'), 0)).toBeNull();
  expect(sampleWeight(anAnswer('a'), 1)).toBe(1);
});

const about = { answeredAt: 5, latencyMs: 1.2345, traceId: 'trace' };

test('a record keeps the features as they were, null where one was missing, and why', async () => {
  const entry = await anEntry({ champion: aRule() });
  expect(answerRecord(entry, anAnswer('a'), 1, about)).toMatchObject({
    predictionId: 'a',
    model: 'delay',
    features: [1, null],
    statuses: [0, 2],
    latencyMicros: 1_235,
    request: { x: 1 },
    known: { knownSeq: { 'delays@1': 7 }, readAt: 5 },
    reason: null,
    servedModel: null,
    traceId: 'trace',
  });
});

test('a record of a shadow has its own features with their statuses', async () => {
  const entry = await anEntry({ champion: aRule() });
  const features = Float64Array.of(4, NaN);
  const score = { answer: anAnswer('a'), version: 3, score: 0.75, label: 1, features, error: null } as const;
  expect(shadowRecord(entry, { ...score, statuses: Uint8Array.of(0, 3) }, 5)).toMatchObject({
    predictionId: 'a',
    version: 3,
    arm: 'shadow',
    score: 0.75,
    features: [4, null],
    statuses: [0, 3],
  });
});

test('a record says which other model answered, and the word for why', async () => {
  const entry = await anEntry({ champion: aRule() });
  const served = aVersion(
    4,
    aScorer(() => 0.25),
    { model: 'simple' },
  );
  const answer = anAnswer('a', { served, version: 4, reason: 'timeout', error: 'v2: it did not compute within 5 ms' });
  expect(answerRecord(entry, answer, 1, about)).toMatchObject({ servedModel: 'simple', version: 4, reason: 'timeout' });
});

test('what a tester asked for is always logged', () => {
  expect(sampleWeight(anAnswer('a', { arm: 'override' }), 0)).toBe(1);
});
