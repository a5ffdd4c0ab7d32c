/**
 * `npm run bench -- predict [--seconds N] [--rounds N] [--rate N]`: the predict route of the routed tier with an online read of
 * 12 features of 3 views, on Redis and on PostgreSQL, at a fixed rate; and what routing, features, logging and the shadow cost
 * one by one. Prints tables and writes bench/results/predict.json.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import pg from 'pg';
import { machine } from '../features/report.ts';
import { startDatabases } from '../routed/databases.ts';
import { type RoutedTier, startRoutedTier } from '../routed/routed-tier.ts';
import { CUSTOMERS, featureNames, featuresOf, MODEL, requestOf, trainVersions } from '../routed/scored-project.ts';
import { buildLoad } from '../serving/contenders.ts';
import type { LoadReport } from '../serving/load-report.ts';
import { machineCpuSeconds, usageOfTree } from '../serving/process-usage.ts';

const run = promisify(execFile);
const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
/** A tail that was measured while others used more of the machine says nothing. */
const FOREIGN_CORES_MAX = 0.3;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    rate: { type: 'string', default: '2000' },
  },
});
const [seconds, rounds, rate] = [Number(options.seconds), Number(options.rounds), Number(options.rate)];

interface Setting {
  readonly name: string;
  readonly store: 'none' | 'redis' | 'postgres';
  readonly logSampleRate: number;
  readonly shadow: boolean;
  /** The same rows as tensors, without entity keys: what the rest of the tier costs without the product route. */
  readonly tensors?: boolean;
}

/** Each differs from the one before by what it is named for. */
const SETTINGS: readonly Setting[] = [
  { name: 'tensors (OIP) on a route', store: 'none', logSampleRate: 0, shadow: false, tensors: true },
  { name: 'predict, features in the request', store: 'none', logSampleRate: 0, shadow: false },
  { name: '+ 1 % of answers logged', store: 'none', logSampleRate: 0.01, shadow: false },
  { name: '+ all answers logged', store: 'none', logSampleRate: 1, shadow: false },
  { name: '1 % logged + a shadow, logged whole', store: 'none', logSampleRate: 0.01, shadow: true },
  { name: '1 % logged + features from Redis', store: 'redis', logSampleRate: 0.01, shadow: false },
  { name: '1 % logged + features from PostgreSQL', store: 'postgres', logSampleRate: 0.01, shadow: false },
];

interface Line extends LoadReport {
  readonly setting: string;
  readonly round: number;
  readonly cpuMicrosPerRequest: number;
  /** Of PostgreSQL and Redis. */
  readonly databaseMicrosPerRequest: number;
  /** Cores that nobody of these used. */
  readonly foreignCores: number;
  readonly residentMiB: number;
}

const load = await buildLoad((line) => console.error(line));
const folder = await mkdtemp(join(tmpdir(), 'serin-bench-predict-'));
const databases = await startDatabases({ redis: true });
const versions = trainVersions(2);
try {
  const before = machine();
  const lines: Line[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const [i, setting] of SETTINGS.entries()) {
      if (setting.store === 'redis' && databases.redisUrl === null) continue;
      const databaseUrl = await freshDatabase(`predict_${round}_${i}`);
      lines.push({ ...(await measure(setting, databaseUrl, `${round}_${i}`)), setting: setting.name, round });
    }
  }
  print(lines);
  await mkdir(RESULTS, { recursive: true });
  const result = { at: new Date().toISOString(), machine: { before, after: machine() }, rate, lines };
  await writeFile(`${RESULTS}predict.json`, `${JSON.stringify(result, null, 2)}\n`);
} finally {
  await databases.stop();
  await rm(folder, { recursive: true, force: true });
}

