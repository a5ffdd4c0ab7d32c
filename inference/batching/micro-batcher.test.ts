import { expect, test } from 'vitest';
import { MicroBatcher } from './micro-batcher.ts';

interface Piece {
  readonly name: string;
  readonly rows: number;
}

/** A batcher whose batches end when the test says so. */
function aBatcher(limits = { maxBatchRows: 4, maxQueueRows: 8 }) {
  const batches: string[][] = [];
  const ends: (() => void)[] = [];
  const batcher = new MicroBatcher<Piece>((batch) => {
    batches.push(batch.map(({ name }) => name));
    return new Promise((resolve) => ends.push(resolve));
  }, limits);
  const endBatch = async () => {
    ends.shift()!();
    await new Promise((resolve) => setImmediate(resolve));
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { batcher, batches, endBatch, turn };
}

test('what arrives while a batch runs becomes the next batch, up to its rows', async () => {
  const { batcher, batches, endBatch, turn } = aBatcher();
  batcher.submit({ name: 'a', rows: 1 });
  await turn();
  for (const name of ['b', 'c', 'd']) batcher.submit({ name, rows: 2 });
  expect(batches).toEqual([['a']]);
  await endBatch();
  expect(batches).toEqual([['a'], ['b', 'c']]);
  await endBatch();
  expect(batches).toEqual([['a'], ['b', 'c'], ['d']]);
});

test('a piece larger than a batch goes alone', async () => {
  const { batcher, batches, turn } = aBatcher();
  batcher.submit({ name: 'large', rows: 7 });
  batcher.submit({ name: 'small', rows: 1 });
  await turn();
  expect(batches).toEqual([['large']]);
});

test('beyond the bound in rows work is refused, and taken again once there is room', async () => {
  const { batcher, endBatch, turn } = aBatcher();
  batcher.submit({ name: 'a', rows: 1 });
  await turn();
  batcher.submit({ name: 'b', rows: 5 });
  batcher.submit({ name: 'c', rows: 3 });
  expect(() => batcher.submit({ name: 'd', rows: 1 })).toThrowError(
    expect.objectContaining({ code: 'OVERLOADED', status: 503 }),
  );
  await endBatch();
  batcher.submit({ name: 'd', rows: 1 });
  expect(batcher.queuedRows).toBe(4);
});

test('it is idle when all work has been answered', async () => {
  const { batcher, batches, endBatch, turn } = aBatcher();
  batcher.submit({ name: 'a', rows: 1 });
  await turn();
  batcher.submit({ name: 'b', rows: 1 });
  const idle = batcher.whenIdle();
  await endBatch();
  await endBatch();
  await idle;
  expect(batches).toEqual([['a'], ['b']]);
});
