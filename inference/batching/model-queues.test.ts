import { expect, test } from 'vitest';
import { CostModel } from '../admission/cost-model.ts';
import { NORMAL } from '../admission/priority.ts';
import type { QueuedWork } from './micro-batcher.ts';
import { ModelQueues } from './model-queues.ts';

interface Named extends QueuedWork {
  readonly model: string;
  resolve(): void;
}

test('a model that computes in a thread holds up nobody else, and changes its queue with its champion', async () => {
  const held: Named[] = [];
  let inThread = true;
  const queues = new ModelQueues<Named>(
    {
      limits: { maxBatchRows: 8, maxQueueRows: 64 },
      run: async (batch) => {
        const slow = batch.filter(({ model }) => model === 'slow' && inThread);
        for (const work of batch) if (!slow.includes(work)) work.resolve();
        held.push(...slow);
        if (slow.length > 0) await new Promise<void>((resolve) => (release = resolve));
      },
    },
    (model) => model === 'slow' && inThread,
  );
  let release = (): void => undefined;
  const ask = (model: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const cost = new CostModel();
      queues.batcherOf(model).submit({ model, rows: 1, priority: NORMAL, deadlineMs: Infinity, cost, resolve, reject });
    });
  const slow = ask('slow');
  await ask('quick');
  await ask('quick');
  expect(held).toHaveLength(1);
  expect(queues.all()).toHaveLength(2);
  held[0]!.resolve();
  release();
  await slow;
  await queues.whenIdle();

  inThread = false;
  await ask('slow');
  expect(queues.batcherOf('slow')).toBe(queues.batcherOf('quick'));
});
