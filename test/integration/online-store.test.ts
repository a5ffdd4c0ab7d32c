import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { Expression } from '../../domain/project/expression.ts';
import type { AggregateSpec, EntitySpec, FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../../domain/time.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { compileView, type ViewPlan } from '../../features/kernel/view-plan.ts';
import { decodeState, encodeState, foldTo, isSpent, read } from '../../features/kernel/view-state.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { ingestBuffered } from '../../features/offline/ingest.ts';
import { applyBuffered, materializeView, type PushedEvent } from '../../features/online/materialize.ts';
import { createPostgresStore } from '../../features/online/postgres-store.ts';
import type { OnlineStore, StateEntry } from '../../features/online/online-store.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let pool: pg.Pool;
let store: OnlineStore;

beforeAll(async () => {
  pool = new pg.Pool({ connectionString: await createTestDatabase(), max: 4, application_name: 'online-store-test' });
  // connections that a test kills on purpose
  pool.on('error', () => undefined);
  store = createPostgresStore(pool);
});

afterAll(async () => {
  await pool.end();
});

beforeEach(async () => {
  await pool.query('truncate online_state, online_cursor');
});

const column = (name: string): Expression => ({ op: 'column', name });
const SOURCE: SourceSpec = {
  name: 'flights',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'airport', type: 'str', nullable: true, pii: false, description: '' },
    { name: 'delay', type: 'f64', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('known'),
  eventId: ['at'],
  freshnessSlaSeconds: 60,
};
const ENTITY: EntitySpec = { name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' };

function aPlan(version = 1): ViewPlan {
  const windows = [
    { name: '2h', lengthMicros: 2 * MICROS_PER_HOUR, hopMicros: null },
    { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
  ];
  const aggregate = (name: string, fn: AggregateSpec['fn'], of: Expression | null): AggregateSpec => {
    return { name, fn, of, where: null, windows, default: null, description: '' };
  };
  const view: FeatureViewSpec = {
    name: 'delays',
    version,
    entity: 'airport',
    source: 'flights',
    key: ['airport'],
    features: [
      aggregate('flights', 'count', null),
      aggregate('mean', 'mean', column('delay')),
      aggregate('worst', 'max', column('delay')),
    ],
    owner: 'tests',
    description: '',
  };
  return compileView(view, SOURCE, ENTITY);
}

const T0 = 1_000_000 * MICROS_PER_HOUR;
const AIRPORTS = ['SFO', 'JFK', 'LAX', null];

const anEvent = (
  seq: number,
  minute: number,
  overrides: Partial<PushedEvent> & { airport?: string | null; delay?: number | null } = {},
): PushedEvent => {
  const { airport = 'SFO', delay = 1, ...rest } = overrides;
  const at = T0 + minute * MICROS_PER_MINUTE;
  return { seq, eventAt: at, availableAt: at, clockAt: at, row: { at, known: at, airport, delay }, ...rest };
};

const worlds = fc
  .array(
    fc.record({
      minute: fc.integer({ min: 0, max: 900 }),
      knownAfter: fc.integer({ min: 0, max: 200 }),
      airport: fc.constantFrom(...AIRPORTS),
      delay: fc.option(fc.double({ min: -100, max: 1000, noNaN: true })),
    }),
    { minLength: 5, maxLength: 60 },
  )
  .map((drafts) =>
    drafts.map(({ minute, knownAfter, airport, delay }, i): PushedEvent => {
      const event = anEvent(i + 1, minute, { airport, delay });
      return { ...event, availableAt: event.eventAt + knownAfter * MICROS_PER_MINUTE };
    }),
  );

const keyOf = (airport: string): Uint8Array => encodeKey(ENTITY.keys, [airport])!;
const airports = AIRPORTS.filter((airport) => airport !== null);

/** What a view holds, each state folded to one instant (null: nothing can be seen from then on): two views with the same events have the same. */
async function contentsOf(plan: ViewPlan, at: number): Promise<(string | null)[]> {
  const { states } = await store.read(airports.map((airport) => ({ viewId: plan.id, key: keyOf(airport) })));
  return states.map((bytes) => {
    if (bytes === null) return null;
    const state = decodeState(plan, bytes);
    foldTo(plan, state, at);
    if (isSpent(plan, state, at)) return null;
    return Buffer.from(encodeState(plan, state)).toString('hex');
  });
}

async function feed(
  plan: ViewPlan,
  events: readonly PushedEvent[],
  from: number,
  to: number,
  into = store,
): Promise<void> {
  const batch = events.slice(from, to);
  await applyBuffered({ plans: [plan], events: batch, fromSeqExclusive: from, toSeq: to, store: into });
}

describe('a view that is fed', () => {
  test('has the same states whatever the batches, repeats, retries and concurrent appliers', async () => {
    const schedules = fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 15 }), again: fc.boolean(), twice: fc.boolean() }),
      { minLength: 1 },
    );
    let version = 1;
    await fc.assert(
      fc.asyncProperty(worlds, schedules, async (events, schedule) => {
        const [whole, cut] = [aPlan(++version), aPlan(++version)];
        await feed(whole, events, 0, events.length);
        for (let from = 0, i = 0; from < events.length; i++) {
          const { size, again, twice } = schedule[i % schedule.length]!;
          const to = Math.min(from + size, events.length);
          // an applier that was slow to notice sends what is already in, together with what is new
          const start = again ? Math.max(0, from - 5) : from;
          await Promise.all([feed(cut, events, start, to), ...(twice ? [feed(cut, events, from, to)] : [])]);
          if (again) await feed(cut, events, start, to);
          from = to;
        }
        const end = T0 + 15 * MICROS_PER_HOUR;
        expect(await contentsOf(cut, end)).toEqual(await contentsOf(whole, end));
        expect((await store.cursor(cut.id))?.appliedSeq).toBe(events.length);
      }),
      { numRuns: 25 },
    );
  });

  test('refuses a batch that would leave a gap, and says what it has', async () => {
    const plan = aPlan();
    const events = [anEvent(1, 0), anEvent(2, 1), anEvent(3, 2)];
    await feed(plan, events, 0, 1);
    await expect(feed(plan, events, 2, 3)).rejects.toThrow(/delays@1 has events up to 1.*from 2/);
    expect((await store.cursor(plan.id))?.appliedSeq).toBe(1);
  });

  test('is as it was after a batch that fails half-way', async () => {
    const plan = aPlan();
    const events = [
      anEvent(1, 0, { airport: 'SFO' }),
      anEvent(2, 1, { airport: 'JFK' }),
      anEvent(3, 2, { airport: 'SFO' }),
      anEvent(4, 2, { airport: 'JFK' }),
    ];
    await feed(plan, events, 0, 2);
    await pool.query(`update online_state set state = '\\x00' where key = $1`, [Buffer.from(keyOf('JFK'))]);
    const before = await pool.query('select * from online_state order by key');
    await expect(feed(plan, events, 2, 4)).rejects.toThrow(/delays@1/);
    expect((await pool.query('select * from online_state order by key')).rows).toEqual(before.rows);
    expect((await store.cursor(plan.id))?.appliedSeq).toBe(2);
  });

  test('drops a state that no read can reach any more', async () => {
    const plan = aPlan();
    await feed(plan, [anEvent(1, 0)], 0, 1);
    expect((await store.read([{ viewId: plan.id, key: keyOf('SFO') }])).states[0]).not.toBeNull();
    const late = anEvent(2, 0, { clockAt: T0 + 48 * MICROS_PER_HOUR });
    await feed(plan, [anEvent(1, 0), late], 0, 2);
    expect((await store.read([{ viewId: plan.id, key: keyOf('SFO') }])).states[0]).toBeNull();
  });
});

