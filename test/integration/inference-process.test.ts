import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Pool } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { getRouteReach } from '../../db/nodes.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { eventually } from '../setup/eventually.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
let database: Database;
let tier: ChildProcess;
let url: string;
let metricsUrl: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-inference-process-'));
  const databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: 2 });
  await declareRule(database);
  ({ tier, url, metricsUrl } = await startTier(databaseUrl));
});
afterEach(async () => {
  if (tier.exitCode === null && tier.signalCode === null) {
    tier.kill('SIGKILL');
    await once(tier, 'exit');
  }
  await database.close();
  await rm(folder, { recursive: true });
});

/** A model that answers the request field `x` itself. */
async function declareRule({ db }: Database): Promise<void> {
  const x = { op: 'column', name: 'x' } as const;
  const model = {
    name: 'echo',
    threshold: 0.5,
    latencyBudgetMsP99: 1_000,
    rule: { featureSet: 'features@1', expression: { op: 'column', name: 'echo' } },
    logSampleRate: 0,
  };
  const set = {
    name: 'features',
    version: 1,
    request: [{ name: 'x', type: 'f64', description: '' }],
    views: [],
    features: [{ kind: 'derived', name: 'echo', expression: x, description: '' }],
    description: '',
  };
  const spec = {
    format: PROJECT_FORMAT,
    name: 'p',
    sources: [],
    entities: [],
    views: [],
    featureSets: [set],
    spines: [],
    labels: [],
    models: [model],
  };
  await applyProject(db, { spec: spec as unknown as ProjectSpec, bundleSha256: null, by: 'test', at: 1 });
}

async function startTier(databaseUrl: string) {
  const child = fork(fileURLToPath(compiledModule(import.meta.url, '../../inference/main.ts')), [], {
    cwd: ROOT,
    env: {
      ...process.env,
      SERIN_DATABASE_URL: databaseUrl,
      SERIN_BLOB_URL: pathToFileURL(folder).href,
      SERIN_NODE_ID: 'tier',
      SERIN_INFERENCE_PORT: '0',
      SERIN_INFERENCE_PROCESSES: '2',
      SERIN_METRICS_PORT: '0',
      SERIN_INFERENCE_HANG_SECONDS: '10',
      SERIN_LOG_LEVEL: 'fatal',
    },
  });
  const [listening] = (await once(child, 'message')) as [{ type: string; url: string; metricsUrl: string }];
  expect(listening.type).toBe('listening');
  await untilReady(listening.metricsUrl);
  return { tier: child, url: listening.url, metricsUrl: listening.metricsUrl };
}

async function untilReady(metrics: string): Promise<void> {
  await eventually('all are ready', async () => {
    const response = await fetch(`${metrics}/health/ready`);
    if (!response.ok) throw new Error(await response.text());
    return true;
  });
}

async function workerPids(): Promise<number[]> {
  const children = await readFile(`/proc/${tier.pid}/task/${tier.pid}/children`, 'utf8');
  return children.trim().split(' ').filter(Boolean).map(Number);
}

interface Outcome {
  answered: number;
  failed: string[];
}

/** Clients that ask one request after the other until the tier takes no more connections. */
async function loadUntilRefused(pool: Pool, clients: number): Promise<Outcome> {
  const outcome: Outcome = { answered: 0, failed: [] };
  const ask = async (x: number): Promise<boolean> => {
    try {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: '/v1/models/echo/predict',
        body: JSON.stringify({ x }),
      });
      const text = await body.text();
      const right =
        statusCode === 200 && (JSON.parse(text) as { predictions: [{ score: number }] }).predictions[0].score === x;
      if (right) outcome.answered++;
      else outcome.failed.push(`${statusCode} ${text}`);
      return true;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      // nobody listens any more: the request was never sent
      if (code !== 'ECONNREFUSED') outcome.failed.push(`${code} ${message}`);
      return false;
    }
  };
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; await ask(client + i / 1024); i++);
    }),
  );
  return outcome;
}

test('a SIGTERM under load fails no request, gives the leases back and writes every tally', async () => {
  const pool = new Pool(url, { connections: 16, pipelining: 1 });
  const load = loadUntilRefused(pool, 16);
  await eventually('a tally is written', async () => {
    const [tally] = await database.db.selectFrom('arm_tally').select('requests').limit(1).execute();
    return tally !== undefined;
  });
  expect(await getRouteReach(database.db, 'echo', 1)).toEqual({ live: ['tier-1', 'tier-2'], behind: [] });
  tier.kill('SIGTERM');
  const { answered, failed } = await load;
  const [code] = (tier.exitCode === null ? await once(tier, 'exit') : [tier.exitCode]) as [number];
  await pool.close();
  expect(failed).toEqual([]);
  expect(code).toBe(0);
  expect(await database.db.selectFrom('inference_node').selectAll().execute()).toEqual([]);
  const { counted } = await database.db
    .selectFrom('arm_tally')
    .select(({ fn }) => fn.sum<string>('requests').as('counted'))
    .executeTakeFirstOrThrow();
  expect(Number(counted)).toBe(answered);
});

test('a serving process that dies is started again under its name; the page of metrics holds all of them', async () => {
  const [victim, other] = await workerPids();
  process.kill(victim!, 'SIGKILL');
  await expect.poll(async () => (await fetch(`${metricsUrl}/health/ready`)).status).toBe(503);
  const during = await fetch(`${url}/v1/models/echo/predict`, { method: 'POST', body: JSON.stringify({ x: 0.5 }) });
  expect(during.status).toBe(200);
  await untilReady(metricsUrl);
  const pids = await workerPids();
  expect(pids).toHaveLength(2);
  expect(pids).toContain(other);
  expect(await getRouteReach(database.db, 'echo', 1)).toEqual({ live: ['tier-1', 'tier-2'], behind: [] });
  const metrics = await (await fetch(`${metricsUrl}/metrics`)).text();
  for (const node of ['tier-1', 'tier-2'])
    expect(metrics).toMatch(new RegExp(`serin_inference_route_epoch\\{[^}]*node="${node}"[^}]*\\} 1`));
});

test('a serving process that hangs is ended and started again', async () => {
  const [victim, other] = await workerPids();
  process.kill(victim!, 'SIGSTOP');
  await eventually('another is in its place', async () => {
    const pids = await workerPids();
    expect(pids).toHaveLength(2);
    expect(pids).toContain(other);
    expect(pids).not.toContain(victim);
    return true;
  });
  await untilReady(metricsUrl);
});

test('a serving process that dies under a scrape, before its end is known, takes nobody with it', async () => {
  const { hostname, port } = new URL(metricsUrl);
  const socket = connect(Number(port), hostname);
  const scrape = (path: string): void => void socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
  try {
    scrape('/health/live');
    await once(socket, 'data');
    const [victim] = await workerPids();
    // what has come by the time the primary goes on, it finds in this order
    tier.kill('SIGSTOP');
    scrape('/metrics');
    process.kill(victim!, 'SIGKILL');
    await eventually('the serving process is dead', async () => {
      const status = await readFile(`/proc/${victim}/status`, 'utf8');
      if (!/^State:\s+Z/m.test(status)) throw new Error(status);
      return true;
    });
    tier.kill('SIGCONT');
    await once(socket, 'data');
  } finally {
    tier.kill('SIGCONT');
    socket.destroy();
  }
  await eventually('another one is started', async () => {
    const pids = await workerPids();
    if (pids.length < 2) throw new Error(`serving processes: ${pids.join(', ')}`);
    return true;
  });
  await untilReady(metricsUrl);
  expect(tier.exitCode).toBeNull();
});
