import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Circuit } from './circuit.ts';
import { createFeatureBatchReader, type OnlineReader, STORE_CIRCUIT } from './feature-batch.ts';
import { anInput, aStore } from './serving-fixture.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const group = (...keys: string[]) => ({
  input: anInput,
  rows: keys.map((key, i) => ({ request: { x: i, y: 0, key }, asOf: 0 })),
});
const nowMs = () => Date.now();
const aGuard = () => ({ timeoutMs: 100, circuit: new Circuit(STORE_CIRCUIT), nowMs });

test('groups are read in one round trip and get their own states', async () => {
  const store = aStore({ a: 1, b: 2 });
  const reader = createFeatureBatchReader(store, aGuard());
  const { matrices, later } = await reader.read([group('a', 'none')], [group('b')]);
  expect(matrices.map(({ values }) => [...values])).toEqual([[0, 0, 1, 1, 0, NaN]]);
  expect(later.map((assemble) => [...assemble().values])).toEqual([[0, 0, 2]]);
  expect(store.reads).toBe(1);
});

test('a store that does not answer in time counts as failed, and is then left alone for a moment', async () => {
  const read = vi.fn<OnlineReader['read']>(() => new Promise(() => undefined));
  const told: unknown[] = [];
  const circuit = new Circuit(STORE_CIRCUIT, () => void told.push('it is left alone'));
  const reader = createFeatureBatchReader(
    { read },
    { ...aGuard(), circuit, onFailure: (error) => void told.push((error as Error).message) },
  );
  const failure = reader.read([group('a')]).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(100);
  expect(await failure).toMatchObject({ message: 'the online store did not answer within 100 ms' });
  // the reason is known when the log says that it is left alone
  expect(told).toEqual(['the online store did not answer within 100 ms', 'it is left alone']);
  await expect(reader.read([group('a')])).rejects.toThrow('left alone');
  expect(read).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1_000);
  read.mockImplementation((refs) =>
    Promise.resolve({ states: refs.map(() => null), knownSeq: new Map(), foldedAt: new Map() }),
  );
  expect((await reader.read([group('a')])).matrices).toHaveLength(1);
});

test('without the store there are the request and what its absence leaves', () => {
  const reader = createFeatureBatchReader(aStore({ a: 1 }), aGuard());
  expect([...reader.readWithoutStore([group('a')])[0]!.values]).toEqual([0, 0, NaN]);
});