describe('a read', () => {
  test('answers each reference in its place, over several views, with what is known of each', async () => {
    const [one, two] = [aPlan(1), aPlan(2)];
    await feed(one, [anEvent(1, 0, { airport: 'SFO' }), anEvent(2, 0, { airport: 'JFK' })], 0, 2);
    await feed(two, [anEvent(1, 0, { airport: 'JFK' })], 0, 1);
    const refs = [
      { viewId: two.id, key: keyOf('SFO') },
      { viewId: one.id, key: keyOf('JFK') },
      { viewId: two.id, key: keyOf('JFK') },
      { viewId: one.id, key: keyOf('JFK') },
      { viewId: 'delays@3', key: keyOf('JFK') },
    ];
    const { states, knownSeq } = await store.read(refs);
    expect(states.map((state) => state !== null)).toEqual([false, true, true, true, false]);
    expect(states[1]).toBe(states[3]);
    expect(Object.fromEntries(knownSeq)).toEqual({ 'delays@1': 2, 'delays@2': 1 });
    const out = new Float64Array(one.outputs.length);
    read(one, decodeState(one, states[1]!), T0, out, 0);
    expect([...out]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(await store.read([])).toEqual({ states: [], knownSeq: new Map() });
  });

  test('of a store that does not answer is a retryable error', async () => {
    const nowhere = new pg.Pool({ connectionString: 'postgres://localhost:1/none', connectionTimeoutMillis: 500 });
    const refused = createPostgresStore(nowhere).read([{ viewId: 'delays@1', key: keyOf('SFO') }]);
    await expect(refused).rejects.toMatchObject({ code: 'ONLINE_STORE_UNAVAILABLE', retryable: true });
    await nowhere.end();
  });
});

describe('replacing a view', () => {
  const cursor = { source: 'flights', appliedSeq: 9, foldedAt: T0 };

  function* entries(count: number): Generator<StateEntry> {
    for (let i = 0; i < count; i++)
      yield { key: keyOf(`K${i}`), state: new Uint8Array(100).fill(i % 251), foldedAt: T0 };
  }

  test('puts all its states in place of the old ones, exactly', async () => {
    const plan = aPlan();
    await feed(plan, [anEvent(1, 0)], 0, 1);
    expect(await store.replaceAll({ viewId: plan.id, cursor, states: entries(12_345) })).toBe(12_345);
    expect(await store.cursor(plan.id)).toEqual(cursor);
    const { states } = await store.read(
      [keyOf('SFO'), keyOf('K0'), keyOf('K12344')].map((key) => ({ viewId: plan.id, key })),
    );
    expect(states.map((state) => (state === null ? null : [...new Set(state)]))).toEqual([null, [0], [12_344 % 251]]);
  });

  test('that dies half-way leaves the view as it was, and readers never see half of it', async () => {
    const plan = aPlan();
    await feed(plan, [anEvent(1, 0)], 0, 1);
    const before = await contentsOf(plan, T0);
    const killed = store.replaceAll({
      viewId: plan.id,
      cursor,
      states: (async function* () {
        yield* entries(6_000);
        // the first chunk is written by now, in a transaction of its own
        expect(await contentsOf(plan, T0)).toEqual(before);
        await pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'`,
        );
        yield* entries(6_000);
      })(),
    });
    await expect(killed).rejects.toMatchObject({ code: 'ONLINE_STORE_UNAVAILABLE' });
    expect(await contentsOf(plan, T0)).toEqual(before);
    expect((await store.cursor(plan.id))?.appliedSeq).toBe(1);
  });

  test('waits for a batch that is being applied, and the other way round', async () => {
    const plan = aPlan();
    const events = Array.from({ length: 40 }, (_, i) => anEvent(i + 1, i));
    await Promise.all([
      feed(plan, events, 0, 20),
      store.replaceAll({ viewId: plan.id, cursor: { ...cursor, appliedSeq: 0, foldedAt: T0 }, states: [] }),
    ]);
    const { appliedSeq } = (await store.cursor(plan.id))!;
    const known = (await store.read([{ viewId: plan.id, key: keyOf('SFO') }])).states[0];
    // whichever came last stands alone: nothing of both is mixed
    expect([appliedSeq, known === null]).toEqual(appliedSeq === 20 ? [20, false] : [0, true]);
  });
});

