import { expect, test } from 'vitest';
import { anAnswer } from '../accounting/accounting-fixture.ts';
import type { Answer } from '../scoring/answer.ts';
import { aScorer, aVersion } from '../scoring/serving-fixture.ts';
import { writeAnswers } from './write-answers.ts';

const parsed = (answers: readonly Answer[]): unknown => JSON.parse(writeAnswers('delay', answers, null));

test('an answer says score, label and who gave it', () => {
  expect(parsed([anAnswer('a', { score: 0.25, label: 0 })])).toEqual({
    model: 'delay',
    predictions: [
      {
        predictionId: 'a',
        score: 0.25,
        label: 0,
        version: 2,
        arm: 'champion',
        rung: 'champion',
        epoch: 7,
        asOf: '1970-01-01T00:00:01.000000Z',
      },
    ],
  });
});

test('the class has its name, and a lower rung its reason', () => {
  const answer = anAnswer('a', { className: 'on "time"', label: 0, rung: 'rule', version: 0, reason: 'timeout' });
  expect(parsed([answer])).toMatchObject({
    predictions: [{ label: 0, class: 'on "time"', rung: 'rule', version: 0, reason: 'timeout' }],
  });
});

test('an answer of the fallback model names that model', () => {
  const other = aVersion(
    5,
    aScorer(() => 0),
    { model: 'delay-simple' },
  );
  expect(parsed([anAnswer('a', { served: other, version: 5, rung: 'fallback' })])).toMatchObject({
    predictions: [{ version: 5, answeredBy: 'delay-simple', rung: 'fallback' }],
  });
});

test('ids that need escaping and several answers make one JSON text', () => {
  const answers = ['a"b', 'é\u2028', 'c'].map((id) => anAnswer(id));
  expect(parsed(answers)).toMatchObject({
    predictions: [{ predictionId: 'a"b' }, { predictionId: 'é\u2028' }, { predictionId: 'c' }],
  });
});

test('an explanation is part of its answer', () => {
  const explanation = {
    rawScore: 0.4,
    threshold: 0.5,
    slice: 'AA',
    readAt: null,
    error: null,
    features: { x: { value: 1, status: 'present', ageSeconds: 2.5 } },
  } as const;
  expect(JSON.parse(writeAnswers('delay', [anAnswer('a')], [explanation]))).toMatchObject({
    predictions: [{ predictionId: 'a', score: 0.5, ...explanation }],
  });
});
