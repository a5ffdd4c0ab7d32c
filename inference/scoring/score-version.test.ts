import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FEATURE_STATUSES, type FeatureStatus } from '../../features/kernel/view-state.ts';
import type { Scorer } from '../model/scorer.ts';
import { Circuits } from './circuit.ts';
import type { FeatureMatrix } from './feature-batch.ts';
import { VERSION_CIRCUIT, VersionScorer } from './score-version.ts';
import { aScorer, aVersion, aVersionScorer } from './serving-fixture.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const nowMs = (): number => Date.now();

const sum = (row: Float64Array): number => row[0]! + row[1]!;
const broken = (): number => {
  throw new Error('the session is gone');
};

/** Rows of `x`, `y` 0 and a stored value of the given status. */
function aMatrix(xs: readonly number[], statuses: readonly FeatureStatus[] = []): FeatureMatrix {
  return {
    values: Float64Array.from(xs.flatMap((x) => [x, 0, NaN])),
    statuses: Uint8Array.from(
      xs.flatMap((_, i) =>
        (['present', 'present', statuses[i] ?? 'present'] as const).map((status) => FEATURE_STATUSES.indexOf(status)),
      ),
    ),
    readAt: new Float64Array(xs.length),
    knownSeq: new Map(),
    failures: new Map(),
  };
}

const reasons = ({ failures }: { failures: ReadonlyMap<number, { reason: string }> }): Record<number, string> =>
  Object.fromEntries([...failures].map(([row, { reason }]) => [row, reason]));

/** Answers when it is told to. */
function aHangingScorer() {
  const calls: ((scores: Float64Array) => void)[] = [];
  const scorer: Scorer = {
    featureCount: 3,
    offLoop: true,
    score: () => new Promise((resolve) => calls.push(resolve)),
    release: () => Promise.resolve(),
  };
  return { scorer, calls };
}

test('scores come with the reason of each row that has none', async () => {
  const scorer = aScorer((row) => (row[0] === 1 ? broken() : row[0] === 2 ? -Infinity : sum(row)));
  const result = await aVersionScorer().score(aVersion(2, scorer), aMatrix([0.5, 1, 2]), 3);
  expect(result.scores[0]).toBe(0.5);
  expect([...result.failures]).toEqual([
    [1, { reason: 'error', message: 'the session is gone' }],
    [2, { reason: 'not_finite', message: 'the score is -Infinity' }],
  ]);
});

test.each<[FeatureStatus, string | undefined]>([
  ['present', undefined],
  ['defaulted', undefined],
  ['null', 'stored is null'],
  ['not_found', 'stored is not found'],
  ['expired', 'stored is expired'],
  ['deleted', 'stored is deleted'],
])('a mandatory feature that is %s: %s', async (status, message) => {
  const scorer = aScorer(sum);
  const version = aVersion(2, scorer, { mandatory: [2] });
  const { scores, failures } = await aVersionScorer().score(version, aMatrix([1, 3], ['present', status]), 2);
  expect(scores[0]).toBe(1);
  expect(failures.get(1)).toEqual(message && { reason: 'missing_feature', message });
});

test('with no row to ask about no call is made', async () => {
  const scorer = aScorer(sum);
  const version = aVersion(2, scorer, { mandatory: [2] });
  const result = await aVersionScorer().score(version, aMatrix([1], ['expired']), 1);
  expect([scorer.runs, reasons(result)]).toEqual([0, { 0: 'missing_feature' }]);
});