describe('a view built from the log', () => {
  let workDir: string;
  let blobs: FileBlobStore;
  let duckdb: DuckDb;

  beforeAll(async () => {
    workDir = await mkdtemp(join(tmpdir(), 'serin-materialize-'));
    blobs = new FileBlobStore(join(workDir, 'blobs'));
    duckdb = await DuckDb.open({ memory: '500MB', threads: 2, tempDir: join(workDir, 'spill') });
  });

  afterAll(async () => {
    duckdb.close();
    await rm(workDir, { recursive: true, force: true });
  });

  async function logOf(events: readonly PushedEvent[], batchId: string): Promise<LogFile[]> {
    const rows = events.map((event) => ({
      ...event,
      eventId: `00000000-0000-0000-0000-${String(event.seq).padStart(12, '0')}`,
    }));
    const file = await ingestBuffered({ source: SOURCE, rows, batchId, blobs, workDir, duckdb });
    return file === null ? [] : [file];
  }

  test('has the states that feeding the events one by one gives', async () => {
    let version = 1;
    await fc.assert(
      fc.asyncProperty(
        worlds,
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 60 }),
        async (events, stop, split) => {
          const [fed, built] = [aPlan(++version), aPlan(++version)];
          const upToSeq = Math.min(stop, events.length);
          for (let i = 0; i < upToSeq; i++) await feed(fed, events, i, i + 1);
          const logFiles = [
            ...(await logOf(events.slice(0, split), `first-${version}`)),
            ...(await logOf(events.slice(split), `second-${version}`)),
          ];
          const foldAt = T0 + 10 * MICROS_PER_HOUR;
          await materializeView({ plan: built, logFiles, upToSeq, foldAt, blobs, duckdb, store });
          const end = T0 + 15 * MICROS_PER_HOUR;
          expect(await contentsOf(built, end)).toEqual(await contentsOf(fed, end));
          expect(await store.cursor(built.id)).toEqual({ source: 'flights', appliedSeq: upToSeq, foldedAt: foldAt });
        },
      ),
      { numRuns: 20 },
    );
  });

  test('goes on from its cursor with the events that are pushed later', async () => {
    const [fed, built] = [aPlan(1), aPlan(2)];
    const events = Array.from({ length: 30 }, (_, i) => anEvent(i + 1, i * 20, { airport: AIRPORTS[i % 3]! }));
    await feed(fed, events, 0, 30);
    const logFiles = await logOf(events.slice(0, 20), 'begun');
    await materializeView({
      plan: built,
      logFiles,
      upToSeq: 20,
      foldAt: T0 + 5 * MICROS_PER_HOUR,
      blobs,
      duckdb,
      store,
    });
    await feed(built, events, 15, 30);
    const end = T0 + 12 * MICROS_PER_HOUR;
    expect(await contentsOf(built, end)).toEqual(await contentsOf(fed, end));
  });

  test('that is cancelled is as it was', async () => {
    const plan = aPlan();
    const events = [anEvent(1, 0), anEvent(2, 1)];
    await feed(plan, events, 0, 1);
    const controller = new AbortController();
    controller.abort();
    const logFiles = await logOf(events, 'cancelled');
    const request = { plan, logFiles, upToSeq: 2, foldAt: T0, blobs, duckdb, store, signal: controller.signal };
    await expect(materializeView(request)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await store.cursor(plan.id))?.appliedSeq).toBe(1);
  });
});