async function measure(
  setting: Setting,
  databaseUrl: string,
  namespace: string,
): Promise<Omit<Line, 'setting' | 'round'>> {
  const { store, logSampleRate, shadow, tensors = false } = setting;
  const stored = store !== 'none';
  console.error(`${setting.name} …`);
  const tier = await startRoutedTier({
    databaseUrl,
    ...(store === 'redis' && { onlineStoreUrl: `${databases.redisUrl}?namespace=${namespace}` }),
    versions,
    processes: 2,
    stored,
    logSampleRate,
  });
  try {
    await tier.reached(await tier.move({ champion: 1, lastKnownGood: 1, shadow: shadow ? 2 : null }));
    const bodies = join(folder, 'bodies.jsonl');
    const customers = Array.from({ length: CUSTOMERS }, (_, customer) => customer);
    await writeFile(
      bodies,
      customers
        .map((customer) => JSON.stringify(tensors ? tensorOf(customer) : requestOf(customer, { stored })))
        .join('\n'),
    );
    const path = tensors ? `/v2/models/${MODEL}/infer` : `/v1/models/${MODEL}/predict`;
    await answersRightly(tier, path, { stored, tensors });
    const put = async (perSecond: number, forSeconds: number, connections: number): Promise<LoadReport> => {
      const args = {
        address: new URL(tier.url).host,
        path,
        bodies,
        connections,
        rate: perSecond,
        seconds: forSeconds,
        warmup: 0,
      };
      const { stdout } = await run(
        load,
        Object.entries(args).flatMap(([name, value]) => [`-${name}`, String(value)]),
      );
      return JSON.parse(stdout) as LoadReport;
    };
    // compiled by the time it is measured
    await put(0, 3, 32);
    const [usage, all, stores] = [usageOfTree(tier.process.pid!), machineCpuSeconds(), databases.cpuSeconds()];
    const report = await put(rate, seconds, 64);
    const [after, allAfter] = [usageOfTree(tier.process.pid!), machineCpuSeconds()];
    const [cpu, storesCpu] = [after.cpuSeconds - usage.cpuSeconds, databases.cpuSeconds() - stores];
    return {
      ...report,
      cpuMicrosPerRequest: (cpu * 1e6) / Math.max(1, report.requests),
      databaseMicrosPerRequest: (storesCpu * 1e6) / Math.max(1, report.requests),
      foreignCores: Math.max(0, (allAfter - all - cpu - storesCpu - report.loadCpuSeconds) / report.seconds),
      residentMiB: after.residentMiB,
    };
  } finally {
    await tier.stop();
  }
}

function tensorOf(customer: number): object {
  return {
    inputs: [{ name: 'features', datatype: 'FP32', shape: [1, featureNames().length], data: featuresOf(customer) }],
  };
}

/** Nobody is fast by being wrong. */
async function answersRightly(
  tier: RoutedTier,
  path: string,
  { stored, tensors }: { stored: boolean; tensors: boolean },
): Promise<void> {
  for (let customer = 0; customer < CUSTOMERS; customer += 10) {
    const body = JSON.stringify(tensors ? tensorOf(customer) : requestOf(customer, { stored }));
    const response = await fetch(`${tier.url}${path}`, { method: 'POST', body });
    const text = await response.text();
    const answer = JSON.parse(text) as { predictions?: [{ score: number }]; outputs?: [{ data: [number] }] };
    const score = answer.predictions?.[0].score ?? answer.outputs?.[0].data[0] ?? NaN;
    if (!(Math.abs(score - versions[0]!.golden[customer]!) < 2e-6))
      throw new Error(`customer ${customer}: expected ${versions[0]!.golden[customer]}, got ${text}`);
  }
}

async function freshDatabase(name: string): Promise<string> {
  const client = new pg.Client({ connectionString: databases.postgresUrl });
  await client.connect();
  await client.query(`create database ${client.escapeIdentifier(name)}`);
  await client.end();
  const url = new URL(databases.postgresUrl);
  url.pathname = `/${name}`;
  return url.href;
}

function print(lines: readonly Line[]): void {
  console.log(
    `| at ${rate} requests a second, two processes | CPU µs a request (of ${rounds} runs) | of the databases | p50 / p99 / p99.9 ms | other cores |`,
  );
  console.log('|---|---|---|---|---|');
  for (const { name } of SETTINGS) {
    const own = lines.filter(({ setting }) => setting === name);
    if (own.length === 0) continue;
    const cpu = own.map(({ cpuMicrosPerRequest }) => cpuMicrosPerRequest).sort((a, b) => a - b);
    const quietest = [...own].sort((a, b) => a.foreignCores - b.foreignCores)[0]!;
    const { p50Ms, p99Ms, p999Ms, foreignCores, failed } = quietest;
    const tail = [p50Ms, p99Ms, p999Ms].map((ms) => ms.toFixed(2)).join(' / ');
    console.log(
      `| ${name} | ${cpu[cpu.length >> 1]!.toFixed(0)} (${cpu[0]!.toFixed(0)}–${cpu.at(-1)!.toFixed(0)}) | ${quietest.databaseMicrosPerRequest.toFixed(0)} | ${tail}${foreignCores > FOREIGN_CORES_MAX ? ', not judged' : ''}${failed > 0 ? `, ${failed} failed` : ''} | ${foreignCores.toFixed(2)} |`,
    );
  }
}
