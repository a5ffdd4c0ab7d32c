import { expect, test } from 'vitest';
import { NewestOnly } from './newest-only.ts';

test('what comes in while an item is worked on gives way to the newest', async () => {
  const taken: number[] = [];
  const ends: (() => void)[] = [];
  const newest = new NewestOnly<number>((item) => {
    taken.push(item);
    return new Promise<void>((resolve) => ends.push(resolve));
  });
  for (const item of [1, 2, 3]) newest.offer(item);
  expect(taken).toEqual([1]);
  const settled = newest.settled();
  ends[0]!();
  await Promise.resolve();
  expect(taken).toEqual([1, 3]);
  ends[1]!();
  await settled;
  newest.offer(4);
  expect(taken).toEqual([1, 3, 4]);
});
