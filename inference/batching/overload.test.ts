import { expect, test } from 'vitest';
import { BACKGROUND, INTERACTIVE, NORMAL } from '../admission/priority.ts';
import { simulate, type SimulatedServer } from './overload-simulation.ts';

/** About 1,850 rows a second: 0.36 ms a row and 0.7 ms a batch, with noise. */
const SERVER: SimulatedServer = { fixedMs: 0.7, perRowMs: 0.36, readMs: 0.01, noise: 0.3 };
const CAPACITY = 2_000;

async function peakOf(server: SimulatedServer, deadlineMs: number): Promise<number> {
  let peak = 0;
  for (const share of [0.7, 0.8, 0.9, 1]) {
    const { goodPerSecond } = await simulate(server, { perSecond: CAPACITY * share, seconds: 2, deadlineMs });
    peak = Math.max(peak, goodPerSecond);
  }
  return peak;
}

test.each([25, 50, 100])(
  'at three times what it can do, nine tenths of the peak are answered by a deadline of %d ms, and refusals are quick',
  async (deadlineMs) => {
    const peak = await peakOf(SERVER, deadlineMs);
    const over = await simulate(SERVER, { perSecond: CAPACITY * 3, seconds: 4, deadlineMs });
    expect(over.goodPerSecond).toBeGreaterThan(0.9 * peak);
    expect(over.answeredMsP99).toBeLessThan(2 * deadlineMs);
    expect(over.refusedMsP99).toBeLessThan(5);
    expect(over.late / over.refused).toBeLessThan(0.01);
  },
);

test('what fits is answered: below what it can do, hardly anything is refused', async () => {
  const { refused } = await simulate(SERVER, { perSecond: 1_200, seconds: 4, deadlineMs: 50 });
  expect(refused).toBeLessThan(4 * 1_200 * 0.002);
});

test('pauses of 20 ms cost what they take, and few of what was taken before them come too late', async () => {
  const server = { ...SERVER, pause: { ms: 20, everyBatches: 50 } };
  const peak = await peakOf(server, 50);
  const over = await simulate(server, { perSecond: CAPACITY * 3, seconds: 4, deadlineMs: 50 });
  expect(over.goodPerSecond).toBeGreaterThan(0.8 * peak);
  expect(over.answeredMsP99).toBeLessThan(100);
  expect(over.late / over.refused).toBeLessThan(0.01);
});

test('when there is too much of everything, the urgent is answered, and the background is shed', async () => {
  const { goodByPriority } = await simulate(SERVER, {
    perSecond: CAPACITY * 1.5,
    seconds: 4,
    deadlineMs: 50,
    priorities: [INTERACTIVE, NORMAL, BACKGROUND],
  });
  expect(goodByPriority['interactive']).toBeGreaterThan(0.98 * CAPACITY * 0.5);
  expect(goodByPriority['normal']).toBeGreaterThan(0.5 * CAPACITY * 0.5);
  expect(goodByPriority['background']).toBeLessThan(0.2 * CAPACITY * 0.5);
});

test('a model whose batches cost much and rows little is found out under load, and batched', async () => {
  const server: SimulatedServer = { fixedMs: 8, perRowMs: 0.05, readMs: 0.005, noise: 0.2 };
  const { goodPerSecond } = await simulate(server, { perSecond: 5_000, seconds: 3, deadlineMs: 60 });
  expect(goodPerSecond).toBeGreaterThan(0.9 * 5_000);
});
