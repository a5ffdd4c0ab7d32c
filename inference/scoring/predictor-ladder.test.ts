import { expect, test } from 'vitest';
import type { ServedVersion } from '../model/served-version.ts';
import type { Answer } from './answer.ts';
import type { OnlineReader } from './feature-batch.ts';
import type { PredictWork } from './predictor.ts';
import { aPredictor, aWork, brief } from './predictor-fixture.ts';
import { anEntry, anInput, anInstance, aScorer, aStore, aVersion } from './serving-fixture.ts';

const sum = (row: Float64Array): number => row[0]! + row[1]! / 8;
const broken = (): number => {
  throw new Error('the session is gone');
};

test('a row that poisons its batch fails alone and comes down to the rule', async () => {
  const fussy = aScorer((row) => (row[0] === 13 ? broken() : sum(row)));
  const { predict } = aPredictor(await anEntry({ champion: aVersion(2, fussy) }));
  const [answers] = (await predict([
    anInstance('a', { x: 1 }),
    anInstance('b', { x: 13 }),
    anInstance('c', { x: 2 }),
  ])) as [Answer[]];
  expect(answers.map(brief)).toEqual([
    { id: 'a', version: 2, rung: 'champion', arm: 'champion', score: 1, error: null },
    { id: 'b', version: 0, rung: 'rule', arm: 'champion', score: 0.1, error: 'v2: the session is gone' },
    { id: 'c', version: 2, rung: 'champion', arm: 'champion', score: 2, error: null },
  ]);
});

test.each<
  [
    string,
    Partial<Record<'canary' | 'champion' | 'lastKnownGood' | 'rule', (row: Float64Array) => number>>,
    { version: number; rung: string; score: number; reason: string },
  ]
>([
  ['the canary throws', { canary: broken }, { version: 2, rung: 'champion', score: 0.2, reason: 'error' }],
  ['the canary gives NaN', { canary: () => NaN }, { version: 2, rung: 'champion', score: 0.2, reason: 'not_finite' }],
  [
    'the champion throws too',
    { canary: () => -Infinity, champion: broken },
    { version: 1, rung: 'last_known_good', score: 0.3, reason: 'not_finite' },
  ],
  [
    'no trained version answers',
    { canary: broken, champion: broken, lastKnownGood: () => Infinity },
    { version: 0, rung: 'rule', score: 0.1, reason: 'error' },
  ],
  [
    'nothing answers',
    {
      canary: broken,
      champion: broken,
      lastKnownGood: broken,
      rule: (row) => (Number.isNaN(row[0]!) ? 0.05 : broken()),
    },
    { version: 0, rung: 'constant', score: 0.05, reason: 'error' },
  ],
])(
  'when %s the next rung answers, and the canary is charged',
  async (_, { canary = () => 0.4, champion = () => 0.2, lastKnownGood = () => 0.3, rule = () => 0.1 }, expected) => {
    const entry = await anEntry({
      champion: aVersion(2, aScorer(champion)),
      lastKnownGood: aVersion(1, aScorer(lastKnownGood)),
      canary: aVersion(3, aScorer(canary)),
      canaryWeight: 10_000,
      rule: aVersion(0, aScorer(rule)),
    });
    const [[answer]] = (await aPredictor(entry).predict([anInstance('a')])) as [[Answer]];
    expect(answer).toMatchObject({
      ...expected,
      arm: 'canary',
      armVersion: 3,
      error: expect.stringMatching(/^v3: /) as string,
    });
  },
);

test('when no version of the model answers, the champion of its fallback model does, with its own features and threshold', async () => {
  const other: ServedVersion = aVersion(
    7,
    aScorer((row) => row[0]! / 2),
    { model: 'other', threshold: 0.1, featureNames: ['x', 'y', 'stored'], input: { ...anInput } },
  );
  const entry = await anEntry({
    champion: aVersion(2, aScorer(broken)),
    lastKnownGood: aVersion(1, aScorer(broken)),
    fallback: 'other',
  });
  const others = { other: await anEntry({ champion: other }) };
  const [[answer]] = (await aPredictor(entry, { others }).predict([anInstance('a', { x: 0.5 })])) as [[Answer]];
  expect(answer).toMatchObject({
    score: 0.25,
    label: 1,
    version: 7,
    rung: 'fallback',
    arm: 'champion',
    armVersion: 2,
    reason: 'error',
    error: 'v2: the session is gone',
  });
  expect(answer.served).toBe(other);
  // when that model is not here, or fails too, the rule answers
  for (const gone of [{}, { other: await anEntry({ champion: aVersion(7, aScorer(broken), { model: 'other' }) }) }]) {
    const [[below]] = (await aPredictor(entry, { others: gone }).predict([anInstance('a')])) as [[Answer]];
    expect(brief(below)).toMatchObject({ version: 0, rung: 'rule' });
  }
});

test('a row without a mandatory feature goes to the next version, the others of its batch do not', async () => {
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum), { mandatory: [2] }),
    lastKnownGood: aVersion(
      1,
      aScorer(() => 0.3),
    ),
  });
  const [answers] = (await aPredictor(entry, { store: aStore({ k: 1 }) }).predict([
    anInstance('a', { x: 0.25, key: 'k' }),
    anInstance('b', { x: 0.25, key: 'none' }),
  ])) as [Answer[]];
  expect(answers.map(({ rung, reason, error }) => [rung, reason, error])).toEqual([
    ['champion', null, null],
    ['last_known_good', 'missing_feature', 'v2: stored is not found'],
  ]);
});

