import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { measureStreaming } from '../../bench/online/streaming.ts';
import { STREAMING_PROJECT } from '../../bench/online/streaming-project.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { sql } from 'kysely';
import { getAppliedSequence, trimBuffer } from '../../db/ingest.ts';
import { advanceProgress, resetProgress } from '../../db/view-progress.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { editGuarded, replaceAll } from '../../features/online/guarded-write.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';
import { openOnlineStore, type OpenStore } from '../../features/online/open-store.ts';
import { compileFeatureReader } from '../../features/reader/feature-reader.ts';
import { createLogger } from '../../platform/logger.ts';
import { startStreamer, type Streamer } from '../../workers/streamer.ts';
import { startTestRedis } from '../setup/redis-server.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const redis = await startTestRedis();
afterAll(() => redis?.close());

describe.each(['PostgreSQL', 'Redis'])('events pushed over HTTP into views in %s', (kind) => {
  test.skipIf(kind === 'Redis' && redis === null)(
    'are each in the features once, though the streamer is killed on the way',
    async () => {
      const databaseUrl = await createTestDatabase();
      const workDir = await mkdtemp(join(tmpdir(), 'serin-streaming-'));
      const result = await measureStreaming({
        databaseUrl,
        onlineStoreUrl: kind === 'Redis' ? redis!.url : databaseUrl,
        workDir,
        eventsPerSecond: 500,
        eventsPerRequest: 10,
        seconds: 4,
        warmSeconds: 0,
        customers: 200,
        serverPids: [],
        killAt: 0.5,
      });
      await rm(workDir, { recursive: true, force: true });
      expect(result).toMatchObject({ sent: 2_000, difference: 0 });
    },
  );
});

