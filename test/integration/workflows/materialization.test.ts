import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { activityInfo } from '@temporalio/activity';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { applyProject } from '../../../db/apply-project.ts';
import { bufferEvents, getLastSequence } from '../../../db/ingest.ts';
import { listAlerts } from '../../../db/monitors.ts';
import { createSourceContract } from '../../../db/source-contracts.ts';
import { compiledModule } from '../../../domain/compiled-module.ts';
import { type ProjectSpec, versioned } from '../../../domain/project/spec.ts';
import { MICROS_PER_HOUR } from '../../../domain/time.ts';
import { editGuarded } from '../../../features/online/guarded-write.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import { compileFeatureReader } from '../../../features/reader/feature-reader.ts';
import { openEventIndex } from '../../../platform/event-index.ts';
import { loadProject } from '../../../cli/load-project.ts';
import { startStreamer } from '../../../workers/streamer.ts';
import { type IngestSourceInput, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import type { ingestSource } from '../../../workflows/ingest-source.ts';
import type { materializeFeatures } from '../../../workflows/materialize-features.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { createTestDatabase } from '../../setup/test-database.ts';
import { type FeatureWorld, openFeatureWorld } from './feature-world.ts';
import { type RunningWorkers, startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

/** 2001-05-01T00:00:00Z: the clock of the flights. */
const T0 = 988_675_200_000_000;
const QUARTER = MICROS_PER_HOUR / 4;
const AIRPORTS = Array.from({ length: 24 }, (_, i) => `A${String.fromCharCode(65 + i)}X`);
const SET = 'delay_features@1';
const LONG_MS = 160_000;

let temporal: TemporalFixture;
let databaseUrl: string;
let dir: string;
let world: FeatureWorld;
let spec: ProjectSpec;
let index: ReturnType<typeof openEventIndex>;
let workers: RunningWorkers | undefined;
let child: ChildProcess | undefined;
let flights = 0;
let runs = 0;

beforeAll(async () => {
  temporal = await startTemporalFixture();
  databaseUrl = await createTestDatabase();
  dir = await mkdtemp(join(tmpdir(), 'serin-materialization-'));
  world = openFeatureWorld(databaseUrl, dir);
  index = openEventIndex(world.blobs);
  ({ spec } = await loadProject('examples/flights/project.ts'));
  await applyProject(world.database.db, { spec, bundleSha256: null, by: 'tests', at: 1 });
});
afterEach(async () => {
  child?.kill('SIGKILL');
  child = undefined;
  await workers?.stop();
  workers = undefined;
});
afterAll(async () => {
  await temporal.stop();
  index.close();
  await world.database.close();
  await rm(dir, { recursive: true, force: true });
});

const source = () => spec.sources.find(({ name }) => name === 'flights')!;
const viewIds = () => spec.featureSets.find((each) => versioned(each) === SET)!.views.map(({ view }) => view);
const someFlights = (count: number) =>
  Array.from({ length: count }, () => {
    const i = flights++;
    const [origin, destination] = [AIRPORTS[i % AIRPORTS.length]!, AIRPORTS[(i + 1 + (i % 5)) % AIRPORTS.length]!];
    const date = new Date((T0 + i * QUARTER) / 1_000).toISOString();
    return { date, delay: i % 3 === 0 ? 20 + (i % 50) : -5, distance: 100 + i, origin, destination };
  });

async function ingestFile(batchId: string, rows: readonly object[]): Promise<void> {
  const path = join(dir, `${batchId}.jsonl`);
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const input: IngestSourceInput = { source: 'flights', batchId, input: { kind: 'file', path, format: 'jsonl' } };
  const handle = await temporal.client.workflow.start<typeof ingestSource>('ingestSource', {
    workflowId: `ingest/${batchId}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [input],
  });
  expect(await within('the file is ingested', handle.result(), LONG_MS)).toMatchObject({ rowsAccepted: rows.length });
}

async function push(count: number): Promise<void> {
  const contract = createSourceContract(source(), []);
  const admitted = someFlights(count).map((flight) => {
    const check = contract.admit(flight, T0 + flights * QUARTER);
    if (!check.ok) throw new Error(JSON.stringify(check.reasons));
    return check.event;
  });
  await world.database.db.transaction().execute((tx) => bufferEvents(tx, 'flights', admitted, index));
}

async function materialize(options: { views?: readonly string[]; parts?: number; keysPerSecond?: number } = {}) {
  return temporal.client.workflow.start<typeof materializeFeatures>('materializeFeatures', {
    workflowId: `materialize/${(runs += 1)}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ project: spec.name, foldAt: T0, ...options }],
  });
}

/** What serving reads of every pair of airports. */
async function readAll(store: OnlineStore = world.store): Promise<readonly (number | null)[]> {
  const reader = compileFeatureReader(spec, SET);
  const rows = AIRPORTS.flatMap((origin) =>
    AIRPORTS.slice(0, 6).map((destination) => ({
      request: { origin, destination, distance: 500 },
      asOf: T0 + flights * QUARTER + 4 * MICROS_PER_HOUR,
    })),
  );
  return Array.from((await reader.read(store, rows)).values, (value) => (Number.isNaN(value) ? null : value));
}

/** Everything under a name that is not a view's own. */
async function leftBehind(): Promise<unknown[]> {
  const { rows } = await world.database.pool.query(
    `select view_id from online_cursor where view_id like '%~%' union all select view_id from view_progress where view_id like '%~%'`,
  );
  return rows;
}

