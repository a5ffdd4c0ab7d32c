/**
 * `npm run bench -- outage [--minutes N] [--rate N]`: the tier under load with PostgreSQL gone for so long (no API and no
 * Temporal run at all). Prints what it exported on the way and whether the books balance afterwards; writes
 * bench/results/outage.json. Exits with 1 when an answer failed or was wrong, or something is unaccounted for.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../features/report.ts';
import { quantile } from '../online/latencies.ts';
import { startDatabases } from '../routed/databases.ts';
import { startClient } from '../routed/predict-client.ts';
import { startRoutedTier } from '../routed/routed-tier.ts';
import { trainVersions } from '../routed/scored-project.ts';
import { openSeverableLink } from '../routed/severable-link.ts';
import { booksOf, takePostgresAway } from './outage.ts';

const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
const SAMPLES = 20;

const { values: options } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, rate: { type: 'string', default: '200' } },
});
const [seconds, ratePerSecond] = [Number(options.minutes) * 60, Number(options.rate)];

const databases = await startDatabases();
const link = await openSeverableLink(databases.postgresUrl);
const versions = trainVersions(1);
const tier = await startRoutedTier({
  databaseUrl: databases.postgresUrl,
  tierDatabaseUrl: link.url,
  versions,
  processes: 2,
  stored: false,
  // so that the log's buffer overflows, as it would in an hour of a busy model
  logSampleRate: 1,
});
try {
  await tier.reached(await tier.move({ champion: 1, lastKnownGood: 1 }));
  const client = startClient({ url: tier.url, stored: false, versions, ratePerSecond, connections: 16 });
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const before = client.takeLatencies();
  const { samples, recoveredMs } = await takePostgresAway(tier, link, {
    everyMs: (seconds * 1_000) / SAMPLES,
    until: ({ at }) => at >= seconds,
  });
  const during = client.takeLatencies();
  await client.stop();
  const books = await booksOf(tier, client.requests);
  const result = {
    at: new Date().toISOString(),
    machine: machine(),
    seconds,
    ratePerSecond,
    faults: client.faults.length,
    latencyMs: [before, during].map((values) => ({ p50: quantile(values, 0.5), p99: quantile(values, 0.99) })),
    samples,
    recoveredMs,
    books,
  };
  console.log('| s without | stale s | log rows kept | lost | tallies lost | MiB |');
  console.log('|---|---|---|---|---|---|');
  for (const { at, stalenessSeconds, logBufferRows, logDropped, tallyDropped, residentMiB } of samples) {
    console.log(
      `| ${[at, stalenessSeconds, logBufferRows, logDropped, tallyDropped, residentMiB].map((value) => value.toFixed(0)).join(' | ')} |`,
    );
  }
  console.log(
    `p99 ${result.latencyMs.map(({ p99 }) => p99.toFixed(1)).join(' ms before, ')} ms during; recovered in ${recoveredMs.toFixed(0)} ms`,
  );
  console.log(
    `${books.asked} asked, ${result.faults} faults; ${books.tallied} tallied; ${books.logged} logged and ${books.droppedFromLog} counted as lost`,
  );
  for (const fault of client.faults.slice(0, 5)) console.log(`${fault.kind}: ${fault.detail}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(`${RESULTS}outage.json`, `${JSON.stringify(result, null, 2)}\n`);
  const balanced = books.tallied === books.asked && books.logged + books.droppedFromLog === books.asked;
  if (client.faults.length > 0 || !balanced) process.exitCode = 1;
} finally {
  await tier.stop();
  await link.close();
  await databases.stop();
}
