import { expect, test } from 'vitest';
import { FEATURE_STATUSES } from '../../features/kernel/view-state.ts';
import { MicroBatcher } from '../batching/micro-batcher.ts';
import type { Answer } from './answer.ts';
import type { Work } from './predictor.ts';
import { aPredictor, aWork } from './predictor-fixture.ts';
import { aLedger, anEntry, anInstance, aScorer, aStore, aVersion, aVersionScorer } from './serving-fixture.ts';
import { SHADOW_LIMITS, type ShadowLimits, ShadowRunner } from './shadow-runner.ts';

const sum = (row: Float64Array): number => row[0]! + row[1]! / 8;
const broken = (): number => {
  throw new Error('the session is gone');
};

test('the shadow scores what was answered, in its order, with what the batch read', async () => {
  const store = aStore({ k: 0.5 });
  const shadow = aVersion(
    3,
    aScorer((row) => row[0]! + (row[2] || 0)),
  );
  const { predict, ledger } = aPredictor(await anEntry({ champion: aVersion(2, aScorer(sum)), shadow }), { store });
  await predict([anInstance('a', { x: 0.25, key: 'k' })], [anInstance('b', { x: 0.125 })]);
  expect(ledger.shadows).toEqual([]);
  await expect.poll(() => ledger.shadows).toHaveLength(2);
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
  const named = ledger.shadows.map(({ statuses }) => Array.from(statuses, (status) => FEATURE_STATUSES[status]));
  expect(named).toEqual([
    ['present', 'present', 'present'],
    ['present', 'present', 'not_found'],
  ]);
  expect(store.reads).toBe(1);
});

