import { afterAll, beforeAll, expect, test } from 'vitest';
import { booksOf, takePostgresAway } from '../../bench/outage/outage.ts';
import { startClient } from '../../bench/routed/predict-client.ts';
import { type RoutedTier, startRoutedTier } from '../../bench/routed/routed-tier.ts';
import { MODEL, requestOf, trainVersions, type TrainedVersion } from '../../bench/routed/scored-project.ts';
import { openSeverableLink, type SeverableLink } from '../../bench/routed/severable-link.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let versions: TrainedVersion[];
let link: SeverableLink;
let tier: RoutedTier;

beforeAll(async () => {
  versions = trainVersions(1);
  const databaseUrl = await createTestDatabase();
  link = await openSeverableLink(databaseUrl);
  tier = await startRoutedTier({
    databaseUrl,
    tierDatabaseUrl: link.url,
    versions,
    processes: 1,
    stored: false,
    logSampleRate: 1,
  });
  await tier.reached(await tier.move({ champion: 1, lastKnownGood: 1 }));
});
afterAll(async () => {
  await tier.stop();
  await link.close();
});

/** `npm run bench -- outage --minutes 60` is the hour. */
test('without PostgreSQL, API and Temporal answers go on; staleness is told, the log is kept within bounds, its losses are counted, and all the rest arrives', async () => {
  const client = startClient({ url: tier.url, stored: false, versions, ratePerSecond: 100, connections: 4 });
  const many: Promise<number>[] = [];
  const { samples, recoveredMs } = await takePostgresAway(tier, link, {
    everyMs: 100,
    until({ stalenessSeconds, logDropped }) {
      if (logDropped === 0) {
        many.push(askMany());
        return false;
      }
      return stalenessSeconds > 3;
    },
  });

  /** More instances than the log's buffer has room for, in a few requests. */
  async function askMany(): Promise<number> {
    const instances = Array.from({ length: 1_000 }, (_, i) => requestOf(i, { stored: false }));
    const response = await fetch(`${tier.url}/v1/models/${MODEL}/predict`, {
      method: 'POST',
      body: JSON.stringify({ instances }),
    });
    expect(response.status).toBe(200);
    return ((await response.json()) as { predictions: unknown[] }).predictions.length;
  }

  const last = samples.at(-1)!;
  expect(last.stalenessSeconds).toBeGreaterThan(samples[0]!.stalenessSeconds);
  expect(Math.max(...samples.map(({ logBufferRows }) => logBufferRows))).toBe(last.logBufferRows);
  expect(last.logDropped).toBeGreaterThan(0);
  expect(last.tallyDropped).toBe(0);
  expect(recoveredMs).toBeLessThan(60_000);
  await client.stop();
  const instances = await Promise.all(many);
  const books = await booksOf(
    tier,
    instances.reduce((sum, each) => sum + each, client.requests),
  );
  expect(client.faults.slice(0, 3)).toEqual([]);
  expect(books).toMatchObject({ asked: books.tallied, logged: books.asked - books.droppedFromLog });
});
