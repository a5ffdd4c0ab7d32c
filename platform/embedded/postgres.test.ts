import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../logger.ts';
import { freePort } from './free-port.ts';
import { removePostgresData, startPostgres, type RunningPostgres } from './postgres.ts';
import { createServer } from 'node:net';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
const running: RunningPostgres[] = [];
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'serin-postgres-'));
  await chmod(root, 0o755);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.kill()));
  await rm(root, { recursive: true, force: true });
});

async function start(dir = join(root, 'data'), port?: number): Promise<RunningPostgres> {
  const server = await startPostgres({
    dir,
    logFile: join(root, 'postgres.log'),
    logger,
    ...(port === undefined ? {} : { port }),
  });
  running.push(server);
  return server;
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('data outlives a stop, and a kill -9 of the server', async () => {
  const first = await start();
  expect(await query(first.url, 'show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
  await query(first.url, 'create table t as select 1 as x');
  await first.stop();
  const second = await start();
  await query(second.url, 'insert into t values (2)');
  await second.kill();
  const third = await start();
  expect(await query(third.url, 'select x from t order by x')).toEqual([{ x: 1 }, { x: 2 }]);
});

test('a server that an earlier owner left running is replaced', async () => {
  const left = await start();
  const next = await start();
  await left.exited;
  expect(await query(next.url, 'select 1 as x')).toEqual([{ x: 1 }]);
});

test('a given port that is taken is named', async () => {
  const port = await freePort();
  const squatter = createServer().listen(port, '127.0.0.1');
  try {
    await expect(start(undefined, port)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `port ${port} for PostgreSQL is taken by another program`,
    });
  } finally {
    squatter.close();
  }
});

test.runIf(process.getuid?.() === 0)('root can keep its data in a folder that only root may enter', async () => {
  await chmod(root, 0o700);
  const dir = join(root, 'data');
  const first = await start(dir);
  await query(first.url, 'create table t as select 1 as x');
  await first.stop();
  const second = await start(dir);
  expect(await query(second.url, 'select x from t')).toEqual([{ x: 1 }]);
  await second.stop();
  await removePostgresData(dir);
  expect(execFileSync('ls', [root], { encoding: 'utf8' })).toBe('postgres.log\n');
});