test('a file that comes when its views are in use becomes visible in them, and nothing that was pushed is lost', async () => {
  workers = await temporal.startWorkers(world.activities);
  await ingestFile('first', someFlights(300));
  const first = await within('the views are built', (await materialize()).result(), LONG_MS);
  // few keys: all of them were checked; another source has no rows yet
  for (const { viewId, checked, keys } of first.views) {
    expect(checked).toBe(keys);
    expect(keys > 0).toBe(viewIds().includes(viewId));
  }
  const streamer = startStreamer({
    db: world.database.db,
    pool: world.database.pool,
    store: world.store,
    logger: pino({ level: 'silent' }),
    registry: new Registry(),
    now: () => Date.now() * 1_000,
  });
  try {
    await push(40);
    // pushed rows are in the views without a build; these come by file, between them
    const late = ingestFile('late', someFlights(120));
    await push(40);
    await late;
    const refresh = temporal.client.workflow.getHandle('refresh/flights');
    expect(await within('the views are refreshed', refresh.result(), LONG_MS)).toEqual({
      views: expect.arrayContaining(viewIds()),
    });
    await push(10);
    const last = await getLastSequence(world.database.db, 'flights');
    await eventually('the views have what was pushed', async () => {
      const cursors = await world.store.cursors(viewIds());
      return viewIds().every((id) => (cursors.get(id)?.appliedSeq ?? 0) >= last);
    });
  } finally {
    await streamer.stop();
  }
  const served = await readAll();
  // the same from the log alone
  await within('the views are built again', (await materialize()).result(), LONG_MS);
  expect(await readAll()).toEqual(served);
  expect(served.filter((value) => value !== null).length).toBeGreaterThan(100);
  expect(await leftBehind()).toEqual([]);
});

test('a worker that is killed in the middle of a build is followed by another, which goes on at the part', async () => {
  // this process runs the workflow and short activities, the other the long ones
  const view = viewIds()[0]!;
  const before = await readAll();
  child = fork(fileURLToPath(compiledModule(import.meta.url, './feature-worker-process.ts')), [
    temporal.address,
    databaseUrl,
    dir,
  ]);
  const ready = once(child, 'message');
  await within('the first worker is ready', ready, LONG_MS);
  const control = await temporal.startWorkers(world.activities, [TASK_QUEUE_CONTROL]);
  const handle = await materialize({ views: [view], parts: 8, keysPerSecond: 4 });
  const reached = await eventually(
    'some parts are built',
    async () => {
      const { raw } = await handle.describe();
      const fill = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'fillShadow');
      const details = fill?.heartbeatDetails?.payloads?.[0]?.data;
      if (details === null || details === undefined) return undefined;
      const { parts, keys } = JSON.parse(Buffer.from(details).toString()) as { parts: number; keys: number };
      return parts >= 2 ? { parts, keys } : undefined;
    },
    LONG_MS,
  );
  const dead = once(child, 'exit');
  child.kill('SIGKILL');
  await within('the first worker is dead', dead);
  // nobody has seen anything of it
  expect(await readAll()).toEqual(before);
  await control.stop();

  const attempts: { attempt: number; from: { parts: number; keys: number } | undefined }[] = [];
  workers = await temporal.startWorkers({
    ...world.activities,
    fillShadow(input) {
      const { attempt, heartbeatDetails } = activityInfo();
      attempts.push({ attempt, from: heartbeatDetails as { parts: number; keys: number } | undefined });
      return world.activities.fillShadow({ ...input, keysPerSecond: 10_000 });
    },
  });
  const { views } = await within('the build ends', handle.result(), LONG_MS);
  expect(attempts).toEqual([{ attempt: 2, from: expect.objectContaining({ parts: expect.any(Number) }) }]);
  expect(attempts[0]!.from!.parts).toBeGreaterThanOrEqual(reached.parts);
  expect(views).toMatchObject([{ viewId: view, checked: views[0]!.keys }]);
  expect(await readAll()).toEqual(before);
  expect(await leftBehind()).toEqual([]);
});

test('a shadow with a key that is not as the log has it is found, dropped and alerted; the view in use stays', async () => {
  const view = viewIds()[0]!;
  const { store } = world;
  const broken = { on: true };
  workers = await temporal.startWorkers({
    ...world.activities,
    async fillShadow(input) {
      const filled = await world.activities.fillShadow(input);
      if (!broken.on) return filled;
      // one state of another key in the place of the right one
      const entries: { key: Uint8Array; bytes: Uint8Array }[] = [];
      for await (const entry of store.dump(input.shadowId)) if (entry.part === 'states') entries.push(entry);
      const wrong = entries.find(({ bytes }) => Buffer.compare(bytes, entries[0]!.bytes) !== 0)!;
      const ref = { part: 'states' as const, key: entries[0]!.key };
      await editGuarded(store, input.shadowId, [ref], () => [{ ...ref, bytes: wrong.bytes }]);
      return filled;
    },
  });
  await push(3);
  const before = await readAll();
  const failed = await materialize({ views: [view] });
  await expect(within('the build fails', failed.result(), LONG_MS)).rejects.toThrow('Workflow execution failed');
  expect(await readAll()).toEqual(before);
  expect(await leftBehind()).toEqual([]);
  const firing = () => listAlerts(world.database.db, { model: view, status: 'firing' });
  expect(await firing()).toMatchObject([{ monitor: 'feature-materialization', severity: 'critical' }]);
  expect((await firing())[0]!.sentence).toContain('where the log gives');

  broken.on = false;
  await within('the next build ends', (await materialize({ views: [view] })).result(), LONG_MS);
  expect(await firing()).toEqual([]);
});
