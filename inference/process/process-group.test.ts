import type { Worker } from 'node:cluster';
import { expect, test, vi } from 'vitest';
import { relayBetween } from './process-group.ts';

/** A process as the primary sees it: it keeps what it is told. */
function aWorker() {
  const told: { type: string; id?: string; failure?: unknown }[] = [];
  const worker = {
    isConnected: () => true,
    isDead: () => false,
    send: (message: (typeof told)[number]) => told.push(message) > 0,
  } as unknown as Worker;
  return { worker, told };
}

const join = { type: 'serin.group.join' };
const ask = { type: 'serin.group.ask', id: 'q', task: { kind: 'statistics' } };
const answer = { type: 'serin.group.answer', id: 'q', statistics: [], failure: null };

test('a question goes to all that have joined, and the answer comes when all have answered', () => {
  const [first, second] = [aWorker(), aWorker()];
  const relay = relayBetween(() => [first.worker, second.worker]);
  relay(first.worker, join);
  relay(second.worker, join);
  relay(first.worker, ask);
  expect([first.told, second.told]).toEqual([[ask], [ask]]);
  relay(first.worker, answer);
  expect(first.told).toHaveLength(1);
  relay(second.worker, answer);
  expect(first.told[1]).toEqual(answer);
});

test('a process that is still starting is not waited for: it would not hear the question', () => {
  const [ready, starting] = [aWorker(), aWorker()];
  const relay = relayBetween(() => [ready.worker, starting.worker]);
  relay(ready.worker, join);
  relay(ready.worker, ask);
  relay(ready.worker, answer);
  expect(starting.told).toEqual([]);
  expect(ready.told).toEqual([ask, answer]);
});

test('a question that a process never answers is forgotten when who asked has given up', () => {
  vi.useFakeTimers();
  try {
    const [hanging, asker] = [aWorker(), aWorker()];
    const relay = relayBetween(() => [hanging.worker, asker.worker]);
    for (const { worker } of [hanging, asker]) relay(worker, join);
    relay(asker.worker, ask);
    relay(asker.worker, answer);
    vi.advanceTimersByTime(60_000);
    relay(hanging.worker, answer);
    expect(asker.told).toEqual([ask]);
  } finally {
    vi.useRealTimers();
  }
});
