import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { Expression } from '../../domain/project/expression.ts';
import type { AggregateSpec, EntitySpec, FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../../domain/time.ts';
import type { FactKind } from '../../features/history/fact.ts';
import { decodeHistory, encodeHistory } from '../../features/history/history-bytes.ts';
import { foldHistory, isSpentHistory } from '../../features/history/history.ts';
import { compileView, type CompiledView } from '../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { decodeState, encodeState, foldTo, isSpent } from '../../features/kernel/view-state.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { ingestBuffered } from '../../features/offline/ingest.ts';
import { applyToView, FOLD_LAG_MICROS, type PushedEvent } from '../../features/online/apply-events.ts';
import { statesOfLog } from '../../features/online/log-states.ts';
import { materializeView } from '../setup/materialize-view.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';
import { openOnlineStore, type OpenStore } from '../../features/online/open-store.ts';
import { checkShadow } from '../../features/reader/shadow-check.ts';
import { createViewReader } from '../../features/reader/view-reader.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { startTestRedis } from '../setup/redis-server.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const redis = await startTestRedis();
afterAll(() => redis?.close());

let workDir: string;
let blobs: FileBlobStore;
let duckdb: DuckDb;
beforeAll(async () => {
  workDir = await mkdtemp(join(tmpdir(), 'serin-online-views-'));
  blobs = new FileBlobStore(join(workDir, 'blobs'));
  duckdb = await DuckDb.open({ memory: '500MB', threads: 2, tempDir: join(workDir, 'spill') });
});
afterAll(async () => {
  duckdb.close();
  await rm(workDir, { recursive: true, force: true });
});

const column = (name: string): Expression => ({ op: 'column', name });
const T0 = 1_000_000 * MICROS_PER_HOUR;
const AIRPORTS = ['SFO', 'JFK', null];
const ENTITY: EntitySpec = { name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' };
const WINDOWS = [
  { name: '2h', lengthMicros: 2 * MICROS_PER_HOUR, hopMicros: null },
  { name: '6h', lengthMicros: 6 * MICROS_PER_HOUR, hopMicros: MICROS_PER_HOUR },
];

const aSource = (overrides: Partial<SourceSpec> = {}): SourceSpec => ({
  name: 'flights',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'flight', type: 'str', nullable: false, pii: false, description: '' },
    { name: 'airport', type: 'str', nullable: true, pii: false, description: '' },
    { name: 'delay', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'share', type: 'f64', nullable: true, pii: false, description: '' },
    { name: 'what', type: 'str', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('known'),
  eventId: ['flight'],
  freshnessSlaSeconds: 60,
  ...overrides,
});
const aggregate = (name: string, fn: AggregateSpec['fn'], of: string | null, windows = WINDOWS): AggregateSpec => {
  return { name, fn, of: of === null ? null : column(of), where: null, windows, default: null, description: '' };
};

interface Definition {
  readonly source: SourceSpec;
  readonly features: readonly AggregateSpec[];
  readonly view?: Partial<FeatureViewSpec>;
  readonly entity?: EntitySpec;
}

const REVISED = aSource({ revisions: 'versions', operation: { column: 'what', retract: 'gone', tombstone: 'end' } });
const DEFINITIONS: Readonly<Record<string, Definition>> = {
  'of tiles': {
    source: aSource(),
    features: [
      aggregate('flights', 'count', null),
      aggregate('mean', 'mean', 'delay'),
      aggregate('worst', 'max', 'delay'),
    ],
  },
  'of exact sums in tiles of accumulators': {
    source: aSource(),
    features: [
      aggregate('sum', 'sum', 'share'),
      aggregate('spread', 'stddev_samp', 'share'),
      aggregate('n', 'count_distinct', 'delay'),
    ],
  },
  'of latest values with a TTL': {
    source: aSource(),
    features: [aggregate('share', 'latest', 'share', []), aggregate('last', 'last', 'delay')],
    view: { ttlMicros: 3 * MICROS_PER_HOUR, boundary: 'exclusive' },
  },
  'of rows that are corrected, moved and removed': {
    source: REVISED,
    features: [
      aggregate('delay', 'latest', 'delay', []),
      aggregate('sum', 'sum', 'share'),
      aggregate('flights', 'count', null),
    ],
    view: { ttlMicros: 4 * MICROS_PER_HOUR },
  },
  'of everything': {
    source: REVISED,
    features: [aggregate('flights', 'count', null), aggregate('delay', 'latest', 'delay', [])],
    view: { key: [] },
    entity: { name: 'all', keys: [], description: '' },
  },
};

let versions = 0;
interface AView {
  readonly view: CompiledView;
  readonly definition: { readonly view: FeatureViewSpec; readonly source: SourceSpec };
}
function aView({ source, features, view: overrides = {}, entity = ENTITY }: Definition): AView {
  const spec: FeatureViewSpec = {
    name: 'delays',
    version: ++versions,
    entity: entity.name,
    source: source.name,
    key: ['airport'],
    features,
    owner: 'tests',
    description: '',
    ...overrides,
  };
  return { view: compileView(spec, source, entity), definition: { view: spec, source } };
}

/** Rows in order of arrival. In a source with revisions some are versions of few flights, retracts or tombstones. */
function worldsOf({ source }: Definition): fc.Arbitrary<PushedEvent[]> {
  const isRevised = source.revisions === 'versions';
  return fc
    .array(
      fc.record({
        minute: fc.integer({ min: 0, max: 900 }),
        knownAfter: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 200 })),
        flight: fc.integer({ min: 0, max: 12 }),
        airport: fc.constantFrom(...AIRPORTS),
        delay: fc.option(fc.integer({ min: -100, max: 1000 })),
        share: fc.option(fc.double({ min: -100, max: 1000, noNaN: true })),
        kind: fc.constantFrom<FactKind>('put', 'put', 'put', 'put', 'retract', 'tombstone'),
      }),
      { minLength: 5, maxLength: 50 },
    )
    .map((drafts) =>
      drafts.map(({ minute, knownAfter, flight, airport, delay, share, kind }, i): PushedEvent => {
        const eventAt = T0 + minute * MICROS_PER_MINUTE;
        const availableAt = eventAt + knownAfter * MICROS_PER_MINUTE;
        const identity = isRevised ? flight : i;
        return {
          seq: i + 1,
          eventAt,
          availableAt,
          clockAt: T0 + i * 10 * MICROS_PER_MINUTE,
          eventId: `00000000-0000-0000-0000-${String(identity).padStart(12, '0')}`,
          kind: isRevised ? kind : 'put',
          row: { at: eventAt, known: availableAt, flight: String(identity), airport, delay, share, what: null },
        };
      }),
    );
}

