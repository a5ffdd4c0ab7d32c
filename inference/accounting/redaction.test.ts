import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redactionToken } from '../../db/redaction.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import { anEntry, anInput, anInstance, aRule, aScorer, aVersion } from '../scoring/serving-fixture.ts';
import { anAnswer } from './accounting-fixture.ts';
import { answerRecord } from './prediction-records.ts';
import { Redactor } from './redaction.ts';

const KEY = 'a key';
const personal = { fields: ['key', 'y'], features: ['y'] };
const about = { answeredAt: 5, latencyMs: 1, traceId: null };

async function aRedactor(served: ServedVersion): Promise<{ redactor: Redactor; entry: RouteEntry }> {
  const redactor = new Redactor(() => Promise.resolve(KEY));
  const contract = { latencyBudgetMsP99: 50, logSampleRate: 1 };
  await redactor.guard({ load: () => Promise.resolve({ served, contract }) }).load('delay', 2);
  return { redactor, entry: await anEntry({ champion: served }) };
}

const aPerson = (): ServedVersion =>
  aVersion(
    2,
    aScorer(() => 0.5),
    { personal },
  );

function redacted(
  { redactor, entry }: { redactor: Redactor; entry: RouteEntry },
  {
    request,
    unit = 'a',
    error = null,
  }: { request: { x?: number; y?: number; key?: string }; unit?: string; error?: string | null },
) {
  const instance = { ...anInstance('a', request), unit };
  const features = Float64Array.of(request.x ?? 0, request.y ?? 0, 3);
  const answer = anAnswer('a', { served: entry.champion, instance, features, featureNames: anInput.columns, error });
  return redactor.redact(entry, entry.champion, answerRecord(entry, answer, 1, about), instance.fields);
}

test('personal fields and the unit become tokens, features that carry them are left out, the rest stays', async () => {
  const record = redacted(await aRedactor(aPerson()), {
    request: { x: 1, y: 55, key: 'Ada' },
    unit: 'ada@example.org',
  });
  expect(record).toMatchObject({
    predictionId: 'a',
    unit: redactionToken(KEY, 'ada@example.org'),
    request: { x: 1, y: redactionToken(KEY, 55), key: redactionToken(KEY, 'Ada') },
    features: [1, null, 3],
    redacted: ['request.key', 'request.y', 'unit', 'features.y'],
  });
});

test('a model without personal data is logged as it is', async () => {
  const served = aVersion(
    2,
    aScorer(() => 0.5),
  );
  const record = redacted(await aRedactor(served), { request: { y: 55, key: 'Ada' }, error: 'v2: "Ada" is refused' });
  expect(record).toMatchObject({ request: { y: 55, key: 'Ada' }, error: 'v2: "Ada" is refused', redacted: [] });
});

test('an error keeps what it says but for the values it quotes', async () => {
  const given = await aRedactor(aPerson());
  const error = 'v2: the field "key" is "Ada \\"the first\\"": too long; y is 2, not 2.5';
  expect(redacted(given, { request: { y: 2, key: 'Ada "the first"' }, error }).error).toBe(
    'v2: the field "key" is "…": too long; y is …, not 2.5',
  );
});

test('of what a version says when it throws no number is kept: it may be a feature made of a personal value', async () => {
  const { redactor, entry } = await aRedactor(aPerson());
  const error = 'v2: Gather node, idx=110 must be within [-1,0], not 2.75e+4';
  const record = (reason: 'error' | 'timeout') =>
    answerRecord(entry, anAnswer('a', { instance: anInstance('a', { y: 55 }), error, reason }), 1, about);
  expect(redactor.redact(entry, entry.champion, record('error'), {}).error).toBe(
    'v2: Gather node, idx=… must be within […,…], not …',
  );
  expect(redactor.redact(entry, entry.champion, record('timeout'), {}).error).toBe(error);
});

test('the same value has the same token, another value or another key another one', () => {
  expect(redactionToken(KEY, 'Ada')).toBe(redactionToken(KEY, 'Ada'));
  const tokens = [
    redactionToken(KEY, 'Ada'),
    redactionToken(KEY, 'Ad'),
    redactionToken('b', 'Ada'),
    redactionToken(KEY, 1),
    redactionToken(KEY, '1'),
  ];
  expect(new Set(tokens).size).toBe(tokens.length);
});

test('a version of a model with personal data is not loaded before there is a key', async () => {
  let answers = false;
  const redactor = new Redactor(() =>
    answers ? Promise.resolve(KEY) : Promise.reject(new Error('PostgreSQL is gone')),
  );
  const contract = { latencyBudgetMsP99: 50, logSampleRate: 1 };
  const source = redactor.guard({ load: () => Promise.resolve({ served: aPerson(), contract }) });
  await expect(source.load('delay', 2)).rejects.toThrow('PostgreSQL is gone');
  answers = true;
  expect((await source.load('delay', 2)).served.version).toBe(2);
});

test('whatever is sent, no personal value of some length is anywhere in the record', async () => {
  const given = await aRedactor(aPerson());
  const marker = fc.string({ unit: 'grapheme', minLength: 6, maxLength: 40 }).filter((text) => /\S{6}/.test(text));
  const aNumber = fc.integer({ min: 2_000_001, max: 9_999_999 });
  await fc.assert(
    fc.asyncProperty(marker, aNumber, async (key, y) => {
      const error = `v2: the field "key" is ${JSON.stringify(key)} (${key}): no; y=${y}`;
      const text = JSON.stringify(redacted(given, { request: { key, y }, unit: `unit of ${key}`, error }));
      expect(text).not.toContain(JSON.stringify(key).slice(1, -1));
      expect(text).not.toContain(String(y));
    }),
  );
});

test('the rule, which has no personal features, leaves those of its own set in', async () => {
  const rule = aRule();
  const { redactor } = await aRedactor(aPerson());
  const entry = await anEntry({ champion: aPerson(), rule });
  const answer = anAnswer('a', { served: rule, features: Float64Array.of(1, 2, 3), featureNames: anInput.columns });
  expect(redactor.redact(entry, rule, answerRecord(entry, answer, 1, about), answer.instance.fields).features).toEqual([
    1, 2, 3,
  ]);
});
