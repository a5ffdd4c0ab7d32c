import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { SerinError } from '../domain/errors.ts';
import { configurationTable, environmentNames, loadConfig } from './config.ts';

function refusal(env: Record<string, string>): SerinError {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof SerinError) return error;
  }
  throw new Error('the configuration was accepted');
}

test('an empty environment gives a configuration for one machine', () => {
  const config = loadConfig({});
  expect(config.temporalAddress).toBe('127.0.0.1:7233');
  expect(config.onlineStoreUrl).toBe(config.databaseUrl);
  expect(config.blobUrl).toMatch(/^file:\/\/\/.*\.serin\/blobs$/);
  expect(config.workerQueues).toEqual(['serin-control', 'serin-data', 'serin-training']);
  expect(config.given.size).toBe(0);
});

test('given variables are parsed to their types', () => {
  const config = loadConfig({
    SERIN_API_PORT: '0',
    SERIN_WORKER_QUEUES: 'serin-data, serin-training',
    TEMPORAL_ADDRESS: 'temporal:7233',
  });
  expect(config.apiPort).toBe(0);
  expect(config.workerQueues).toEqual(['serin-data', 'serin-training']);
  expect([...config.given]).toContain('TEMPORAL_ADDRESS');
});

test('an empty variable counts as not set', () => {
  expect(loadConfig({ SERIN_API_PORT: '' }).apiPort).toBe(8080);
});

test.each([
  [{ SERIN_API_PORT: '80a' }, "SERIN_API_PORT is '80a', expected an integer from 0 to 65535"],
  [{ SERIN_API_PORT: '70000' }, "SERIN_API_PORT is '70000', expected an integer from 0 to 65535"],
  [
    { SERIN_BLOB_URL: 's3://bucket' },
    "SERIN_BLOB_URL is 's3://bucket', expected a URL like file:///var/lib/serin/blobs",
  ],
  [
    { SERIN_LOG_LEVEL: 'loud' },
    "SERIN_LOG_LEVEL is 'loud', expected one of trace, debug, info, warn, error, fatal, silent",
  ],
  [
    { SERIN_WORKER_QUEUES: 'serin-data,x' },
    "SERIN_WORKER_QUEUES is 'serin-data,x', expected some of serin-control, serin-data, serin-training, separated by commas",
  ],
  [{ TEMPORAL_ADDRESS: 'http://x' }, "TEMPORAL_ADDRESS is 'http://x', expected host:port"],
])('%o is refused by name, value and rule', (env, detail) => {
  const error = refusal(env);
  expect(error.code).toBe('CONFIG_INVALID');
  expect(error.message).toBe(detail);
});

test('a refused database URL does not show its password', () => {
  expect(refusal({ SERIN_DATABASE_URL: 'mysql://me:hunter2@db/x' }).message).not.toContain('hunter2');
});

test('the configuration reference is what the schema says', async () => {
  const page = await readFile(new URL('../docs/reference/configuration.md', import.meta.url), 'utf8');
  expect(page, 'run `npm run build && node dist/scripts/write-configuration-reference.js`').toBe(configurationTable());
  expect(new Set(environmentNames()).size).toBe(environmentNames().length);
});
