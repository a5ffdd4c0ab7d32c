import { expect, test } from 'vitest';
import { anAnswer } from '../accounting/accounting-fixture.ts';
import type { Answer } from './answer.ts';
import { replayRefusal } from './replay.ts';
import { anInstance } from './serving-fixture.ts';

const MINUTE = 60_000_000;
const known = (readAt: number): Answer['known'] => ({ knownSeq: {}, readAt });
const asked = (asOf: number, isReplay = true): Answer['instance'] => ({ ...anInstance('a'), asOf, isReplay });

test.each([
  ['features that hold at the instant', anAnswer('a', { instance: asked(MINUTE), known: known(MINUTE) })],
  ['an answer that read no store', anAnswer('a', { instance: asked(MINUTE), known: null })],
  [
    'newer features for who asked for no instant',
    anAnswer('a', { instance: asked(MINUTE, false), known: known(2 * MINUTE) }),
  ],
])('%s are given out', (_, answer) => {
  expect(replayRefusal([answer])).toBeNull();
});

test('features of a later instant are refused, however many rows were right', () => {
  const right = anAnswer('a', { instance: asked(MINUTE), known: known(MINUTE) });
  const late = anAnswer('b', { instance: { ...asked(MINUTE), predictionId: 'b' }, known: known(MINUTE + 1) });
  expect(replayRefusal([right, late])).toMatchObject({
    code: 'AS_OF_UNREACHABLE',
    status: 409,
    fields: { predictionId: 'b', asOf: '1970-01-01T00:01:00.000000Z', foldedAt: '1970-01-01T00:01:00.000001Z' },
  });
});
