import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { loadProject } from '../../cli/load-project.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { listAlerts } from '../../db/monitors.ts';
import { listFreshness } from '../../db/view-freshness.ts';
import { advanceProgress } from '../../db/view-progress.ts';
import { MICROS_PER_SECOND } from '../../domain/time.ts';
import { FRESHNESS_MONITORS, watchFreshness } from '../../workers/freshness-watch.ts';
import { createTestDatabase } from '../setup/test-database.ts';

/** A clock of the tests' own: µs, whenever that is. */
const NOW = 2_000_000_000 * MICROS_PER_SECOND;
const VIEW = 'origin_delays@1';

let database: Database;
let slaSeconds: number;

beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'freshness-test', max: 4 });
  const { spec } = await loadProject('examples/flights/project.ts');
  await applyProject(database.db, { spec, bundleSha256: null, by: 'tests', at: 1 });
  const view = spec.views.find(({ name }) => name === 'origin_delays')!;
  slaSeconds = view.freshnessSlaSeconds ?? spec.sources.find(({ name }) => name === view.source)!.freshnessSlaSeconds;
});
afterAll(() => database.close());
beforeEach(async () => {
  await database.pool.query('truncate view_progress, event_buffer, alert');
});

/** The streamer's word of a batch whose newest event is `age` old, at the wall clock. */
async function applied(appliedSeq: number, ageSeconds: number, at = NOW, clockOffset = 0): Promise<void> {
  const newestEventAt = at + clockOffset - ageSeconds * MICROS_PER_SECOND;
  const clocks = { newestEventAt, clockOffset, delayMicros: 20_000 };
  await advanceProgress(database.db, [{ viewId: VIEW, source: 'flights', appliedSeq }], at, clocks);
}

async function waiting(seq: number, receivedAt: number): Promise<void> {
  await database.pool.query(
    `insert into event_buffer (source, seq, event_id, version_id, op, event_at, available_at, clock_at, row, received_at)
     values ('flights', $1, gen_random_uuid(), gen_random_uuid(), 0, 0, 0, 0, '{}', $2)`,
    [seq, receivedAt],
  );
}

const firing = async () =>
  (await listAlerts(database.db, { status: 'firing' })).map(({ model, monitor }) => [model, monitor]);
const seconds = (count: number) => NOW + count * MICROS_PER_SECOND;

test('a view is as old as its newest event, by the clock of those who push', async () => {
  await applied(5, 3, NOW, -1_000_000 * MICROS_PER_SECOND);
  expect(await listFreshness(database.db, seconds(2), 'flights')).toMatchObject([
    {
      project: 'flights',
      view: VIEW,
      slaSeconds,
      appliedSeq: 5,
      dataAgeSeconds: 5,
      waitingSeconds: 0,
      lastDelaySeconds: 0.02,
      breached: [],
    },
  ]);
});

test('an older batch does not make the data of a view older, and a shadow is no view', async () => {
  await applied(5, 1);
  await applied(6, 500);
  await advanceProgress(database.db, [{ viewId: `${VIEW}~run`, source: 'flights', appliedSeq: 0 }], NOW);
  expect(await listFreshness(database.db, NOW)).toMatchObject([{ view: VIEW, appliedSeq: 6, dataAgeSeconds: 1 }]);
});

test('data that grows too old is alerted once, said anew with each look, and resolved when a fresh event comes', async () => {
  await applied(5, 0);
  await watchFreshness(database.db, seconds(slaSeconds));
  expect(await firing()).toEqual([]);
  await watchFreshness(database.db, seconds(slaSeconds + 1));
  await watchFreshness(database.db, seconds(slaSeconds + 90));
  expect(await firing()).toEqual([[VIEW, FRESHNESS_MONITORS.data]]);
  const [alert] = await listAlerts(database.db, { status: 'firing' });
  expect(alert).toMatchObject({
    severity: 'warning',
    sentence: `the newest event in ${VIEW} is ${slaSeconds + 90} s old; ${slaSeconds} s are allowed`,
    raisedAt: seconds(slaSeconds + 1),
  });
  await applied(6, 1, seconds(slaSeconds + 95));
  await watchFreshness(database.db, seconds(slaSeconds + 96));
  expect(await firing()).toEqual([]);
  expect(await listAlerts(database.db, { status: 'resolved' })).toMatchObject([
    { resolvedAt: seconds(slaSeconds + 96) },
  ]);
});

test('events that wait too long are an alert of their own, while the data is young', async () => {
  await applied(5, 0);
  await waiting(6, NOW - (slaSeconds + 7) * MICROS_PER_SECOND);
  await watchFreshness(database.db, NOW);
  expect(await firing()).toEqual([[VIEW, FRESHNESS_MONITORS.pipeline]]);
  expect((await listAlerts(database.db, {}))[0]!.sentence).toBe(
    `an event of flights has waited ${slaSeconds + 7} s to be in ${VIEW}; ${slaSeconds} s are allowed`,
  );
  await applied(6, 0);
  await watchFreshness(database.db, NOW);
  expect(await firing()).toEqual([]);
});

test('a view that is no longer in use has no open alert', async () => {
  await applied(5, slaSeconds + 1);
  await watchFreshness(database.db, NOW);
  expect(await firing()).toHaveLength(1);
  await database.pool.query('delete from view_progress');
  await watchFreshness(database.db, NOW);
  expect(await firing()).toEqual([]);
});
