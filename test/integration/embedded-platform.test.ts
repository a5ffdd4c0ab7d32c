import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createClient } from '@redis/client';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compiledModule } from '../../domain/compiled-module.ts';
import { loadConfig } from '../../platform/config.ts';
import { ensureCredentials } from '../../platform/embedded/credentials.ts';
import {
  startEmbeddedPlatform,
  type EmbeddedPlatform,
  type EmbeddedPlatformOptions,
} from '../../platform/embedded/embedded-platform.ts';
import { freePort } from '../../platform/embedded/free-port.ts';
import { identify, isAlive, readProcesses } from '../../platform/embedded/process-table.ts';
import { obtainRedis } from '../../platform/embedded/redis.ts';
import { createLogger } from '../../platform/logger.ts';

/** A stand-in for api, worker and inference: answers on its port, and ends when its parent does. */
const STUB = `
import { createServer } from 'node:http';
const port = { 'api-1': 'SERIN_API_PORT', 'worker-1': 'SERIN_METRICS_PORT', 'inference-1': 'SERIN_INFERENCE_PORT' }[process.env.SERIN_NODE_ID];
const serve = (name) => createServer((request, reply) => reply.end(process.env.SERIN_NODE_ID)).listen(Number(process.env[name]), '127.0.0.1');
serve(port);
if (port === 'SERIN_INFERENCE_PORT') serve('SERIN_METRICS_PORT');
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
`;

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
const platforms: EmbeddedPlatform[] = [];
let root: string;
let home: string;
let stub: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'serin-platform-'));
  await chmod(root, 0o755); // PostgreSQL may run as another user
  home = join(root, '.serin');
  const file = join(root, 'stub.mjs');
  await writeFile(file, STUB);
  stub = pathToFileURL(file).href;
});
afterEach(async () => {
  await Promise.all(platforms.splice(0).map((platform) => platform.stop()));
  await rm(root, { recursive: true, force: true });
});

async function start(options: Partial<EmbeddedPlatformOptions> = {}): Promise<EmbeddedPlatform> {
  const platform = await startEmbeddedPlatform({
    home,
    config: loadConfig(),
    logger,
    modules: { api: stub, worker: stub, inference: stub },
    migrate: () => Promise.resolve(),
    seedCredentials: (_databaseUrl, folder) => ensureCredentials(folder),
    ...options,
  });
  platforms.push(platform);
  return platform;
}

async function sql(platform: EmbeddedPlatform, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: platform.databaseUrl });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('everything runs, survives a stop, and can be forgotten', async () => {
  const first = await start();
  expect(await (await fetch(`${first.apiUrl}/x`)).text()).toBe('api-1');
  expect(await (await fetch(first.metricsUrls.worker)).text()).toBe('worker-1');
  expect((await stat(join(home, 'credentials.json'))).mode & 0o777).toBe(0o600);
  expect((await stat(join(home, 'platform.json'))).mode & 0o777).toBe(0o600);
  await sql(first, 'create table kept as select 1 as x');
  await first.stop();
  const second = await start();
  expect(second.credentials).toEqual(first.credentials);
  expect(await sql(second, 'select x from kept')).toEqual([{ x: 1 }]);
  await second.stop();
  const third = await start({ fresh: true });
  expect(await sql(third, `select to_regclass('kept') as found`)).toEqual([{ found: null }]);
});

test('a killed part is started again where it was', async () => {
  const platform = await start();
  const { worker } = platform.pids();
  await platform.kill('worker');
  await expect(fetch(platform.metricsUrls.worker)).rejects.toThrow();
  await platform.restart('worker');
  expect(platform.pids().worker).not.toBe(worker);
  expect(await (await fetch(platform.metricsUrls.worker)).text()).toBe('worker-1');
  await platform.kill('temporal');
  await platform.restart('temporal');
  expect((await fetch(platform.temporalUiUrl)).status).toBe(200);
});

