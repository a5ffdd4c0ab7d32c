/**
 * `npm run bench -- swaps [--changes N] [--rate N] [--seconds N]`: changes of the route under load, every answer held against
 * the golden value of the version it names; then rollbacks, told by NOTIFY and found by polling. Prints a table and writes
 * bench/results/swaps.json. Exits with 1 when an answer failed, was wrong or old.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../features/report.ts';
import { quantile } from '../online/latencies.ts';
import { changeRoutes, loseNotices } from '../routed/change-routes.ts';
import { startDatabases } from '../routed/databases.ts';
import { startClient } from '../routed/predict-client.ts';
import { type RoutedTier, startRoutedTier } from '../routed/routed-tier.ts';
import { trainVersions } from '../routed/scored-project.ts';
import { machineCpuSeconds, usageOfTree } from '../serving/process-usage.ts';

const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
/** Each tenth change goes to a version that must be loaded, the others to one that is warm. */
const ROUND = [1, 2, 1, 2, 1, 2, 1, 2, 1, 3, 2, 1, 2, 1, 2, 1, 2, 1, 2, 4];

const { values: options } = parseArgs({
  options: {
    changes: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '15' },
  },
});
const [changes, ratePerSecond, seconds] = [options.changes, options.rate, options.seconds].map(Number) as [
  number,
  number,
  number,
];

const databases = await startDatabases();
const versions = trainVersions(4);
const tier = await startRoutedTier({
  databaseUrl: databases.postgresUrl,
  versions,
  processes: 2,
  stored: false,
  logSampleRate: 0.01,
});
try {
  const before = machine();
  await changeRoutes(tier, { count: 2, versions: [2, 1] });
  const client = startClient({ url: tier.url, stored: false, versions, ratePerSecond, connections: 16 });
  await sleep(5);
  client.takeLatencies();
  await loopDelays(tier);
  const quiet = await watched(() => sleep(seconds));
  const [quietLatencies, quietLoop] = [client.takeLatencies(), await loopDelays(tier)];
  const rssBefore = usageOfTree(tier.process.pid!).residentMiB;
  const busy = await watched(() => changeRoutes(tier, { count: changes, versions: ROUND, client }));
  const [busyLatencies, busyLoop] = [client.takeLatencies(), await loopDelays(tier)];
  const rssAfter = usageOfTree(tier.process.pid!).residentMiB;
  await client.stop();
  const told = await changeRoutes(tier, { count: 100, versions: [1, 2] });
  await loseNotices(tier);
  const found = await changeRoutes(tier, { count: 10, versions: [1, 2] });
  const count = (kind: string): number => client.faults.filter((fault) => fault.kind === kind).length;
  const result = {
    at: new Date().toISOString(),
    machine: { before, after: machine() },
    changes,
    requests: client.requests,
    failed: count('failed'),
    wrong: count('wrong'),
    old: count('old'),
    changeMs: summary(busy.value.reachedMs),
    latencyMs: { without: summary(quietLatencies), during: summary(busyLatencies) },
    // the longest of each process since the last look
    eventLoopDelayMs: { without: quietLoop, during: busyLoop },
    foreignCores: { without: quiet.foreignCores, during: busy.foreignCores },
    residentMiB: { before: rssBefore, after: rssAfter },
    rollbackMs: { told: summary(told.reachedMs), noticesLost: summary(found.reachedMs) },
  };
  print(result);
  for (const fault of client.faults.slice(0, 5)) console.log(`${fault.kind}: ${fault.detail}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(`${RESULTS}swaps.json`, `${JSON.stringify(result, null, 2)}\n`);
  if (client.faults.length > 0) process.exitCode = 1;
} finally {
  await tier.stop();
  await databases.stop();
}

interface Summary {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

function summary(values: readonly number[]): Summary {
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99), max: quantile(values, 1) };
}

function sleep(ofSeconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ofSeconds * 1_000));
}

/** What of the machine neither the tier nor this process used meanwhile; PostgreSQL counts as foreign. */
async function watched<T>(body: () => Promise<T>): Promise<{ value: T; foreignCores: number }> {
  const used = (): number => {
    const own = process.cpuUsage();
    return usageOfTree(tier.process.pid!).cpuSeconds + (own.user + own.system) / 1e6;
  };
  const [all, ours, startedMs] = [machineCpuSeconds(), used(), performance.now()];
  const value = await body();
  const took = (performance.now() - startedMs) / 1_000;
  return { value, foreignCores: Math.max(0, (machineCpuSeconds() - all - (used() - ours)) / took) };
}

/** Milliseconds, of each process, since the last time it was asked. */
async function loopDelays(of: RoutedTier): Promise<number[]> {
  const text = await of.metrics();
  return [...text.matchAll(/^nodejs_eventloop_lag_max_seconds(?:\{[^}]*\})? (\S+)$/gm)].map(
    (match) => Number(match[1]) * 1_000,
  );
}

function print(result: {
  requests: number;
  failed: number;
  wrong: number;
  old: number;
  changeMs: Summary;
  latencyMs: { without: Summary; during: Summary };
  eventLoopDelayMs: { without: number[]; during: number[] };
  foreignCores: { without: number; during: number };
  residentMiB: { before: number; after: number };
  rollbackMs: { told: Summary; noticesLost: Summary };
}): void {
  const ms = ({ p50, p99, max }: Summary): string => [p50, p99, max].map((value) => value.toFixed(1)).join(' / ');
  const { latencyMs, eventLoopDelayMs: loop, foreignCores, residentMiB, rollbackMs } = result;
  console.log(
    `${changes} changes, ${result.requests} requests: ${result.failed} failed, ${result.wrong} wrong, ${result.old} old`,
  );
  console.log('| ms | p50 / p99 / max |');
  console.log('|---|---|');
  console.log(`| a change, from its write to the last process | ${ms(result.changeMs)} |`);
  console.log(`| a request, no changes | ${ms(latencyMs.without)} |`);
  console.log(`| a request, during the changes | ${ms(latencyMs.during)} |`);
  console.log(`| a rollback to a warm version, told | ${ms(rollbackMs.told)} |`);
  console.log(`| the same with every notice lost | ${ms(rollbackMs.noticesLost)} |`);
  console.log(`longest event-loop delay by process, ms: ${show(loop.without)} without, ${show(loop.during)} during`);
  console.log(`resident: ${residentMiB.before.toFixed(0)} MiB before, ${residentMiB.after.toFixed(0)} after`);
  console.log(`others used ${foreignCores.without.toFixed(2)} cores without, ${foreignCores.during.toFixed(2)} during`);
  if (Math.max(foreignCores.without, foreignCores.during) > 0.3)
    console.log('the machine was busy: its tails say nothing');
}

function show(values: readonly number[]): string {
  return values.map((value) => value.toFixed(1)).join(', ');
}