test('a version that does not come back is not waited for beyond its time; its late answer is dropped', async () => {
  const { scorer, calls } = aHangingScorer();
  const circuits = new Circuits({ ...VERSION_CIRCUIT, minCalls: 100 });
  const versions = new VersionScorer({ circuits, nowMs });
  const version = aVersion(2, scorer, { timeoutMs: 50 });
  const first = versions.score(version, aMatrix([1]), 1);
  await vi.advanceTimersByTimeAsync(50);
  const { scores, failures } = await first;
  expect([scores[0], failures.get(0)]).toEqual([
    NaN,
    { reason: 'timeout', message: 'it did not compute within 50 ms' },
  ]);

  // it is still at it: nobody queues up behind that
  expect(reasons(await versions.score(version, aMatrix([2]), 1))).toEqual({ 0: 'circuit_open' });
  expect(calls).toHaveLength(1);
  calls[0]!(Float64Array.of(0.9));
  await vi.advanceTimersByTimeAsync(0);
  expect(scores[0]).toBe(NaN);

  const second = versions.score(version, aMatrix([2]), 1);
  calls[1]!(Float64Array.of(0.2));
  expect([...(await second).scores]).toEqual([0.2]);
});

test('what held the thread for too long is used, and counts as a failure', async () => {
  const versions = aVersionScorer({ ...VERSION_CIRCUIT, minCalls: 2 }, nowMs);
  const slow = aScorer((row) => {
    vi.setSystemTime(Date.now() + 100);
    return sum(row);
  });
  const version = aVersion(2, slow, { timeoutMs: 50 });
  for (let call = 0; call < 2; call++) {
    const { scores, failures } = await versions.score(version, aMatrix([4]), 1);
    expect([scores[0], failures.size]).toEqual([4, 0]);
  }
  expect(reasons(await versions.score(version, aMatrix([4]), 1))).toEqual({ 0: 'circuit_open' });
  expect(slow.runs).toBe(2);
});

test('a version that fails every time is left alone, tried again, and taken back when it has recovered', async () => {
  let isBroken = true;
  const scorer = aScorer((row) => (isBroken ? broken() : sum(row)));
  const versions = aVersionScorer(VERSION_CIRCUIT, nowMs);
  const version = aVersion(2, scorer);
  const ask = async () => reasons(await versions.score(version, aMatrix([1]), 1))[0];
  for (let call = 0; call < VERSION_CIRCUIT.minCalls; call++) expect(await ask()).toBe('error');
  expect([await ask(), scorer.runs]).toEqual(['circuit_open', VERSION_CIRCUIT.minCalls]);
  isBroken = false;
  vi.setSystemTime(Date.now() + VERSION_CIRCUIT.openMs);
  for (let probe = 0; probe < VERSION_CIRCUIT.probes; probe++) expect(await ask()).toBeUndefined();
  expect(await ask()).toBeUndefined();
});

test('a rule is always asked, whatever it did before', async () => {
  const scorer = aScorer(broken);
  const versions = aVersionScorer({ ...VERSION_CIRCUIT, minCalls: 1 }, nowMs);
  const rule = aVersion(0, scorer);
  for (let call = 0; call < 5; call++)
    expect(reasons(await versions.score(rule, aMatrix([1]), 1))).toEqual({ 0: 'error' });
  expect(scorer.runs).toBe(5);
});

test('rows that are asked one by one stop at the version’s time', async () => {
  const scorer = aScorer(() => {
    vi.setSystemTime(Date.now() + 20);
    return broken();
  });
  const version = aVersion(2, scorer, { timeoutMs: 50 });
  const result = await aVersionScorer(undefined, nowMs).score(
    version,
    aMatrix(Array.from({ length: 100 }, () => 1)),
    100,
  );
  expect(result.failures.size).toBe(100);
  // the batch, and single rows until the time is over
  expect(scorer.runs).toBeLessThanOrEqual(4);
});

test('rows under way in another thread are bounded', async () => {
  const { scorer, calls } = aHangingScorer();
  const version = aVersion(2, scorer);
  const versions = aVersionScorer(undefined, nowMs);
  const under = versions.score(version, aMatrix(Array.from({ length: 2_000 }, () => 1)), 2_000);
  const beyond = await versions.score(version, aMatrix(Array.from({ length: 100 }, () => 1)), 100);
  expect([beyond.failures.get(0)!.reason, calls.length]).toEqual(['timeout', 1]);
  calls[0]!(new Float64Array(2_000));
  expect((await under).failures.size).toBe(0);
});