async function feed({ view }: AView, store: OnlineStore, events: readonly PushedEvent[], from: number, to: number) {
  return applyToView({ view, store, events: events.slice(from, to), fromSeqExclusive: from, toSeq: to });
}

/** All of a view, each state folded to one instant: two views with the same events have the same. */
async function contentsOf({ view }: AView, store: OnlineStore, at: number): Promise<Record<string, string>> {
  const contents: Record<string, string> = {};
  for await (const { part, key, bytes } of store.dump(view.plan.id)) {
    const folded = part === 'rows' ? bytes : foldedBytes(view, bytes, at);
    if (folded !== null) contents[`${part} ${Buffer.from(key).toString('hex')}`] = Buffer.from(folded).toString('hex');
  }
  return contents;
}

function foldedBytes({ kind, plan }: CompiledView, bytes: Uint8Array, at: number): Uint8Array | null {
  if (kind === 'tiles') {
    const state = decodeState(plan, bytes);
    foldTo(plan, state, at);
    return isSpent(plan, state, at) ? null : encodeState(plan, state);
  }
  const history = decodeHistory(plan, bytes);
  foldHistory(plan, history, at);
  return isSpentHistory(plan, history, at) ? null : encodeHistory(plan, history);
}

const END = T0 + 15 * MICROS_PER_HOUR;

