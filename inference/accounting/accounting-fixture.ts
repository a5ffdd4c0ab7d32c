/** An answer for tests, as the predictor gives it. */
import type { Answer } from '../scoring/answer.ts';
import { aScorer, aVersion, anInstance } from '../scoring/serving-fixture.ts';

const served = aVersion(
  2,
  aScorer(() => 0.5),
);

export function anAnswer(id: string, overrides: Partial<Answer> = {}): Answer {
  return {
    instance: anInstance(id, { x: 1 }),
    arm: 'champion',
    armVersion: 2,
    served,
    version: 2,
    rung: 'champion',
    epoch: 7,
    score: 0.5,
    rawScore: 0.5,
    label: 1,
    className: null,
    threshold: 0.5,
    slice: null,
    features: Float64Array.of(1, NaN),
    statuses: Uint8Array.of(0, 2),
    featureNames: ['x', 'y'],
    known: { knownSeq: { 'delays@1': 7 }, readAt: 5 },
    reason: null,
    error: null,
    ...overrides,
  };
}