test('a home is used by one platform at a time, two homes side by side', async () => {
  await start();
  await expect(start()).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(`process ${process.pid} runs Serin in`),
  });
  const other = await start({ home: join(root, 'other') });
  expect(await (await fetch(other.inferenceUrl)).text()).toBe('inference-1');
});

test('a part that ends at its start is named with its last words, and nothing is left running', async () => {
  const broken = join(root, 'broken.mjs');
  await writeFile(broken, `console.error('no such table'); process.exit(3);`);
  const attempt = start({ modules: { api: pathToFileURL(broken).href, worker: stub, inference: stub } });
  await expect(attempt).rejects.toMatchObject({ code: 'PREREQUISITE_MISSING' });
  await expect(attempt).rejects.toThrow(/^api ended with code 3 before it was ready;[^]*no such table$/);
  await start();
});

test('what a killed owner left behind is ended by the next start', async () => {
  const owner = join(root, 'owner.mjs');
  await writeFile(
    owner,
    `const { startEmbeddedPlatform } = await import(${JSON.stringify(compiledModule(import.meta.url, '../../platform/embedded/embedded-platform.ts'))});
     const { ensureCredentials } = await import(${JSON.stringify(compiledModule(import.meta.url, '../../platform/embedded/credentials.ts'))});
     const { loadConfig } = await import(${JSON.stringify(compiledModule(import.meta.url, '../../platform/config.ts'))});
     const { createLogger } = await import(${JSON.stringify(compiledModule(import.meta.url, '../../platform/logger.ts'))});
     const stub = ${JSON.stringify(stub)};
     await startEmbeddedPlatform({ home: ${JSON.stringify(home)}, config: loadConfig(), modules: { api: stub, worker: stub, inference: stub },
       logger: createLogger({ service: 'owner', node: 'owner', level: 'silent' }), migrate: async () => {},
       seedCredentials: (url, home) => ensureCredentials(home) });
     console.log('up');`,
  );
  const child = spawn(process.execPath, [owner], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('exit', () => reject(new Error('the owner ended')));
  });
  const left = await readProcesses(join(home, 'processes.json'));
  expect(left.map(({ name }) => name).toSorted()).toEqual(['api', 'inference', 'postgres', 'temporal', 'worker']);
  const killed = identify('owner', child.pid ?? 0);
  child.removeAllListeners('exit');
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  expect(killed && isAlive(killed)).toBe(false);
  const platform = await start();
  expect(left.filter(isAlive)).toEqual([]);
  expect(JSON.parse(await readFile(join(home, 'platform.json'), 'utf8'))).toMatchObject({ apiUrl: platform.apiUrl });
});

const hasRedis = await obtainRedis({ config: loadConfig(), onProgress: (line) => console.error(line) }).then(
  () => true,
  () => false,
);

test.skipIf(!hasRedis)('a Redis of its own holds the online features, also over a crash', async () => {
  const platform = await start({
    redis: true,
    ports: { redis: await freePort() },
    config: { ...loadConfig(), temporalAddress: '127.0.0.1:1', given: new Set(['TEMPORAL_ADDRESS']) },
  });
  const port = (await readFile(join(home, 'logs', 'redis.log'), 'utf8')).match(/port[ =](\d+)/)![1]!;
  const ask = async (command: string[]) => {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', () => undefined);
    await client.connect();
    const answer = await client.sendCommand(command);
    await client.close();
    return answer;
  };
  await ask(['SET', 'key', 'value']);
  await platform.kill('redis');
  await platform.restart('redis');
  expect(await ask(['GET', 'key'])).toBe('value');
});

test('a machine without redis-server and without packages is told what to do', async () => {
  const config = { redisServer: '', cacheDir: join(root, 'cache') };
  const searchPath = join(root, 'nothing');
  await expect(obtainRedis({ config, onProgress: () => undefined, searchPath })).rejects.toMatchObject({
    code: 'PREREQUISITE_MISSING',
    message: expect.stringContaining('install Redis') as string,
  });
  await expect(
    obtainRedis({ config: { ...config, redisServer: '/nowhere' }, onProgress: () => undefined }),
  ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});
