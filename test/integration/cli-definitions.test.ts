import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { runCli } from '../../cli/run-cli.ts';
import { registerVersion } from '../../db/registry.ts';
import { createToken } from '../../db/tokens.ts';
import { type ApiFixture, createApiFixture, flightsManifest, NOW } from '../setup/api-fixture.ts';

let api: ApiFixture;
let folder: string;
let url: string;
let token: string;
let stdout: string;
let stderr: string;

beforeAll(async () => {
  api = await createApiFixture();
  url = await api.app.listen({ host: '127.0.0.1', port: 0 });
  folder = await mkdtemp(join(tmpdir(), 'serin-cli-'));
  token = await createToken(api.database.db, { principal: 'ada', roles: ['engineer'], at: NOW });
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

/** The flights project, written to a file with one text of it replaced. */
async function flightsFile(find: string, put: string): Promise<string> {
  const original = await readFile('examples/flights/project.ts', 'utf8');
  expect(original).toContain(find);
  const path = join(folder, 'project.ts');
  await writeFile(path, original.replace(find, put));
  return path;
}

test('a new project is planned, applied, and then changes nothing', async () => {
  expect(await serin('plan', 'examples/flights/project.ts')).toBe(0);
  expect(stdout).toContain('flights is new: ');
  expect(stdout).toContain('  + view route_delays@1 — added');
  expect(await serin('apply', 'examples/flights/project.ts')).toBe(0);
  stdout = '';
  expect(await serin('plan', 'examples/flights/project.ts')).toBe(0);
  expect(stdout).toBe('flights: nothing changes\n');
});

test('a change is said with what to do afterwards', async () => {
  const file = await flightsFile(
    "{ '7d': window(days(7), { hop: days(1) }) }",
    "{ '7d': window(days(6), { hop: days(1) }) }",
  );
  expect(await serin('plan', file)).toBe(0);
  expect(stdout).toContain('flights: 3 need backfill');
  expect(stdout).toContain('  ! view route_delays@1: feature delay_share: window 7d: length 7d → 6d; ');
  expect(stdout).toContain(
    'afterwards: serin materialize flights --view origin_delays@1 --view destination_delays@1 --view route_delays@1',
  );
});

test('a change that apply refuses ends with 1, in words and as JSON', async () => {
  await registerVersion(api.database.db, {
    manifest: flightsManifest(api),
    sha256: 'a'.repeat(64),
    at: NOW,
  });
  const file = await flightsFile('const LATE_MINUTES = 15', 'const LATE_MINUTES = 20');
  expect(await serin('plan', file)).toBe(1);
  expect(stdout).toContain(
    '  x view route_delays@1: feature delay_share: what is aggregated delay ≥ 15 → delay ≥ 20 — breaking: flight-delay v1 (staging) uses it; leave it as it is and declare route_delays@2',
  );
  expect(stdout).toContain('apply refuses this project');
  stdout = '';
  expect(await serin('plan', file, '--json')).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ project: 'flights', refused: true });
  expect(await serin('apply', file)).toBe(1);
  expect(stderr).toContain('DEFINITION_IN_USE');
});

test('the catalogue is listed, and one feature is shown with its columns and readers', async () => {
  expect(await serin('features', '--project', 'flights')).toBe(0);
  expect(stdout).toContain('origin_delays@1/delay_share\tf64\tshare of delay ≥ 15\tflight-operations');
  stdout = '';
  expect(await serin('features', 'show', 'origin_delays@1/delay_share')).toBe(0);
  expect(stdout).toContain('flights.delay (i64): value');
  expect(stdout).toMatch(/read by: +flight-delay v0 \(production\), flight-delay v1 \(staging\)/);
});

test('a feature of several views is asked back for, one that is not there named with its nearest', async () => {
  expect(await serin('features', 'show', 'delay_share')).toBe(1);
  expect(stderr).toContain('say which: origin_delays@1/delay_share, destination_delays@1/delay_share');
  stderr = '';
  expect(await serin('features', 'show', 'origin_delays@1/delay_chare')).toBe(1);
  expect(stderr).toContain('did you mean "origin_delays@1/delay_share"');
});

test('a feature set is listed with types, and gives its schemas as JSON', async () => {
  expect(await serin('features', 'set', 'flights', 'delay_features@1')).toBe(0);
  expect(stdout.split('\n')[0]).toBe('origin__delay_share__3h\tf64\tnull\t\t');
  stdout = '';
  expect(await serin('features', 'set', 'flights', 'delay_features@1', '--json')).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    signature: { input: { shape: [null, 12] } },
    requestSchema: { required: ['origin', 'destination', 'distance'] },
  });
});

test('freshness is a table of the views in use, and ends with 1 when one is too old', async () => {
  const { db } = api.database;
  const view = { view_id: 'origin_delays@1', source: 'flights', applied_seq: 1_000_000, updated_at: NOW };
  await db
    .insertInto('view_progress')
    .values({ ...view, newest_event_at: NOW - 1_500_000 })
    .execute();
  expect(await serin('features', 'freshness', '--project', 'flights')).toBe(0);
  expect(stdout).toMatch(/origin_delays@1\t\d+\t.*\t1\.50\t0\.00/);
  await db.updateTable('view_progress').set({ newest_event_at: 0 }).execute();
  expect(await serin('features', 'freshness')).toBe(1);
  expect(stdout).toMatch(/origin_delays@1.*\tdata/);
  await db.deleteFrom('view_progress').execute();
});
