import { expect, test, vi } from 'vitest';
import { Outbox } from './outbox.ts';

function anOutbox({ maxItems = 10, failing = false } = {}) {
  const sent: number[][] = [];
  const state = { failing, dropped: 0 };
  const onFailure = vi.fn<(error: unknown) => void>();
  const outbox = new Outbox<number>({
    send: (batch) => {
      if (state.failing) return Promise.reject(new Error('away'));
      sent.push([...batch]);
      return Promise.resolve();
    },
    maxItems,
    maxBatch: 3,
    everyMs: 3_600_000,
    onDrop: (items) => (state.dropped += items),
    onFailure,
  });
  return { outbox, sent, state, onFailure };
}

test('items are sent in order, in batches', async () => {
  const { outbox, sent } = anOutbox();
  for (const item of [1, 2, 3, 4]) outbox.add(item);
  await outbox.flush();
  expect(sent).toEqual([[1, 2, 3], [4]]);
  expect(outbox.size).toBe(0);
});

test('what cannot be sent is kept and sent later, beyond the bound it is dropped and counted', async () => {
  const { outbox, sent, state, onFailure } = anOutbox({ maxItems: 2, failing: true });
  for (const item of [1, 2, 3]) outbox.add(item);
  await outbox.flush();
  expect(onFailure).toHaveBeenCalledOnce();
  expect(state.dropped).toBe(1);
  state.failing = false;
  await outbox.close();
  expect(sent).toEqual([[1, 2]]);
});

test('two flushes at once send an item once', async () => {
  const { outbox, sent } = anOutbox();
  outbox.add(1);
  await Promise.all([outbox.flush(), outbox.flush()]);
  expect(sent).toEqual([[1]]);
});

test('when it is full it says so before anything is made for it, and counts it', async () => {
  const { outbox, state } = anOutbox({ maxItems: 1, failing: true });
  expect(outbox.takes()).toBe(true);
  outbox.add(1);
  expect(outbox.takes()).toBe(false);
  expect(state.dropped).toBe(1);
  state.failing = false;
  await outbox.close();
});
