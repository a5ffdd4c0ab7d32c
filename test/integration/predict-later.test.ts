/** `serin predict --later` and `serin predictions fetch`, on a real API; what the workflow does for them is done here by hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { runCli } from '../../cli/run-cli.ts';
import { answerAsyncPrediction } from '../../db/async-predictions.ts';
import { createToken } from '../../db/tokens.ts';
import { type ApiFixture, createApiFixture, NOW } from '../setup/api-fixture.ts';

const FIELDS = ['origin=SEA', 'destination=SFO', 'distance=679'];

let api: ApiFixture;
let folder: string;
let url: string;
let token: string;
let stdout: string;
let stderr: string;

beforeAll(async () => {
  api = await createApiFixture();
  url = await api.app.listen({ host: '127.0.0.1', port: 0 });
  folder = await mkdtemp(join(tmpdir(), 'serin-later-'));
  token = await createToken(api.database.db, { principal: 'ada', roles: ['engineer'], at: NOW });
  await (await api.as('engineer')).send('POST', '/v1/projects', { spec: api.flights.spec });
});
afterAll(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(() => {
  [stdout, stderr] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  vi.stubEnv('SERIN_TOKEN', token);
  vi.stubEnv('SERIN_HOME', folder);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const serin = (...argv: string[]) => runCli([...argv, '--api', url]);

const PREDICTION = {
  predictionId: 'p1',
  score: 0.75,
  label: 1,
  version: 3,
  arm: 'champion',
  rung: 'champion',
  epoch: 4,
  asOf: '2001-06-01T00:00:00.000000Z',
};

const answer = (id: string, given: object, status: 'answered' | 'failed' = 'answered') =>
  answerAsyncPrediction(api.database.db, { id, status, answer: given, at: NOW });

/** The id that was just printed. */
const printedId = (): string => /^([0-9a-f-]{32,36}) is waiting/m.exec(stdout + stderr)![1]!;

test('is asked, waited for, and shown as an answer of the predict route is', async () => {
  const asking = serin('predict', 'flight-delay', ...FIELDS, '--later');
  await expect.poll(() => stderr, { timeout: 20_000 }).toContain('is waiting');
  const id = printedId();
  const { request } = await api.database.db
    .selectFrom('async_prediction')
    .select('request')
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  expect(request).toEqual({ instances: [{ origin: 'SEA', destination: 'SFO', distance: 679 }] });
  await answer(id, { model: 'flight-delay', predictions: [PREDICTION] });
  expect(await asking).toBe(0);
  expect(stdout).toContain('answered by: v3 (champion)');
  expect(stdout).toContain('0.75');
});

test('without waiting it says where the answer will be, which is then fetched', async () => {
  expect(await serin('predict', 'flight-delay', ...FIELDS, '--later', '--no-wait')).toBe(8);
  const id = printedId();
  expect(stdout).toContain(`serin predictions fetch ${id}`);
  stdout = '';
  expect(await serin('predictions', 'fetch', id, '--no-wait')).toBe(8);
  await answer(id, { model: 'flight-delay', predictions: [PREDICTION] });
  expect(await serin('predictions', 'fetch', id, '--json')).toBe(0);
  expect(JSON.parse(stdout.slice(stdout.indexOf('{')))).toMatchObject({ id, predictions: [{ score: 0.75 }] });
});

test('one key is one question; two questions without one are two', async () => {
  const ask = async (...more: string[]): Promise<string> => {
    stdout = '';
    expect(await serin('predict', 'flight-delay', ...FIELDS, '--later', '--no-wait', ...more)).toBe(8);
    return printedId();
  };
  expect(await ask('--key', 'order-17')).toBe(await ask('--key', 'order-17'));
  expect(await ask()).not.toBe(await ask());
  expect(await serin('predict', 'flight-delay', 'origin=JFK', '--later', '--key', 'order-17')).toBe(1);
  expect(stderr).toContain('the Idempotency-Key was used for another prediction');
});

test('what the tier refused is the error it would have been', async () => {
  await serin('predict', 'flight-delay', ...FIELDS, '--later', '--no-wait');
  const id = printedId();
  const detail = 'the field "distance" is missing: the field is required';
  await answer(id, { code: 'INPUT_INVALID', title: 'The input is not valid', status: 400, detail }, 'failed');
  expect(await serin('predictions', 'fetch', id)).toBe(1);
  expect(stderr).toContain(detail);
});

test.each([
  [['--later', '--by', 'canary'], '--by is given; it does not go with --later'],
  [['--later', '--explain'], '--explain is given; it does not go with --later'],
  [['--key', 'order-17'], '--key is given; it goes with --later alone'],
  [['--no-wait'], '--no-wait is given; it goes with --later alone'],
])('%j is refused by name', async (options, detail) => {
  expect(await serin('predict', 'flight-delay', ...FIELDS, ...options)).toBe(1);
  expect(stderr).toContain(detail);
});