describe('the streamer', () => {
  let database: Database;
  let online: OpenStore;
  let store: OnlineStore;
  let streamer: Streamer | undefined;
  const registry = new Registry();
  const NOW = 1_700_000_000_000_000;
  let now = NOW;
  const VIEWS = STREAMING_PROJECT.views.map(({ name }) => `${name}@1`);
  const reader = compileFeatureReader(STREAMING_PROJECT, 'customer@1');
  let seq = 0;

  beforeAll(async () => {
    const url = await createTestDatabase();
    database = connectDatabase(url, { name: 'test', max: 6 });
    online = openOnlineStore(url, { name: 'test', connections: 4 });
    store = online.store;
    await applyProject(database.db, { spec: STREAMING_PROJECT, bundleSha256: null, by: 'tests', at: NOW });
    for (const viewId of VIEWS) {
      await replaceAll(store, {
        viewId,
        cursor: { source: 'rides', appliedSeq: 0, foldedAt: null },
        entries: [],
        label: 'x',
      });
    }
  });
  afterEach(async () => {
    await streamer?.stop();
    streamer = undefined;
  });
  afterAll(async () => {
    await online.close();
    await database.close();
  });

  const start = (withhold?: (key: Uint8Array) => boolean): void => {
    registry.clear();
    streamer = startStreamer({
      db: database.db,
      pool: database.pool,
      store,
      logger: createLogger({ service: 'streamer', node: 'test', level: 'silent' }),
      registry,
      now: () => now,
      ...(withhold === undefined ? {} : { withhold: (_, key) => withhold(key) }),
    });
  };
  const push = async (customer: number, eventAt = NOW, receivedAt = NOW): Promise<number> => {
    const row = { ride: ++seq, at: eventAt, known: eventAt, customer, minutes: 10, fare: 2.5 };
    const id = `00000000-0000-0000-0000-${String(seq).padStart(12, '0')}`;
    await sql`
      insert into event_buffer (source, seq, event_id, version_id, event_at, available_at, clock_at, row, received_at)
      values ('rides', ${seq}, ${id}, ${id}, ${eventAt}, ${eventAt}, ${eventAt}, ${JSON.stringify(row)}, ${receivedAt})`.execute(
      database.db,
    );
    await sql`select pg_notify('serin_events', 'rides')`.execute(database.db);
    return seq;
  };
  const isApplied = async (upTo: number): Promise<void> =>
    expect
      .poll(async () => [...(await store.cursors(VIEWS)).values()].map(({ appliedSeq }) => appliedSeq))
      .toEqual([upTo, upTo]);
  const ridesOf = async (customer: number): Promise<number> => {
    const { values } = await reader.read(store, [{ request: { customer }, asOf: now }]);
    return values[0]!;
  };
  const metric = async (name: string): Promise<Record<string, number>> => {
    const found = await registry.getSingleMetric(name)!.get();
    return Object.fromEntries(found.values.map(({ labels, value }) => [Object.values(labels).join(' '), value]));
  };

  test('applies what is announced, says how far it is, and how fresh the views are on both clocks', async () => {
    start();
    const last = await push(1, NOW - 30_000_000, NOW - 2_000_000);
    await isApplied(last);
    await expect.poll(() => getAppliedSequence(database.db, 'rides')).toBe(last);
    expect([await ridesOf(1), await ridesOf(2)]).toEqual([1, 0]);
    await expect.poll(() => metric('serin_view_pipeline_delay_seconds')).toEqual({ 'activity@1': 2, 'last_ride@1': 2 });
    // by the pusher's clock, which lay 28 s behind when it pushed
    expect(await metric('serin_view_data_age_seconds')).toEqual({ 'activity@1': 2, 'last_ride@1': 2 });
    now += 90_000_000;
    expect(await metric('serin_view_sla_breached')).toEqual({
      'activity@1 data': 1,
      'activity@1 pipeline': 0,
      'last_ride@1 data': 1,
      'last_ride@1 pipeline': 0,
    });
    now = NOW;
  });

  test('feeds the other views when one cannot take a batch, and that one when it can again', async () => {
    const key = encodeKey([{ name: 'customer', type: 'i64' }], [7])!;
    await editGuarded(store, VIEWS[0]!, [{ part: 'states', key }], () => [
      { part: 'states', key, bytes: Buffer.from('damaged') },
    ]);
    start();
    const last = await push(7, NOW, NOW - 9_000_000);
    await expect.poll(async () => (await store.cursors(VIEWS)).get(VIEWS[1]!)?.appliedSeq).toBe(last);
    await expect.poll(async () => (await metric('serin_stream_failures_total'))[VIEWS[0]!] ?? 0).toBeGreaterThan(0);
    expect((await store.cursors(VIEWS)).get(VIEWS[0]!)?.appliedSeq).toBe(last - 1);
    // the one that waits says so, and the other goes on
    const next = await push(8, NOW, NOW - 5_000_000);
    await expect.poll(async () => (await store.cursors(VIEWS)).get(VIEWS[1]!)?.appliedSeq).toBe(next);
    await expect.poll(() => metric('serin_view_pipeline_delay_seconds')).toEqual({ 'activity@1': 9, 'last_ride@1': 5 });
    await editGuarded(store, VIEWS[0]!, [{ part: 'states', key }], () => [{ part: 'states', key, bytes: null }]);
    await isApplied(next);
    expect([await ridesOf(7), await ridesOf(8)]).toEqual([1, 1]);
  });

  test('goes on from where a view was put back to, and makes no state of a key that is withheld', async () => {
    const forgotten = encodeKey([{ name: 'customer', type: 'i64' }], [1])!;
    start((key) => forgotten.equals(key));
    await isApplied(seq);
    await replaceAll(store, {
      viewId: VIEWS[0]!,
      cursor: { source: 'rides', appliedSeq: 0, foldedAt: null },
      entries: [],
      label: 'x',
    });
    await resetProgress(database.db, [{ viewId: VIEWS[0]!, source: 'rides', appliedSeq: 0 }], now);
    const last = await push(1);
    await isApplied(last);
    expect([await ridesOf(1), await ridesOf(7)]).toEqual([0, 1]);
  });

  test('does not feed a view that lies behind the buffer as if nothing were missing', async () => {
    const progress = VIEWS.map((viewId) => ({ viewId, source: 'rides', appliedSeq: seq }));
    await advanceProgress(database.db, progress, now);
    await sql`insert into ingest_sequence (source, next_seq) values ('rides', ${seq + 1})`.execute(database.db);
    await sql`update event_buffer set logged = true`.execute(database.db);
    await trimBuffer(database.db, 'rides');
    // its store came back from an old copy
    const cursor = { source: 'rides', appliedSeq: seq - 1, foldedAt: null };
    await replaceAll(store, { viewId: VIEWS[0]!, cursor, entries: [], label: 'x' });
    start();
    const last = await push(9);
    await expect.poll(async () => (await store.cursors(VIEWS)).get(VIEWS[1]!)?.appliedSeq).toBe(last);
    expect((await store.cursors(VIEWS)).get(VIEWS[0]!)?.appliedSeq).toBe(last - 2);
  });
});