test('a shadow that throws is counted and never seen', async () => {
  const { predict, ledger } = aPredictor(
    await anEntry({ champion: aVersion(2, aScorer(sum)), shadow: aVersion(3, aScorer(broken)) }),
  );
  const [[answer]] = (await predict([anInstance('a', { x: 0.25 })])) as [[Answer]];
  expect(answer).toMatchObject({ score: 0.25, error: null });
  await expect.poll(() => ledger.shadows.map(({ error }) => error)).toEqual(['the session is gone']);
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

/** A runner that is asked by hand: its clock and its queue are the test's. */
function aRunner({ score, limits = SHADOW_LIMITS }: { score: (row: Float64Array) => number; limits?: ShadowLimits }) {
  const { ledger, accounting } = aLedger();
  const clock = { ms: 0, queuedRows: 0, looks: 0 };
  const scorer = aScorer(score);
  const entry = anEntry({ champion: aVersion(2, aScorer(sum)), shadow: aVersion(3, scorer) });
  const runner = new ShadowRunner({
    accounting,
    scorer: aVersionScorer(undefined, () => clock.ms),
    queuedRows: () => {
      clock.looks += 1;
      return clock.queuedRows;
    },
    limits,
    nowMs: () => clock.ms,
    cpuMs: () => clock.ms,
  });
  const { input } = aVersion(3, scorer);
  /** Hands on a batch of as many rows. */
  const submit = async (rows: number): Promise<boolean> => {
    const own = await entry;
    const instances = Array.from({ length: rows }, (_, i) => anInstance(`${i}`, { x: i }));
    const [job] = runner.choose([{ entry: own, instances }]);
    if (!job) return false;
    const features = () => ({
      ...input.assembleVectors(
        job.group.rows.map(() => null),
        job.group.rows,
      ),
      knownSeq: new Map(),
      failures: new Map(),
    });
    const answers = instances.map((instance) => ({ instance }) as Answer);
    runner.submit(job, features, answers);
    return true;
  };
  return { submit, clock, ledger, scorer };
}

test('a slow shadow gets a share of the time that its slowness makes smaller; the rest is dropped and counted', async () => {
  const { submit, clock, ledger } = aRunner({
    score: (row) => {
      clock.ms += 2.5;
      return sum(row);
    },
  });
  const seconds = 20;
  for (let request = 0; request < seconds * 100; request++) {
    clock.ms = Math.max(clock.ms, request * 10);
    await submit(1);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const scored = ledger.shadows.length;
  // a fifth of a percent of the time, each row 2.5 ms, and the dozen by which it is found out
  const { share, maxFactor } = SHADOW_LIMITS;
  const atMost = (share * seconds * 1_000) / (2.5 * maxFactor) + 12;
  expect(scored).toBeGreaterThan(1);
  expect(scored).toBeLessThanOrEqual(atMost);
  expect(ledger.dropped).toBe(seconds * 100 - scored);
});

test('a large batch is scored in pieces, each as long as a piece may be, in order', async () => {
  const { submit, clock, ledger, scorer } = aRunner({
    score: (row) => {
      clock.ms += 0.0625;
      return sum(row);
    },
  });
  await submit(21);
  await expect.poll(() => ledger.shadows).toHaveLength(21);
  expect(ledger.shadows.map(({ score }) => score)).toEqual(Array.from({ length: 21 }, (_, i) => i));
  // one row to learn what a row takes, then four at a time
  expect(scorer.runs).toBe(6);
});

test('while requests wait no piece is begun; a shadow that gets no quiet moment in time is dropped', async () => {
  const { submit, clock, ledger, scorer } = aRunner({ score: sum });
  clock.queuedRows = 1;
  expect(await submit(3)).toBe(true);
  const before = clock.looks;
  await expect.poll(() => clock.looks).toBeGreaterThan(before + 2);
  expect([scorer.runs, ledger.dropped]).toEqual([0, 0]);
  clock.ms += SHADOW_LIMITS.maxWaitMs + 1;
  await expect.poll(() => ledger.dropped).toBe(3);
  expect(scorer.runs).toBe(0);
});

test('under a full queue no answer waits for the shadow, and all of its rows are counted', async () => {
  const slow = aScorer((row) => {
    const untilMs = performance.now() + 5;
    while (performance.now() < untilMs);
    return sum(row);
  });
  const entry = await anEntry({ champion: aVersion(2, aScorer(sum)), shadow: aVersion(3, slow) });
  const { predictor, ledger } = aPredictor(entry, { queuedRows: () => batcher.queuedRows });
  const batcher = new MicroBatcher<Work>({
    run: (batch) => predictor.run(batch),
    limits: { maxBatchRows: 16, maxQueueRows: 4_096 },
  });
  const answered = await Promise.all(
    Array.from({ length: 400 }, (_, i) => {
      const instances = [anInstance(`${i}`, { x: i })];
      return new Promise<{ score: number; runs: number }>((resolve, reject) => {
        const take = ([answer]: readonly Answer[]) => resolve({ score: answer!.score, runs: slow.runs });
        batcher.submit({ ...aWork(instances), resolve: take, reject });
      });
    }),
  );
  // the queue was full from the first batch to the last: until all were answered the shadow was not asked once
  expect(answered.map(({ score }) => score)).toEqual(Array.from({ length: 400 }, (_, i) => i));
  expect(answered.every(({ runs }) => runs === 0)).toBe(true);
  await expect.poll(() => ledger.shadows.length + ledger.dropped).toBe(400);
  expect(ledger.dropped).toBeGreaterThan(300);
});

test('a shadow that hangs in its thread costs nobody anything, and comes back to nobody', async () => {
  const hanging = { ...aScorer(sum), offLoop: true, score: () => new Promise<Float64Array>(() => undefined) };
  const entry = await anEntry({
    champion: aVersion(2, aScorer(sum)),
    shadow: aVersion(3, hanging, { timeoutMs: 20 }),
  });
  const { predict, ledger } = aPredictor(entry);
  await predict([anInstance('a')]);
  await expect.poll(() => ledger.shadows.map(({ error }) => error)).toEqual(['it did not compute within 20 ms']);
});
