import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Answer, Instance } from './answer.ts';
import type { OnlineReader } from './feature-batch.ts';
import { Predictor, type Work } from './predictor.ts';
import {
  aLedger,
  anEntry,
  anInput,
  anInstance,
  aScorer,
  aStore,
  aVersion,
  aVersionScorer,
  readerOf,
  unhurried,
} from './serving-fixture.ts';
import { SHADOW_LIMITS, ShadowRunner } from './shadow-runner.ts';

const sum = (row: Float64Array): number => row[0]! + row[1]! / 8;
const broken = (): number => {
  throw new Error('the session is gone');
};

function aPredictor(
  entry: RouteEntry,
  { store = aStore(), queuedRows = () => 0 }: { store?: OnlineReader; queuedRows?: () => number } = {},
) {
  const { ledger, accounting } = aLedger();
  const nowMs = () => performance.now();
  const scorer = aVersionScorer();
  const limits = { ...SHADOW_LIMITS, maxQueuedRows: 8, maxWaitingRows: 64 };
  const shadows = new ShadowRunner({ accounting, scorer, queuedRows, limits, nowMs });
  const predictor = new Predictor({
    entryOf: (model) => (model === 'delay' ? entry : undefined),
    features: readerOf(store),
    scorer,
    accounting,
    shadows,
  });
  /** Each list is one request; all of them are one batch. */
  const predict = async (...requests: Instance[][]): Promise<Answer[][]> => {
    const works: Work[] = [];
    const answers = requests.map(
      (instances) =>
        new Promise<Answer[]>((resolve, reject) => {
          works.push({
            kind: 'predict',
            rows: instances.length,
            model: 'delay',
            instances,
            arrivedMs: 0,
            ...unhurried,
            resolve: (given) => resolve([...given]),
            reject,
          });
        }),
    );
    await predictor.run(works);
    return Promise.all(answers);
  };
  return { predictor, predict, ledger };
}

const brief = ({ instance, version, rung, arm, score, error }: Answer) => ({
  id: instance.predictionId,
  version,
  rung,
  arm,
  score,
  error,
});

test('a request is answered by the champion, with its label after the threshold', async () => {
  const { predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)) }));
  const [[low, high]] = (await predict([anInstance('a', { x: 0.25 }), anInstance('b', { x: 0.5 })])) as [
    [Answer, Answer],
  ];
  expect(low).toMatchObject({
    score: 0.25,
    label: 0,
    version: 2,
    arm: 'champion',
    rung: 'champion',
    epoch: 7,
    error: null,
  });
  expect(high).toMatchObject({ score: 0.5, label: 1 });
});

test('batched answers are the unbatched ones bit for bit, and ids never cross', async () => {
  const request = fc.array(
    fc.record({
      x: fc.double({ noNaN: true, min: -9, max: 9 }),
      y: fc.double({ noNaN: true, min: -9, max: 9 }),
      key: fc.constantFrom('k', 'l', 'none'),
    }),
    {
      minLength: 1,
      maxLength: 5,
    },
  );
  const score = (row: Float64Array): number => Math.sin(row[0]! * 3 + row[1]!) + (Number.isNaN(row[2]!) ? 0 : row[2]!);
  const canary = aVersion(
    3,
    aScorer((row) => -score(row)),
  );
  const entry = await anEntry({ champion: aVersion(2, aScorer(score)), canary });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
      const instances = requests.map((rows, i) => rows.map((row, j) => anInstance(`${i}/${j}`, row)));
      const store = aStore({ k: 0.125, l: 1 / 3 });
      const batched = await aPredictor(entry, { store }).predict(...instances);
      expect(store.reads).toBe(1);
      const single = aPredictor(entry, { store });
      for (const [i, rows] of instances.entries()) {
        for (const [j, instance] of rows.entries()) {
          const [[alone]] = (await single.predict([instance])) as [[Answer]];
          expect(brief(batched[i]![j]!)).toEqual(brief(alone));
          expect(alone.instance).toBe(instance);
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('a unit keeps its arm, and the canary gets its share of the units', async () => {
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    canary: aVersion(3, aScorer(sum)),
    canaryWeight: 2_000,
  });
  const { predict } = aPredictor(entry);
  const units = Array.from({ length: 1_000 }, (_, i) => anInstance(`user-${i}`));
  const [first] = (await predict(units)) as [Answer[]];
  const [again] = (await predict(units)) as [Answer[]];
  expect(again.map(({ arm }) => arm)).toEqual(first.map(({ arm }) => arm));
  const canaries = first.filter(({ arm }) => arm === 'canary');
  expect(canaries.every(({ version, rung }) => version === 3 && rung === 'canary')).toBe(true);
  // four standard deviations of a binomial around 200
  expect(Math.abs(canaries.length - 200)).toBeLessThan(51);
});

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
    { version: number; rung: string; score: number },
  ]
>([
  ['the canary throws', { canary: broken }, { version: 2, rung: 'champion', score: 0.2 }],
  ['the canary gives NaN', { canary: () => NaN }, { version: 2, rung: 'champion', score: 0.2 }],
  [
    'the champion throws too',
    { canary: broken, champion: broken },
    { version: 1, rung: 'last_known_good', score: 0.3 },
  ],
  [
    'no trained version answers',
    { canary: broken, champion: broken, lastKnownGood: () => Infinity },
    { version: 0, rung: 'rule', score: 0.1 },
  ],
  [
    'nothing answers',
    {
      canary: broken,
      champion: broken,
      lastKnownGood: broken,
      rule: (row) => (Number.isNaN(row[0]!) ? 0.05 : broken()),
    },
    { version: 0, rung: 'constant', score: 0.05 },
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

test('an unknown model rejects its own request only', async () => {
  const { predictor, predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)) }));
  const reject = vi.fn<(error: unknown) => void>();
  await predictor.run([
    {
      kind: 'predict',
      rows: 1,
      model: 'other',
      instances: [anInstance('a')],
      arrivedMs: 0,
      ...unhurried,
      resolve: () => undefined,
      reject,
    },
  ]);
  expect(reject).toHaveBeenCalledWith(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }));
  expect(await predict([anInstance('b')])).toHaveLength(1);
});