describe.each(['PostgreSQL', 'Redis'])('in %s', (kind) => {
  const skipped = kind === 'Redis' && redis === null;
  let opened: OpenStore;
  let store: OnlineStore;
  beforeAll(async () => {
    const url = kind === 'Redis' ? (redis?.url ?? 'redis://127.0.0.1:1') : await createTestDatabase();
    opened = openOnlineStore(url, { name: 'online-views-test', connections: 4 });
    store = opened.store;
  });
  afterAll(() => opened.close());

  describe.skipIf(skipped).each(Object.entries(DEFINITIONS))('a view %s', (_, definition) => {
    test('ends in one state, whatever the batches, repeats, retries and writers at once', async () => {
      const schedules = fc.array(
        fc.record({ size: fc.integer({ min: 1, max: 15 }), again: fc.boolean(), twice: fc.boolean() }),
        { minLength: 1 },
      );
      await fc.assert(
        fc.asyncProperty(worldsOf(definition), schedules, async (events, schedule) => {
          const [whole, cut] = [aView(definition), aView(definition)];
          await feed(whole, store, events, 0, events.length);
          for (let from = 0, i = 0; from < events.length; i++) {
            const { size, again, twice } = schedule[i % schedule.length]!;
            const to = Math.min(from + size, events.length);
            // a writer that was slow to notice sends what is already in, together with what is new
            const start = again ? Math.max(0, from - 5) : from;
            await Promise.all([
              feed(cut, store, events, start, to),
              ...(twice ? [feed(cut, store, events, from, to)] : []),
            ]);
            if (again) await feed(cut, store, events, start, to);
            from = to;
          }
          expect(await contentsOf(cut, store, END)).toEqual(await contentsOf(whole, store, END));
          expect((await store.cursors([cut.view.plan.id])).get(cut.view.plan.id)?.appliedSeq).toBe(events.length);
        }),
        { numRuns: 15 },
      );
    });

    test('built from the log, in parts or whole, has the states that feeding the events gives', async () => {
      const logOf = async (events: readonly PushedEvent[], batchId: string): Promise<readonly LogFile[]> =>
        ingestBuffered({
          source: definition.source,
          rows: events.map(({ seq, eventAt, availableAt, clockAt, eventId, kind: operation, row }) => ({
            seq,
            eventAt: eventAt as number,
            availableAt: availableAt as number,
            clockAt: clockAt!,
            eventId: eventId!,
            versionId: eventId!,
            operation: operation!,
            row: row as Record<string, number | string | null>,
          })),
          batchId,
          blobs,
          workDir,
          duckdb,
        });
      await fc.assert(
        fc.asyncProperty(
          worldsOf(definition),
          fc.integer({ min: 1, max: 60 }),
          fc.integer({ min: 0, max: 60 }),
          async (events, stop, split) => {
            const [fed, built] = [aView(definition), aView(definition)];
            const upToSeq = Math.min(stop, events.length);
            for (let i = 0; i < upToSeq; i++) await feed(fed, store, events, i, i + 1);
            const logFiles = [
              ...(await logOf(events.slice(0, split), `first-${versions}`)),
              ...(await logOf(events.slice(split), `second-${versions}`)),
            ];
            const request = { ...built, logFiles, upToSeq, foldAt: T0 + 4 * MICROS_PER_HOUR, blobs, duckdb };
            await materializeView({ ...request, store });
            const end = await contentsOf(built, store, END);
            expect(end).toEqual(await contentsOf(fed, store, END));
            const parts: Record<string, string> = {};
            for (const part of [0, 1, 2]) {
              for await (const entry of statesOfLog({ ...request, keys: { part, of: 3 } })) {
                const bytes = entry.part === 'rows' ? entry.bytes : foldedBytes(built.view, entry.bytes, END);
                const name = `${entry.part} ${Buffer.from(entry.key).toString('hex')}`;
                expect(parts[name]).toBeUndefined();
                if (bytes !== null) parts[name] = Buffer.from(bytes).toString('hex');
              }
            }
            expect(parts).toEqual(end);
            expect((await store.cursors([built.view.plan.id])).get(built.view.plan.id)).toEqual({
              source: 'flights',
              appliedSeq: upToSeq,
              foldedAt: request.foldAt,
            });
            // what is stored, folded and cut off reads as all of the log does
            const drawn = { shadowId: built.view.plan.id, keys: 1, sample: 100, seed: 1 };
            expect((await checkShadow({ ...request, ...drawn, store })).differences).toEqual([]);
            // and goes on from there
            await feed(built, store, events, Math.max(0, upToSeq - 3), events.length);
            await feed(fed, store, events, upToSeq, events.length);
            expect(await contentsOf(built, store, END)).toEqual(await contentsOf(fed, store, END));
          },
        ),
        { numRuns: 8 },
      );
    });
  });

  test.skipIf(skipped)('a key that is withheld gets no state, whatever arrives', async () => {
    const [tiles, rows] = [
      aView(DEFINITIONS['of tiles']!),
      aView(DEFINITIONS['of rows that are corrected, moved and removed']!),
    ];
    const events = fc.sample(worldsOf(DEFINITIONS['of tiles']!), { numRuns: 1, seed: 7 })[0]!;
    const forgotten = encodeKey(ENTITY.keys, ['SFO'])!;
    for (const each of [tiles, rows]) {
      const withhold = (key: Uint8Array): boolean => forgotten.equals(key);
      await applyToView({ view: each.view, store, events, fromSeqExclusive: 0, toSeq: events.length, withhold });
      const keys = Object.keys(await contentsOf(each, store, T0)).filter((name) => name.startsWith('states'));
      expect(keys).toEqual([`states ${encodeKey(ENTITY.keys, ['JFK'])!.toString('hex')}`]);
    }
  });

  test.skipIf(skipped)('a state that no read can reach any more is dropped', async () => {
    const each = aView(DEFINITIONS['of tiles']!);
    const at = (seq: number, clockAt: number): PushedEvent => ({
      seq,
      eventAt: T0,
      availableAt: T0,
      clockAt,
      row: { at: T0, known: T0, flight: '1', airport: 'SFO', delay: 1, share: 1, what: null },
    });
    const events = [at(1, T0), at(2, T0 + 48 * MICROS_PER_HOUR)];
    await feed(each, store, events, 0, 1);
    const ref = { viewId: each.view.plan.id, key: encodeKey(ENTITY.keys, ['SFO'])! };
    const bytes = (await store.read([ref])).states[0]!;
    const reader = createViewReader(each.view);
    expect(reader.read(reader.decode(bytes), T0).values.slice(0, 2)).toEqual([1, 1]);
    await feed(each, store, events, 1, 2);
    expect((await store.read([ref])).states[0]).toBeNull();
    const folded = (await store.cursors([each.view.plan.id])).get(each.view.plan.id)?.foldedAt;
    expect(folded).toBe(T0 + 48 * MICROS_PER_HOUR - FOLD_LAG_MICROS);
  });

  test.skipIf(skipped)('a cancelled build leaves the view as it was', async () => {
    const each = aView(DEFINITIONS['of tiles']!);
    const events = fc.sample(worldsOf(DEFINITIONS['of tiles']!), { numRuns: 1, seed: 3 })[0]!;
    await feed(each, store, events, 0, 1);
    const before = await contentsOf(each, store, T0);
    const request = {
      ...each,
      logFiles: [],
      upToSeq: 2,
      foldAt: T0,
      blobs,
      duckdb,
      store,
      signal: AbortSignal.abort(),
    };
    await expect(materializeView(request)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await contentsOf(each, store, T0)).toEqual(before);
  });
});
