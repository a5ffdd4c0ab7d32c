import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../config.ts';
import { createLogger } from '../logger.ts';
import { freePort } from './free-port.ts';
import { obtainTemporalCli } from './temporal-cli.ts';
import { startTemporal, type RunningTemporal } from './temporal.ts';

const run = promisify(execFile);
const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
const quiet = () => undefined;
const running: RunningTemporal[] = [];
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'serin-temporal-'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.kill()));
  await rm(root, { recursive: true, force: true });
});

async function start(port?: number): Promise<RunningTemporal> {
  const cli = await obtainTemporalCli({ config: loadConfig(), onProgress: quiet });
  const logFile = join(root, 'temporal.log');
  const server = await startTemporal({
    cli,
    dir: join(root, 'temporal'),
    logFile,
    logger,
    ...(port === undefined ? {} : { port }),
  });
  running.push(server);
  return server;
}

async function temporal(server: RunningTemporal, ...args: string[]): Promise<string> {
  const cli = await obtainTemporalCli({ config: loadConfig(), onProgress: quiet });
  return (await run(cli, [...args, '--address', server.address, '-o', 'json'])).stdout;
}

test(
  'workflows, search attributes and 30 days of retention outlive a kill -9 of the server',
  { timeout: 180_000 },
  async () => {
    const first = await start();
    const attributes = await temporal(first, 'operator', 'search-attribute', 'list');
    for (const name of ['ModelName', 'ModelVersion', 'Stage', 'Decision']) expect(attributes).toContain(name);
    await temporal(first, 'workflow', 'start', '--type', 'nothing', '--task-queue', 'none', '--workflow-id', 'w');
    await first.kill();
    const second = await start(first.port);
    expect(second.address).toBe(first.address);
    expect(await temporal(second, 'workflow', 'describe', '--workflow-id', 'w')).toContain('RUNNING');
    expect(await temporal(second, 'operator', 'namespace', 'describe', '--namespace', 'default')).toContain('2592000s');
    expect((await fetch(second.uiUrl)).status).toBe(200);
  },
);

test('a given port that is taken is named', { timeout: 180_000 }, async () => {
  const port = await freePort();
  const squatter = createServer().listen(port, '127.0.0.1');
  try {
    await expect(start(port)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `port ${port} for Temporal is taken by another program`,
    });
  } finally {
    squatter.close();
  }
});

test('the program is taken from the configuration, then PATH, then the cache', async () => {
  const programs = {
    configured: join(root, 'mine'),
    onPath: join(root, 'bin', 'temporal'),
    kept: join(root, 'serin', 'temporal-1.5.1', 'temporal'),
  };
  for (const program of Object.values(programs)) {
    await mkdir(join(program, '..'), { recursive: true });
    await writeFile(program, '#!/bin/sh\n');
    await chmod(program, 0o755);
  }
  const searchPath = join(root, 'bin');
  const config = { temporalCli: programs.configured, cacheDir: root };
  expect(await obtainTemporalCli({ config, searchPath, onProgress: quiet })).toBe(programs.configured);
  expect(await obtainTemporalCli({ config: { ...config, temporalCli: '' }, searchPath, onProgress: quiet })).toBe(
    programs.onPath,
  );
  expect(await obtainTemporalCli({ config: { ...config, temporalCli: '' }, searchPath: '', onProgress: quiet })).toBe(
    programs.kept,
  );
});

test('a release is downloaded, kept and not downloaded again', async () => {
  const release = join(root, 'release');
  await mkdir(release);
  await writeFile(join(release, 'temporal'), '#!/bin/sh\n');
  await chmod(join(release, 'temporal'), 0o755);
  await run('tar', ['-czf', join(root, 'release.tar.gz'), '-C', release, 'temporal']);
  const { createServer: createHttp } = await import('node:http');
  const { readFile } = await import('node:fs/promises');
  const asked: string[] = [];
  const server = createHttp((request, reply) => {
    asked.push(request.url ?? '');
    void readFile(join(root, 'release.tar.gz')).then((bytes) => reply.end(bytes));
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  try {
    const obtain = () =>
      obtainTemporalCli({
        config: { temporalCli: '', cacheDir: root },
        searchPath: '',
        downloadUrl: `http://127.0.0.1:${port}`,
        onProgress: quiet,
      });
    const first = await obtain();
    expect(first).toBe(join(root, 'serin', 'temporal-1.5.1', 'temporal'));
    expect(await obtain()).toBe(first);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatch(/^\/cli\/archive\/v1\.5\.1\?platform=\w+&arch=\w+$/);
    expect(await readdir(join(root, 'serin', 'temporal-1.5.1'))).toEqual(['temporal']);
  } finally {
    server.close();
  }
});

test('without a program, a network and Go, one sentence says what to install', async () => {
  const port = await freePort();
  const attempt = obtainTemporalCli({
    config: { temporalCli: '', cacheDir: root },
    searchPath: '',
    downloadUrl: `http://127.0.0.1:${port}`,
    onProgress: quiet,
  });
  await expect(attempt).rejects.toMatchObject({ code: 'PREREQUISITE_MISSING' });
  await expect(attempt).rejects.toThrow(
    /^Serin needs the Temporal server: install the Temporal CLI .* or Go, .*Go is not installed\)$/,
  );
});

test('a configured program that is missing is named', async () => {
  const config = { temporalCli: join(root, 'absent'), cacheDir: root };
  await expect(obtainTemporalCli({ config, onProgress: quiet })).rejects.toThrow(
    /^SERIN_TEMPORAL_CLI is '.*absent', expected a program/,
  );
});