test('tensors are scored with the batch and fail alone', async () => {
  const scorer = aScorer((row) => (row[0] === 13 ? broken() : row[0]!));
  const { predictor } = aPredictor(await anEntry({ champion: aVersion(2, scorer) }));
  const settle = vi.fn<(name: string, outcome: unknown) => void>();
  const tensor = (x: number, name: string): Work => ({
    kind: 'tensor',
    rows: 1,
    served: { scorer },
    features: Float64Array.of(x, 0, 0),
    ...unhurried,
    resolve: (scores) => settle(name, [...scores]),
    reject: (error) => settle(name, (error as Error).message),
  });
  await predictor.run([tensor(1, 'a'), tensor(13, 'b'), tensor(NaN, 'c')]);
  expect(settle.mock.calls).toEqual([
    ['a', [1]],
    ['b', 'the session is gone'],
    ['c', [NaN]],
  ]);
});

test('the shadow scores what was answered, in its order, with what the batch read', async () => {
  const store = aStore({ k: 0.5 });
  const shadow = aVersion(
    3,
    aScorer((row) => row[0]! + (row[2] || 0)),
  );
  const { predict, ledger } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)), shadow }), { store });
  await predict([anInstance('a', { x: 0.25, key: 'k' })], [anInstance('b', { x: 0.125 })]);
  expect(ledger.shadows).toEqual([]);
  await vi.waitFor(() => expect(ledger.shadows).toHaveLength(2));
  expect(
    ledger.shadows.map(({ answer, score, label, error }) => [
      answer.instance.predictionId,
      answer.score,
      score,
      label,
      error,
    ]),
  ).toEqual([
    ['a', 0.25, 0.75, 1, null],
    ['b', 0.125, 0.125, 0, null],
  ]);
  expect(store.reads).toBe(1);
});

test('a shadow that throws is counted and never seen', async () => {
  const { predict, ledger } = aPredictor(
    await anEntry({ champion: aVersion(2, aScorer(sum)), shadow: aVersion(3, aScorer(broken)) }),
  );
  const [[answer]] = (await predict([anInstance('a', { x: 0.25 })])) as [[Answer]];
  expect(answer).toMatchObject({ score: 0.25, error: null });
  await vi.waitFor(() => expect(ledger.shadows.map(({ error }) => error)).toEqual(['the session is gone']));
});

test('the shadow gives way when requests wait', async () => {
  const shadow = aVersion(3, aScorer(sum));
  const { predict, ledger } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)), shadow }), {
    queuedRows: () => 9,
  });
  await predict([anInstance('a'), anInstance('b')]);
  expect(ledger.dropped).toBe(2);
  expect(ledger.answers).toHaveLength(2);
});
