/** Feast beside Serin: its SDK in a Python process, and `feast serve` asked over HTTP. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Agent, request } from 'undici';
import { freePort } from '../../platform/embedded/free-port.ts';
import { obtainFeast } from '../features/feast.ts';
import { endGroup } from '../serving/end-group.ts';

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 600_000;
const SERVE_TIMEOUT_MS = 90_000;

export interface FeastPeer {
  /** Rows that its own bulk write puts into the store, a second. */
  readonly rowsPerSecond: number;
  /** Reads in a closed loop. @returns milliseconds of each */
  sdk(entities: number, ms: number, seed: number): Promise<number[]>;
  http(entities: number, ms: number, customerOf: () => number): Promise<number[]>;
  close(): Promise<void>;
}

export interface FeastStore {
  /** Of the online store, as `feature_store.yaml` has it. */
  readonly onlineStore: Readonly<Record<string, string | number>>;
  readonly workDir: string;
  readonly views: number;
  readonly features: number;
  readonly customers: number;
}

/** @returns why there is none, in a sentence */
export async function openFeast(options: FeastStore, say: (line: string) => void): Promise<FeastPeer | string> {
  const feast = await obtainFeast(say);
  if (typeof feast === 'string') return feast;
  try {
    await withClients(feast.python, feast.version, say);
  } catch (error) {
    return `Feast's store clients could not be installed (${String((error as Error).message).split('\n')[0]})`;
  }
  const { workDir, views, features, customers } = options;
  const script = fileURLToPath(new URL('./feast_online.py', import.meta.url).href.replace('/dist/bench/', '/bench/'));
  const config = [
    'project: bench',
    `registry: ${join(workDir, 'registry.db')}`,
    'provider: local',
    'entity_key_serialization_version: 3',
    'online_store:',
    ...Object.entries(options.onlineStore).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`),
    '',
  ].join('\n');
  const log = openSync(join(workDir, 'feast.log'), 'a');
  const env = { ...process.env, FEAST_USAGE: 'False', PYTHONWARNINGS: 'ignore' };
  const sdk = spawn(feast.python, [script, workDir, config, String(views), String(features), String(customers)], {
    stdio: ['pipe', 'pipe', log],
    env,
  });
  const { stdin, stdout } = sdk;
  if (stdin === null || stdout === null) throw new Error('a process without pipes');
  const lines = createInterface({ input: stdout });
  const sdkEnded = once(sdk, 'exit');
  const ready = (await nextLine(lines, sdkEnded)) as { rowsPerSecond: number } | null;
  if (ready === null) return `Feast's SDK did not start (${await lastLines(join(workDir, 'feast.log'))})`;

  const port = await freePort();
  const serve = spawn(
    join(dirname(feast.python), 'feast'),
    ['-c', workDir, 'serve', '--host', '127.0.0.1', '--port', String(port), '--no-access-log'],
    { stdio: ['ignore', log, log], env, detached: true },
  );
  // its server closes connections that were idle for 5 s; asking on one that it is about to close ends the run
  const agent = new Agent({ connections: 1, keepAliveTimeout: 1_000, keepAliveMaxTimeout: 1_000 });
  const names = Array.from({ length: views }, (_, v) => Array.from({ length: features }, (__, f) => `view${v}:f${f}`));
  const ask = async (customersAsked: readonly number[]): Promise<boolean> => {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}/get-online-features`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        features: names.flat(),
        entities: { customer: customersAsked },
        full_feature_names: true,
      }),
      dispatcher: agent,
    });
    await body.json();
    return statusCode === 200;
  };
  const until = performance.now() + SERVE_TIMEOUT_MS;
  while (!(await ask([0]).catch(() => false))) {
    if (performance.now() > until) break;
    await delay(250);
  }
  return {
    rowsPerSecond: ready.rowsPerSecond,
    async sdk(entities, ms, seed) {
      stdin.write(`${JSON.stringify({ entities, ms, seed })}\n`);
      const answer = (await nextLine(lines, sdkEnded)) as { latencies: number[] } | null;
      if (answer === null) throw new Error(`Feast's SDK ended: ${await lastLines(join(workDir, 'feast.log'))}`);
      return answer.latencies;
    },
    async http(entities, ms, customerOf) {
      const latencies: number[] = [];
      const end = performance.now() + ms;
      while (performance.now() < end) {
        const asked = Array.from({ length: entities }, customerOf);
        const begun = performance.now();
        if (!(await ask(asked))) throw new Error('feast serve refused a read');
        latencies.push(performance.now() - begun);
      }
      return latencies;
    },
    async close() {
      stdin.end();
      await Promise.all([ended(sdk), endGroup(serve), agent.close()]);
    },
  };
}

async function withClients(python: string, version: string, say: (line: string) => void): Promise<void> {
  const has = await run(python, ['-c', 'import redis, psycopg_pool']).then(
    () => true,
    () => false,
  );
  if (has) return;
  say('installing the clients of Feast’s Redis and PostgreSQL stores from PyPI');
  await run(python, ['-m', 'pip', 'install', '--quiet', `feast[redis,postgres]==${version}`], {
    timeout: INSTALL_TIMEOUT_MS,
  });
}

async function lastLines(file: string): Promise<string> {
  return (await readFile(file, 'utf8')).trim().split('\n').slice(-3).join(' ');
}

/** @param end resolves with the process */
async function nextLine(lines: Interface, end: Promise<unknown>): Promise<unknown> {
  const [line] = (await Promise.race([once(lines, 'line'), end.then(() => [null])])) as [string | null];
  return line === null ? null : (JSON.parse(line) as unknown);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
