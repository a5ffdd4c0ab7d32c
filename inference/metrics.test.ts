import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { anAnswer } from './accounting/accounting-fixture.ts';
import { createInferenceMetrics } from './metrics.ts';
import type { RouteEntry } from './routing/route-entry.ts';
import { anEntry, aScorer, aVersion } from './scoring/serving-fixture.ts';

const scorer = aScorer(() => 0.5);
const MINUTES = 60_000;

async function aTier() {
  const registry = new Registry();
  const state = { nowMs: 0, entries: [] as RouteEntry[] };
  const metrics = createInferenceMetrics(registry, {
    logBufferRows: () => 3,
    nowMs: () => state.nowMs,
    versions: () => state.entries.flatMap(({ loaded }) => loaded),
  });
  const lines = async (name: string): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => line.startsWith(name));
  return { metrics, state, lines, registry };
}

test('answers, their time and errors are counted by model, version, arm and rung', async () => {
  const { metrics, lines } = await aTier();
  const entry = await anEntry({ champion: aVersion(2, scorer), canary: aVersion(3, scorer) });
  metrics.accounting.answered(entry, [anAnswer('a'), anAnswer('b')], 1.5);
  const fallen = anAnswer('c', { arm: 'canary', version: 2, rung: 'champion', error: 'v3: gone' });
  metrics.accounting.answered(entry, [fallen], 30);
  expect(await lines('serin_inference_answers_total')).toEqual([
    'serin_inference_answers_total{model="delay",version="2",arm="champion",rung="champion"} 2',
    'serin_inference_answers_total{model="delay",version="2",arm="canary",rung="champion"} 1',
  ]);
  expect(await lines('serin_inference_arm_errors_total')).toEqual([
    'serin_inference_arm_errors_total{model="delay",arm="canary"} 1',
  ]);
  expect(await lines('serin_inference_request_seconds_bucket{le="0.002"')).toEqual([
    'serin_inference_request_seconds_bucket{le="0.002",model="delay",version="2",arm="champion",rung="champion"} 2',
    'serin_inference_request_seconds_bucket{le="0.002",model="delay",version="2",arm="canary",rung="champion"} 0',
  ]);
});

test('each part of a request has its histogram, by model, version, arm and rung', async () => {
  const { metrics, lines } = await aTier();
  const entry = await anEntry({ champion: aVersion(2, scorer) });
  const by = { version: 3, arm: 'canary', rung: 'canary' } as const;
  metrics.accounting.queued(entry, by, 0.001);
  metrics.accounting.batchDone(4);
  metrics.accounting.read(entry, by, 0.002);
  metrics.accounting.computed(entry, by, 0.003);
  metrics.written(entry, by, 0.0001);
  metrics.logWritten(20, 0.004);
  const ofCanary = '{model="delay",version="3",arm="canary",rung="canary"}';
  for (const [name, labels, sum] of [
    ['queue', ofCanary, 0.001],
    ['feature', ofCanary, 0.002],
    ['compute', ofCanary, 0.003],
    ['write', ofCanary, 0.0001],
    ['log_write', '', 0.004],
  ] as const)
    expect(await lines(`serin_inference_${name}_seconds_sum`)).toEqual([
      `serin_inference_${name}_seconds_sum${labels} ${sum}`,
    ]);
  expect(await lines('serin_inference_batch_rows_sum')).toEqual(['serin_inference_batch_rows_sum 4']);
  expect(await lines('serin_inference_log_rows_total')).toEqual(['serin_inference_log_rows_total 20']);
  expect(await lines('serin_inference_log_buffer_rows')).toEqual(['serin_inference_log_buffer_rows 3']);
});

test('series of a version go some time after it has left its route, and come back with it', async () => {
  const { metrics, state, lines } = await aTier();
  const first = await anEntry({ champion: aVersion(2, scorer) });
  const second = await anEntry({ champion: aVersion(3, scorer) });
  const answer = (entry: RouteEntry, version: number): void => {
    metrics.accounting.answered(entry, [anAnswer('a', { version })], 1);
    metrics.accounting.computed(entry, { version, arm: 'champion', rung: 'champion' }, 0.001);
  };
  const versions = async (): Promise<string[]> => {
    const counted = [
      ...(await lines('serin_inference_answers_total')),
      ...(await lines('serin_inference_compute_seconds_count')),
    ];
    return [...new Set(counted.map((line) => /version="(\d+)"/.exec(line)![1]!))];
  };
  state.entries = [first];
  answer(first, 2);
  expect(await versions()).toEqual(['2']);
  state.entries = [second];
  answer(second, 3);
  // what it counted last is scraped
  state.nowMs = 5 * MINUTES;
  expect(await versions()).toEqual(['2', '3']);
  state.nowMs = 20 * MINUTES;
  expect(await versions()).toEqual(['3']);
  state.entries = [first];
  answer(first, 2);
  state.nowMs = 21 * MINUTES;
  expect(await versions()).toEqual(['3', '2']);
});

test('what a fallback model answers is counted as long as its version is routed', async () => {
  const { metrics, state, lines } = await aTier();
  const entry = await anEntry({ champion: aVersion(2, scorer) });
  const other = await anEntry({ champion: aVersion(7, scorer, { model: 'other' }) });
  state.entries = [entry, other];
  for (let answered = 1; answered <= 3; answered++) {
    metrics.accounting.answered(entry, [anAnswer('a', { version: 7, rung: 'fallback', error: 'v2: gone' })], 1);
    expect(await lines('serin_inference_answers_total')).toEqual([
      `serin_inference_answers_total{model="delay",version="7",arm="champion",rung="fallback"} ${answered}`,
    ]);
    state.nowMs += 20 * MINUTES;
  }
});

test('no label is a text of a client', async () => {
  const { metrics, registry } = await aTier();
  const entry = await anEntry({ champion: aVersion(2, scorer) });
  const instance = { ...anAnswer('marker-id').instance, unit: 'marker-unit', fields: { x: 'marker-field' } };
  metrics.accounting.answered(entry, [anAnswer('marker-id', { instance, error: 'marker-error' })], 1);
  expect(await registry.metrics()).not.toContain('marker');
});
