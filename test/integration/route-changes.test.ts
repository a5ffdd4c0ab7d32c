import { afterAll, beforeAll, expect, test } from 'vitest';
import { changeRoutes, loseNotices } from '../../bench/routed/change-routes.ts';
import { startClient } from '../../bench/routed/predict-client.ts';
import { type RoutedTier, startRoutedTier } from '../../bench/routed/routed-tier.ts';
import { trainVersions, type TrainedVersion } from '../../bench/routed/scored-project.ts';
import { createTestDatabase } from '../setup/test-database.ts';

/** `npm run bench -- swaps` makes 1,000 of them. */
const CHANGES = 100;
/** Most go to a version that is warm, each tenth to one that must be loaded. */
const ROUND = [1, 2, 1, 2, 1, 2, 1, 2, 1, 3];

let versions: TrainedVersion[];
let tier: RoutedTier;

beforeAll(async () => {
  versions = trainVersions(3);
  tier = await startRoutedTier({
    databaseUrl: await createTestDatabase(),
    versions,
    processes: 2,
    stored: false,
    logSampleRate: 0.01,
  });
});
afterAll(() => tier.stop());

test(
  `${CHANGES} route changes under load on two processes: none fails, none is wrong, none is old after the acknowledgement`,
  { timeout: 180_000 },
  async () => {
    const client = startClient({ url: tier.url, stored: false, versions, ratePerSecond: 300, connections: 8 });
    await changeRoutes(tier, { count: CHANGES, versions: ROUND, client });
    await client.stop();
    expect(client.faults.slice(0, 3)).toEqual([]);
    expect(client.requests).toBeGreaterThan(CHANGES);
  },
);

test('a rollback to the warm last known good is in force on every process soon after its write', async () => {
  const { reachedMs } = await changeRoutes(tier, { count: 10, versions: [1, 2] });
  // without notices each would take the 1,500 ms between two looks; `npm run bench -- swaps` prints the real figure
  expect(median(reachedMs)).toBeLessThan(1_000);
});

test('with every notice lost the nodes find the change by looking', async () => {
  await loseNotices(tier);
  const { reachedMs } = await changeRoutes(tier, { count: 3, versions: [1, 2] });
  // who does not look never acknowledges
  expect(Math.max(...reachedMs)).toBeLessThan(30_000);
});

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
