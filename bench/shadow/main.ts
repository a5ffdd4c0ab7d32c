/**
 * `npm run bench -- shadow [--rate N] [--rounds N] [--seconds N]`: what a shadow adds to the champion's latency. One process
 * of the routed tier under a fixed rate of requests, by turns without a shadow, with one that costs what the champion does,
 * and with one that costs about ten times as much. Prints a table and writes bench/results/shadow.json.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { averagingOnnx } from '../../inference/model/onnx-fixture.ts';
import { machine } from '../features/report.ts';
import { quantile } from '../online/latencies.ts';
import { startDatabases } from '../routed/databases.ts';
import { startClient } from '../routed/predict-client.ts';
import { type RoutedTier, startRoutedTier } from '../routed/routed-tier.ts';
import { featureNames, trainVersions } from '../routed/scored-project.ts';
import { machineCpuSeconds, usageOfTree } from '../serving/process-usage.ts';

const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
const SETTLE_SECONDS = 1;
/** Trees of the benchmark's champion take 8 µs a row; this takes about ten times as long. */
const SLOW = { width: 128, steps: 8 } as const;
/** By the version that is the shadow. */
const PHASES = [
  { name: 'no shadow', shadow: null },
  { name: 'a shadow like the champion', shadow: 2 },
  { name: 'a shadow ten times as slow', shadow: 3 },
] as const;

interface Phase {
  readonly name: string;
  readonly round: number;
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly scored: number;
  readonly dropped: number;
  readonly cpuMicrosPerRequest: number;
  /** Cores that neither the tier nor this process used. */
  readonly foreignCores: number;
}

const { values: options } = parseArgs({
  options: {
    rate: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '6' },
  },
});
const [ratePerSecond, rounds, seconds] = [options.rate, options.rounds, options.seconds].map(Number) as [
  number,
  number,
  number,
];

const databases = await startDatabases();
const trained = trainVersions(2);
const slow = averagingOnnx({ features: featureNames().length, ...SLOW });
const tier = await startRoutedTier({
  databaseUrl: databases.postgresUrl,
  versions: [...trained, { version: 3, onnx: slow, golden: new Float32Array(0) }],
  processes: 1,
  stored: false,
  logSampleRate: 0.01,
});
try {
  const before = machine();
  await tier.reached(await tier.move({ champion: 1, lastKnownGood: 1 }));
  const client = startClient({ url: tier.url, stored: false, versions: trained, ratePerSecond, connections: 16 });
  await sleep(5);
  const phases: Phase[] = [];
  const latencies = new Map<string, number[]>(PHASES.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const { name, shadow } of PHASES) {
      await tier.reached(await tier.move({ shadow }));
      await sleep(SETTLE_SECONDS);
      client.takeLatencies();
      const phase = await measure(tier, name, round, () => client.takeLatencies());
      latencies.get(name)!.push(...phase.latencies);
      phases.push(phase.phase);
    }
  }
  await client.stop();
  const result = {
    at: new Date().toISOString(),
    machine: { before, after: machine() },
    ratePerSecond,
    failed: client.faults.length,
    overall: PHASES.map(({ name }) => summary(name, phases, latencies)),
    phases,
  };
  print(result.overall);
  for (const fault of client.faults.slice(0, 5)) console.log(`${fault.kind}: ${fault.detail}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(`${RESULTS}shadow.json`, `${JSON.stringify(result, null, 2)}\n`);
  if (client.faults.length > 0) process.exitCode = 1;
} finally {
  await tier.stop();
  await databases.stop();
}

async function measure(
  of: RoutedTier,
  name: string,
  round: number,
  takeLatencies: () => number[],
): Promise<{ phase: Phase; latencies: number[] }> {
  const cpu = (): number => usageOfTree(of.process.pid!).cpuSeconds;
  const own = (): number => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;
  const from = {
    all: machineCpuSeconds(),
    tier: cpu(),
    own: own(),
    shadow: await shadowCounts(of),
    ms: performance.now(),
  };
  await sleep(seconds);
  const taken = takeLatencies();
  const took = (performance.now() - from.ms) / 1_000;
  const used = cpu() - from.tier;
  const counts = await shadowCounts(of);
  return {
    latencies: taken,
    phase: {
      name,
      round,
      requests: taken.length,
      p50Ms: quantile(taken, 0.5),
      p99Ms: quantile(taken, 0.99),
      scored: counts.scored - from.shadow.scored,
      dropped: counts.dropped - from.shadow.dropped,
      cpuMicrosPerRequest: (used * 1e6) / taken.length,
      foreignCores: Math.max(0, (machineCpuSeconds() - from.all - used - (own() - from.own)) / took),
    },
  };
}

async function shadowCounts(of: RoutedTier): Promise<{ scored: number; dropped: number }> {
  const text = await of.metrics();
  const total = (pattern: RegExp): number =>
    [...text.matchAll(pattern)].reduce((sum, match) => sum + Number(match[1]), 0);
  return {
    scored: total(/^serin_inference_answers_total\{[^}]*arm="shadow"[^}]*\} (\S+)$/gm),
    dropped: total(/^serin_inference_dropped_total\{[^}]*what="shadow"[^}]*\} (\S+)$/gm),
  };
}

interface Summary {
  readonly name: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The median over rounds of this phase's p99 by that of the same round without a shadow. */
  readonly p99Ratio: number;
  /** The part of the rows that the shadow scored. */
  readonly scoredShare: number;
  readonly cpuMicrosPerRequest: number;
  readonly foreignCores: number;
}

function summary(name: string, phases: readonly Phase[], latencies: ReadonlyMap<string, number[]>): Summary {
  const own = phases.filter((phase) => phase.name === name);
  const without = phases.filter((phase) => phase.name === PHASES[0].name);
  const [all, scored, dropped] = [latencies.get(name)!, total(own, 'scored'), total(own, 'dropped')];
  return {
    name,
    p50Ms: quantile(all, 0.5),
    p99Ms: quantile(all, 0.99),
    p99Ratio: quantile(
      own.map(({ p99Ms }, i) => p99Ms / without[i]!.p99Ms),
      0.5,
    ),
    scoredShare: scored + dropped === 0 ? 0 : scored / (scored + dropped),
    cpuMicrosPerRequest: total(own, 'cpuMicrosPerRequest') / own.length,
    foreignCores: total(own, 'foreignCores') / own.length,
  };
}

function total(
  phases: readonly Phase[],
  member: 'scored' | 'dropped' | 'cpuMicrosPerRequest' | 'foreignCores',
): number {
  return phases.reduce((sum, phase) => sum + phase[member], 0);
}

function sleep(ofSeconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ofSeconds * 1_000));
}

function print(rows: readonly Summary[]): void {
  console.log(`${ratePerSecond} requests a second, ${rounds} rounds by turns`);
  console.log(
    '| | p50 ms | p99 ms | p99 by that without (median of rounds) | rows scored | CPU µs a request | foreign cores |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const row of rows) {
    const share = row.name === PHASES[0].name ? '' : `${(100 * row.scoredShare).toFixed(0)} %`;
    console.log(
      `| ${row.name} | ${row.p50Ms.toFixed(2)} | ${row.p99Ms.toFixed(2)} | ${row.p99Ratio.toFixed(3)} | ${share} | ` +
        `${row.cpuMicrosPerRequest.toFixed(0)} | ${row.foreignCores.toFixed(2)} |`,
    );
  }
}