test('a version that reads nothing from the store does not care that it is gone', async () => {
  const store: OnlineReader = { read: () => Promise.reject(new Error('connection refused')) };
  const input = { ...anInput, refsOf: () => [] };
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    lastKnownGood: aVersion(1, aScorer(sum), { input }),
  });
  const [[answer]] = (await aPredictor(entry, { store }).predict([anInstance('a', { x: 0.5 })])) as [[Answer]];
  expect(answer).toMatchObject({
    version: 1,
    rung: 'last_known_good',
    score: 0.5,
    reason: 'store_unavailable',
    error: 'v2: connection refused',
  });
});

test('a canary that hangs in its thread holds up its own rows alone, until its time is over', async () => {
  const hanging = { ...aScorer(sum), offLoop: true, score: () => new Promise<Float64Array>(() => undefined) };
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    canary: aVersion(3, hanging, { timeoutMs: 40 }),
    canaryWeight: 5_000,
  });
  const { predictor, ledger } = aPredictor(entry);
  const settled: string[] = [];
  const works = Array.from({ length: 20 }, (_, i): PredictWork => ({
    ...aWork([anInstance(`${i}`, { x: i })]),
    resolve: ([answer]) => void settled.push(`${answer!.arm} by ${answer!.rung}`),
  }));
  await predictor.run(works);
  const champions = settled.length;
  expect(champions).toBeGreaterThan(0);
  expect(new Set(settled)).toEqual(new Set(['champion by champion']));
  await expect.poll(() => settled).toHaveLength(20);
  expect(new Set(settled.slice(champions))).toEqual(new Set(['canary by champion']));
  expect(ledger.answers.filter(({ reason }) => reason === 'timeout')).toHaveLength(20 - champions);
});

test('a tester is answered by the version asked for, as no arm', async () => {
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    shadow: aVersion(
      4,
      aScorer(() => 0.75),
    ),
  });
  const [[answer]] = (await aPredictor(entry).predict([{ ...anInstance('a'), override: { version: 4 } }])) as [
    [Answer],
  ];
  expect(answer).toMatchObject({ version: 4, arm: 'override', rung: 'override', score: 0.75, reason: null });
});

test('when the store does not answer the rule does, from the request alone', async () => {
  const store: OnlineReader = { read: () => Promise.reject(new Error('connection refused')) };
  const rule = aVersion(
    0,
    aScorer((row) => (Number.isNaN(row[2]!) ? row[0]! : -1)),
  );
  const { predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)), rule }), { store });
  const [[answer]] = (await predict([anInstance('a', { x: 0.75 })])) as [[Answer]];
  expect(brief(answer)).toMatchObject({ version: 0, rung: 'rule', score: 0.75, error: 'v2: connection refused' });
});

test('where the rule is champion, its answers without the store say so', async () => {
  const store: OnlineReader = { read: () => Promise.reject(new Error('connection refused')) };
  const rule = aVersion(
    0,
    aScorer(() => 0.1),
  );
  const [[answer]] = (await aPredictor(await anEntry({ champion: rule, rule }), { store }).predict([
    anInstance('a'),
  ])) as [[Answer]];
  expect(brief(answer)).toMatchObject({ version: 0, rung: 'rule', score: 0.1 });
});

test('a canary with another feature set that does not take the request is charged; the champion answers', async () => {
  const canary: ServedVersion = aVersion(3, aScorer(sum), {
    featureSet: 'features@2',
    input: {
      ...anInput,
      checkRequest: () => {
        throw new Error('z is missing');
      },
    },
  });
  const entry = await anEntry({ champion: aVersion(2, aScorer(sum)), canary, canaryWeight: 10_000 });
  const [[answer]] = (await aPredictor(entry).predict([anInstance('a', { x: 0.5 })])) as [[Answer]];
  expect(brief(answer)).toMatchObject({ version: 2, rung: 'champion', arm: 'canary', error: 'v3: z is missing' });
});

test('state that cannot be read fails the rows that need it alone', async () => {
  const input = {
    ...anInput,
    assembleVectors: (...[states, rows]: Parameters<typeof anInput.assembleVectors>) => {
      if (states.some((state) => state?.[0] === 0xff)) throw new Error('the state has another layout');
      return anInput.assembleVectors(states, rows);
    },
  };
  const read: OnlineReader['read'] = (refs) =>
    Promise.resolve({
      states: refs.map(({ key }) => (Buffer.from(key).toString() === 'bad' ? Buffer.alloc(8, 0xff) : null)),
      knownSeq: new Map(),
      foldedAt: new Map(),
    });
  const { predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum), { input }) }), {
    store: { read },
  });
  const [answers] = (await predict([
    anInstance('a', { x: 1 }),
    anInstance('b', { x: 2, key: 'bad' }),
    anInstance('c', { x: 3 }),
  ])) as [Answer[]];
  expect(answers.map(brief)).toMatchObject([
    { id: 'a', score: 1, rung: 'champion', error: null },
    { id: 'b', score: 0.1, rung: 'rule', error: 'v2: the state has another layout' },
    { id: 'c', score: 3, rung: 'champion', error: null },
  ]);
});
