import { expect, test } from 'vitest';
import type { Answer } from '../scoring/answer.ts';
import { aRule, anEntry, anInstance } from '../scoring/serving-fixture.ts';
import { answerRecord, sampleWeight } from './prediction-records.ts';

function anAnswer(id: string, overrides: Partial<Answer> = {}): Answer {
  return {
    instance: anInstance(id, { x: 1 }),
    arm: 'champion',
    armVersion: 2,
    version: 2,
    rung: 'champion',
    epoch: 7,
    score: 0.5,
    label: 1,
    features: Float64Array.of(1, NaN),
    featureNames: ['x', 'y'],
    known: { knownSeq: { 'delays@1': 7 }, readAt: 5 },
    error: null,
    ...overrides,
  };
}

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

test('a record keeps the features as they were, null where one was missing', async () => {
  const record = answerRecord(await anEntry({ champion: aRule() }), anAnswer('a'), 1, 5, 1.2345);
  expect(record).toMatchObject({
    predictionId: 'a',
    model: 'delay',
    features: [1, null],
    latencyMicros: 1_235,
    request: { x: 1 },
    known: { knownSeq: { 'delays@1': 7 }, readAt: 5 },
  });
});
