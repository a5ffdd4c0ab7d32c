import { expect, test, vi } from 'vitest';
import type { Answer } from './answer.ts';
import type { Work } from './predictor.ts';
import { aPredictor, aWork } from './predictor-fixture.ts';
import { anEntry, anInput, anInstance, aScorer, aStore, aVersion, unhurried } from './serving-fixture.ts';

const sum = (row: Float64Array): number => row[0]! + row[1]! / 8;
const broken = (): number => {
  throw new Error('the session is gone');
};

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

test('an unknown model rejects its own request only', async () => {
  const { predictor, predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)) }));
  const reject = vi.fn<(error: unknown) => void>();
  await predictor.run([{ ...aWork([anInstance('a')]), model: 'other', reject }]);
  expect(reject).toHaveBeenCalledWith(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }));
  expect(await predict([anInstance('b')])).toHaveLength(1);
});

test('tensors are scored with the batch and fail alone', async () => {
  const scorer = aScorer((row) => (row[0] === 13 ? broken() : row[0]!));
  const served = aVersion(2, scorer);
  const { predictor } = aPredictor(await anEntry({ champion: served }));
  const settle = vi.fn<(name: string, outcome: unknown) => void>();
  const tensor = (x: number, name: string): Work => ({
    kind: 'tensor',
    rows: 1,
    served,
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

test('the features of a batch, of all its versions and of the shadow, come in one read', async () => {
  const store = aStore({ k: 0.5 });
  const own = { input: { ...anInput } };
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    canary: aVersion(3, aScorer(sum), own),
    shadow: aVersion(4, aScorer(sum), { input: { ...anInput } }),
  });
  const { predict } = aPredictor(entry, { store });
  await predict(...Array.from({ length: 20 }, (_, i) => [anInstance(`${i}`, { key: 'k' })]));
  expect(store.reads).toBe(1);
});

test('tensors for a version that hangs are refused in time, at once while it does, and hold up no other model', async () => {
  const hanging = { ...aScorer(sum), offLoop: true, score: () => new Promise<Float64Array>(() => undefined) };
  const served = aVersion(3, hanging, { timeoutMs: 20 });
  const { predictor, predict } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)), canary: served }));
  const refusal = (): Promise<unknown> =>
    new Promise((resolve) => {
      const features = Float64Array.of(1, 0, 0);
      const work = { kind: 'tensor', rows: 1, served, features, ...unhurried, resolve, reject: resolve } as const;
      void predictor.run([work]);
    });
  expect(await refusal()).toMatchObject({ code: 'OVERLOADED' });
  const second = refusal();
  expect(await predict([anInstance('a')])).toHaveLength(1);
  expect(await second).toMatchObject({ code: 'OVERLOADED' });
});
