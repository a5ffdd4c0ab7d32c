import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import { anAnswer as anyAnswer } from '../accounting/accounting-fixture.ts';
import type { Answer } from '../scoring/answer.ts';
import type { OnlineReader } from '../scoring/feature-batch.ts';
import { aScorer, aStore, aVersion, anEntry, anInstance } from '../scoring/serving-fixture.ts';
import { explainAnswers } from './explain-features.ts';

const served = aVersion(
  2,
  aScorer(() => 0),
);
const entry = await anEntry({ champion: served });

/** As answered: x is 1, y is expired, 7 was stored. */
function anAnswer(id: string, overrides: Partial<Answer> = {}): Answer {
  return anyAnswer(id, {
    instance: anInstance(id, { x: 1, key: 'k' }),
    served,
    rawScore: 0.4,
    features: Float64Array.of(1, NaN, 7),
    statuses: Uint8Array.of(0, 4, 0),
    featureNames: ['x', 'y', 'stored'],
    known: { knownSeq: {}, readAt: 3_000_000 },
    ...overrides,
  });
}

test('a feature has the value and status it was answered with, and its age', async () => {
  expect(await explainAnswers(aStore({ k: 7 }), entry, [anAnswer('a')])).toEqual([
    {
      rawScore: 0.4,
      threshold: 0.5,
      slice: null,
      readAt: '1970-01-01T00:00:03.000000Z',
      error: null,
      features: {
        x: { value: 1, status: 'present', ageSeconds: null },
        y: { value: null, status: 'expired', ageSeconds: null },
        stored: { value: 7, status: 'present', ageSeconds: 2 },
      },
    },
  ]);
});

test('a value that has changed since has no age: it would be that of another value', async () => {
  const [explained] = await explainAnswers(aStore({ k: 8 }), entry, [anAnswer('a')]);
  expect(explained!.features['stored']).toEqual({ value: 7, status: 'present', ageSeconds: null });
});

test('many answers of one feature set are one read', async () => {
  const store = aStore({ k: 7 });
  const explained = await explainAnswers(store, entry, [anAnswer('a'), anAnswer('b'), anAnswer('c')]);
  expect(explained.map(({ features }) => features['stored']!.ageSeconds)).toEqual([2, 2, 2]);
  expect(store.reads).toBe(1);
});

test('without the store an answer is explained without ages', async () => {
  const gone: OnlineReader = { read: () => Promise.reject(new SerinError('ONLINE_STORE_UNAVAILABLE', 'gone')) };
  const [explained] = await explainAnswers(gone, entry, [anAnswer('a')]);
  expect(explained!.features['stored']).toEqual({ value: 7, status: 'present', ageSeconds: null });
});

test('nothing is read for an answer that read nothing', async () => {
  const store = aStore({ k: 7 });
  const nothing = { features: new Float64Array(0), statuses: new Uint8Array(0), known: null };
  const [explained] = await explainAnswers(store, entry, [
    anAnswer('a', { ...nothing, rung: 'constant', error: 'v2: broken' }),
  ]);
  expect(explained).toMatchObject({ readAt: null, error: 'v2: broken', features: {} });
  expect(store.reads).toBe(0);
});
