import { expect, test } from 'vitest';
import type { Answer } from '../scoring/answer.ts';
import { aRule, anEntry, anInstance } from '../scoring/serving-fixture.ts';
import { latencyBin, LATENCY_BINS, scoreBin } from './arm-tally.ts';
import { anAnswer as answerOf } from './accounting-fixture.ts';
import { TallyBook } from './tally-book.ts';

function anAnswer({ unit = 'u', ...rest }: Partial<Answer> & { unit?: string } = {}): Answer {
  return answerOf('id', { instance: { ...anInstance('id'), unit }, armVersion: 0, version: 0, ...rest });
}

const aBook = () => new TallyBook({ nodeId: 'n-1', startedAt: 5_000_000, nowMicros: () => 9_000_000 });

test('answers add up per arm; a unit counts once', async () => {
  const entry = await anEntry({ champion: aRule() });
  const book = aBook();
  book.answered(
    entry,
    [anAnswer({ score: 0.5 }), anAnswer({ score: 0.25, label: 0 }), anAnswer({ unit: 'v', score: 1 })],
    3,
  );
  book.answered(entry, [anAnswer({ arm: 'canary', armVersion: 3, score: 0 })], 51);
  const [champion, canary] = book.take();
  expect(champion).toMatchObject({
    node_id: 'n-1',
    flush: 5_000,
    arm: 'champion',
    epoch: 7,
    requests: 3,
    units: 2,
    errors: 0,
    slow: 0,
  });
  expect(champion).toMatchObject({ positives: 2, score_sum: 1.75, score_sum_sq: 1.3125 });
  expect(champion!.score_histogram).toHaveLength(50);
  expect(champion!.score_histogram![25]).toBe(1);
  expect(champion!.score_histogram![49]).toBe(1);
  expect(champion!.latency_histogram![latencyBin(3)]).toBe(3);
  expect(canary).toMatchObject({ arm: 'canary', version: 3, requests: 1, slow: 1 });
});

test('an answer from a lower rung is an error of its arm and says nothing about its scores', async () => {
  const book = aBook();
  book.answered(
    await anEntry({ champion: aRule() }),
    [anAnswer({ arm: 'canary', armVersion: 3, rung: 'champion', error: 'v3: gone' })],
    1,
  );
  expect(book.take()).toEqual([
    expect.objectContaining({
      arm: 'canary',
      version: 3,
      requests: 1,
      errors: 1,
      fallbacks: 1,
      positives: 0,
      score_sum: 0,
    }),
  ]);
});

test('a shadow is compared with the answers its pairs got from their own version', async () => {
  const book = aBook();
  const entry = await anEntry({ champion: aRule() });
  const none = { features: new Float64Array(0), statuses: new Uint8Array(0) };
  const shadow = { version: 4, label: 0, ...none, error: null } as const;
  book.shadowScored(entry, [
    { ...shadow, answer: anAnswer({ score: 0.5, label: 1 }), score: 0.25 },
    { ...shadow, answer: anAnswer({ error: 'v2: gone' }), score: 0.25 },
    { ...shadow, answer: anAnswer(), score: NaN, error: 'gone' },
  ]);
  expect(book.take()).toEqual([
    expect.objectContaining({
      arm: 'shadow',
      version: 4,
      requests: 3,
      errors: 1,
      pairs: 1,
      flips: 1,
      difference_sum: -0.25,
      difference_sum_sq: 0.0625,
      score_sum: 0.5,
    }),
  ]);
});

test('each flush has its own number, and an idle second has no rows', async () => {
  const book = aBook();
  const entry = await anEntry({ champion: aRule() });
  book.answered(entry, [anAnswer()], 1);
  expect(book.take()[0]!.flush).toBe(5_000);
  expect(book.take()).toEqual([]);
  book.answered(entry, [anAnswer()], 1);
  expect(book.take()[0]).toMatchObject({ flush: 5_001, requests: 1 });
});

test('bins cover every score and latency', () => {
  expect([-1, 0, 0.019, 0.02, 1, 7].map(scoreBin)).toEqual([0, 0, 0, 1, 49, 49]);
  expect([0, 0.1, 0.101, 0.2, 1e9].map(latencyBin)).toEqual([0, 0, 1, 4, LATENCY_BINS - 1]);
});

test('what a tester asked for is no evidence', async () => {
  const book = aBook();
  book.answered(await anEntry({ champion: aRule() }), [anAnswer({ arm: 'override' })], 1);
  expect(book.take()).toEqual([]);
});
