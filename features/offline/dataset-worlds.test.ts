/** Needs the compiled thread: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import { splitRows } from '../../domain/features/split.ts';
import type { FeatureViewSpec, LabelSpec, ProjectSpec, SourceSpec, SplitSpec } from '../../domain/project/spec.ts';
import type { Datum, Fact } from '../history/fact.ts';
import { compileHistoryView } from '../history/compile.ts';
import { addFact, createHistory, factOf, type KeyHistory, markerOf, readHistory } from '../history/history.ts';
import { knownEvents, readLabel } from '../history/labels.ts';
import type { HistoryPlan } from '../history/plan.ts';
import { vectorNumber } from '../history/vector-number.ts';
import { buildDataset, type BuildDatasetInput } from './dataset.ts';
import type { DatasetCheckpoint } from './dataset-chunks.ts';
import { datasetDefinitions } from './dataset-definitions.ts';
import { labelDefinitions } from './dataset-labels.ts';
import { DuckDb, type ScalarValue, textSql } from './duckdb.ts';
import {
  AGAIN,
  column,
  FEATURES,
  FolderOfBlobs,
  identityOf,
  operationOf,
  ORDERS,
  randomWorld,
  shopProject,
  SOURCES,
  SPINE,
  VIEWS,
  type World,
  type WorldRow,
  writeLog,
  writeWorld,
} from './testing/shop-world.ts';

const CUT = 50;
const SPLIT: SplitSpec = { trainFrom: 0, testFrom: 30, testTo: 45, trainRows: null, testRows: null };
const KINDS = ['put', 'retract', 'tombstone'] as const;

async function aDuckDb(): Promise<DuckDb> {
  const tempDir = await mkdtemp(join(tmpdir(), 'serin-worlds-'));
  const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir });
  onTestFinished(() => duckdb.close());
  return duckdb;
}

async function aBuild(
  blobs: FolderOfBlobs,
  logFiles: Readonly<Record<string, readonly LogFile[]>>,
  overrides: Partial<BuildDatasetInput> = {},
): Promise<BuildDatasetInput> {
  const workDir = await mkdtemp(join(tmpdir(), 'serin-worlds-'));
  return {
    project: shopProject(),
    projectDigest: 'p',
    model: 'shop',
    featureSet: 'inputs@1',
    split: SPLIT,
    seed: 1,
    logFiles,
    knowledgeCut: { at: CUT, seq: { orders: 1000, quotes: 1000, visits: 1000 } },
    blobs,
    workDir,
    duckdb: { memory: '500MB', threads: 1, tempDir: workDir },
    threads: 1,
    ...overrides,
  };
}

async function rowsOf(
  duckdb: DuckDb,
  blobs: FolderOfBlobs,
  { file }: DatasetManifest,
): Promise<Record<string, ScalarValue>[]> {
  return duckdb.rows(`SELECT * FROM read_parquet(${textSql(await blobs.localPath(file))})`);
}

/** The facts of one key among all rows of a source, and what became of rows that are elsewhere now; null: no fact. */
function historyOf(
  plan: HistoryPlan,
  source: SourceSpec,
  rows: readonly WorldRow[],
  key: readonly (string | null)[],
): KeyHistory | null {
  if (key.includes(null)) return null;
  const history = createHistory(plan);
  const isHere = (row: WorldRow): boolean => plan.keyColumns.every((name, part) => row[name] === key[part]);
  const places = new Set(
    rows.filter((row) => operationOf(source, row) !== 2 && isHere(row)).map((row) => identityOf(source, row)),
  );
  let facts = 0;
  rows.forEach((row, i) => {
    const operation = operationOf(source, row);
    const identity = identityOf(source, row);
    const at = { eventAt: row['at'] as number, availableAt: row['known'] as number, seq: i + 1 };
    let fact: Fact;
    if (isHere(row)) fact = factOf(plan, row as Record<string, Datum>, { kind: KINDS[operation], ...at, identity });
    else if (operation !== 2 && plan.identity === 'row_id' && places.has(identity)) fact = markerOf(identity, at);
    else return;
    addFact(plan, history, fact);
    facts++;
  });
  return facts === 0 ? null : history;
}

function kernelRow(
  project: ProjectSpec,
  world: World,
  row: Record<string, ScalarValue>,
): Record<string, number | null> {
  const set = project.featureSets[0]!;
  const values: Record<string, number | null> = {};
  for (const use of set.views) {
    const view = project.views.find(({ name }) => `${name}@1` === use.view)! as FeatureViewSpec;
    const source = SOURCES.find(({ name }) => name === view.source)!;
    const plan = compileHistoryView(
      view,
      source,
      project.entities.find(({ name }) => name === view.entity)!,
    );
    const key = use.key.map((field) => row[field] as string | null);
    const history = historyOf(plan, source, world[source.name as keyof World], key);
    const read = readHistory(plan, history, row['as_of'] as number);
    for (const feature of set.features) {
      if (feature.kind !== 'view' || feature.alias !== use.alias) continue;
      const output = plan.outputs.findIndex(
        (each) => each.feature === feature.feature && each.window === feature.window,
      );
      const value = vectorNumber(read.values[output]!);
      values[feature.name] = Number.isNaN(value) ? null : value;
    }
  }
  const [home, away] = [values['home__quote'], values['away__quote']];
  values['quote_gap'] = home === null || away === null ? null : home! - away!;
  return values;
}

test.each([1, 2, 3, 4])(
  'world %i: every cell of a dataset is the answer of the kernel to that row alone',
  { timeout: 120_000 },
  async (seed) => {
    const [duckdb, blobs, world] = [await aDuckDb(), new FolderOfBlobs(), randomWorld(seed, { rows: 160 })];
    const input = await aBuild(blobs, await writeWorld(duckdb, blobs, world), {
      chunkSize: { events: 50 * seed, questions: 1000 },
    });
    const { manifest } = await buildDataset(input);
    const rows = await rowsOf(duckdb, blobs, manifest);
    expect(rows).toHaveLength(world.visits.filter(({ at }) => (at as number) < SPLIT.testTo).length);
    const features = (row: Record<string, ScalarValue>) =>
      Object.fromEntries(FEATURES.map(({ name }) => [name, row[name]]));
    expect(rows.map((row) => ({ row: row['row_id'], ...features(row) }))).toEqual(
      rows.map((row) => ({ row: row['row_id'], ...kernelRow(input.project, world, row) })),
    );
    for (const row of rows) {
      const visit = world.visits[(row['row_id'] as number) - 1]!;
      const known = Math.max(visit['at'] as number, visit['known'] as number) <= CUT;
      expect([row['label_status'], row['label']]).toEqual(
        known ? ['VALUE', Number(visit['bought'])] : ['IMMATURE', null],
      );
    }
  },
);

test(
  'neither chunks nor threads nor memory change a byte, and no intermediate file stays',
  { timeout: 120_000 },
  async () => {
    const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
    const logs = await writeWorld(duckdb, blobs, randomWorld(77, { rows: 300 }));
    const before = blobs.size;
    const whole = await buildDataset(await aBuild(blobs, logs));
    for (const [events, questions, threads] of [
      [100, 1000, 1],
      [1000, 150, 2],
      [100, 90, 3],
    ] as const) {
      const cut = await buildDataset(await aBuild(blobs, logs, { threads, chunkSize: { events, questions } }));
      expect(cut.manifestRef).toEqual(whole.manifestRef);
    }
    expect(blobs.size - before).toBe(2);
  },
);

test('a build that was cut off goes on with the chunks that are done', { timeout: 120_000 }, async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const logs = await writeWorld(duckdb, blobs, randomWorld(5, { rows: 300 }));
  const input = await aBuild(blobs, logs, { chunkSize: { events: 150, questions: 10_000 } });
  const controller = new AbortController();
  let checkpoint: DatasetCheckpoint | undefined;
  const first = buildDataset({
    ...input,
    signal: controller.signal,
    onCheckpoint: (latest) => {
      checkpoint = latest;
      if (Object.keys(latest.chunks).length === 4) controller.abort();
    },
  });
  await expect(first).rejects.toMatchObject({ code: 'CANCELLED' });
  const done = Object.keys(checkpoint!.chunks);
  expect(done.length).toBeGreaterThanOrEqual(4);

  const made: string[] = [];
  const seen: number[] = [];
  const resumed = await buildDataset({
    ...input,
    checkpoint: checkpoint!,
    onCheckpoint: ({ chunks }) => made.push(...Object.keys(chunks)),
    onProgress: (now, total) => {
      expect(now).toBeGreaterThanOrEqual(seen.at(-1) ?? 0);
      expect(now).toBeLessThanOrEqual(total);
      seen.push(now / total);
    },
  });
  const fresh = await buildDataset({ ...input, blobs: await withLogs(blobs) });
  expect(seen.at(-1)).toBe(1);
  expect(resumed.manifestRef).toEqual(fresh.manifestRef);
  // each checkpoint holds all chunks there are: the first of the second attempt has one more than the last of the first
  expect(made.slice(0, done.length + 1)).toEqual(expect.arrayContaining(done));
  const other = await buildDataset({ ...input, seed: 2, checkpoint: checkpoint! });
  expect(other.manifestRef).not.toEqual(fresh.manifestRef);
});

/** The same store: chunks that are gone are made again. */
const withLogs = (blobs: FolderOfBlobs): Promise<FolderOfBlobs> => Promise.resolve(blobs);

test(
  'what arrives later, of whatever past, and compaction leave a dataset as it was',
  { timeout: 120_000 },
  async () => {
    const [duckdb, blobs, world] = [await aDuckDb(), new FolderOfBlobs(), randomWorld(9)];
    const logs = await writeWorld(duckdb, blobs, world);
    const seq = { orders: world.orders.length, quotes: world.quotes.length, visits: world.visits.length };
    const knowledgeCut = { at: CUT, seq };
    const before = await buildDataset(await aBuild(blobs, logs, { knowledgeCut }));

    // corrections, cancellations and tombstones of known rows, known at times long past
    const late = randomWorld(10);
    const withLate: Record<string, LogFile[]> = {};
    for (const source of SOURCES) {
      const rows = late[source.name as keyof World];
      withLate[source.name] = [
        ...logs[source.name]!,
        await writeLog(duckdb, blobs, source, rows, seq[source.name as keyof World] + 1),
      ];
    }
    const again = await buildDataset(await aBuild(blobs, withLate, { knowledgeCut }));
    expect(again.manifestRef).toEqual(before.manifestRef);

    const compacted: Record<string, LogFile[]> = {};
    for (const source of SOURCES) {
      compacted[source.name] = [
        await writeLog(
          duckdb,
          blobs,
          source,
          [...world[source.name as keyof World], ...late[source.name as keyof World]],
          1,
        ),
      ];
    }
    const after = await buildDataset(await aBuild(blobs, compacted, { knowledgeCut }));
    expect(after.manifest.file).toEqual(before.manifest.file);

    const now = await buildDataset(await aBuild(blobs, withLate));
    expect(now.manifest.file).not.toEqual(before.manifest.file);
  },
);

test.each([11, 12].map((seed) => [seed, seed % 2 === 0 ? ('any' as const) : ('sum' as const)] as const))(
  'world %i: labels over a window (%s) are those of the kernel, row by row',
  { timeout: 120_000 },
  async (seed, fn) => {
    const [duckdb, blobs, world] = [await aDuckDb(), new FolderOfBlobs(), randomWorld(seed, { rows: 160 })];
    const label: LabelSpec = { ...AGAIN, window: { ...AGAIN.window!, fn, earlyPositive: seed % 4 !== 0 } };
    const project = shopProject({ label });
    const input = await aBuild(blobs, await writeWorld(duckdb, blobs, world), {
      project,
      split: { ...SPLIT, embargoMicros: 1, group: 'customer' },
      chunkSize: { events: 80, questions: 1000 },
    });
    const { manifest } = await buildDataset(input);
    const rows = await rowsOf(duckdb, blobs, manifest);
    const { plan, source, censorSource } = labelDefinitions(datasetDefinitions(project, 'shop', 'inputs@1'));
    const expected = rows.map((row) => {
      const events = historyOf(plan.events, source, world.orders, [row['customer'] as string | null]);
      const censors = historyOf(plan.censors!, censorSource!, world.quotes, [row['home'] as string | null]);
      const read = readLabel(
        plan,
        knownEvents(plan.events, events, CUT),
        knownEvents(plan.censors!, censors, CUT),
        row['as_of'] as number,
        CUT,
      );
      const value = vectorNumber(read.value);
      return [row['row_id'], read.status, Number.isNaN(value) ? null : value];
    });
    expect(rows.map((row) => [row['row_id'], row['label_status'], row['label']])).toEqual(expected);
    const statuses = new Set(rows.map((row) => row['label_status']));
    for (const status of fn === 'any' ? ['POSITIVE', 'NEGATIVE', 'CENSORED', 'IMMATURE'] : ['VALUE', 'CENSORED'])
      expect(statuses).toContain(status);

    const rule = { testStart: 30, testEnd: 45, gap: 1, horizon: 6, delay: 2, embargo: 1 };
    const [times, groups] = [rows.map((row) => row['as_of'] as number), rows.map((row) => row['customer']!)];
    expect(rows.map((row) => row['split'])).toEqual(splitRows(rule, times, groups));
    expect(Object.values(manifest.splits).reduce((sum, counts) => sum + counts.rows, 0)).toBe(rows.length);
  },
);

test('a corrected event of the spine is one row, under the number it came with', async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const order = (rest: WorldRow): WorldRow => ({
    at: 5,
    known: 5,
    id: 'o',
    customer: 'a',
    store: 's',
    amount: 1,
    ...rest,
  });
  const world: World = {
    ...randomWorld(3),
    orders: [
      order({}),
      order({ id: 'gone', at: 6, known: 6 }),
      order({ known: 20, amount: 3, customer: 'b' }),
      order({ id: 'gone', known: 21, what: 'cancel' }),
      order({ known: 60, amount: 4 }),
      order({ id: 'test', at: 35, known: 36, amount: 0 }),
      order({ id: 'later', at: 36, known: 55, amount: 2 }),
    ],
  };
  const project = shopProject({
    spine: {
      ...SPINE,
      source: 'orders',
      request: [
        { name: 'customer', value: column('customer') },
        { name: 'home', value: column('store') },
        { name: 'away', value: column('store') },
      ],
    },
    label: { name: 'amount', source: 'orders', of: column('amount'), description: '' },
  });
  const { manifest } = await buildDataset(await aBuild(blobs, await writeWorld(duckdb, blobs, world), { project }));
  const rows = await rowsOf(duckdb, blobs, manifest);
  expect(rows.map((row) => [row['row_id'], row['customer'], row['label'], row['label_status'], row['split']])).toEqual([
    [1, 'b', 3, 'VALUE', 'TRAIN'],
    [6, 'a', 0, 'VALUE', 'TEST'],
    [7, 'a', null, 'IMMATURE', 'TEST'],
  ]);
  expect(manifest.leakage).toContainEqual(
    expect.objectContaining({ feature: 'customer__*', kind: 'own_event', severity: 'fail' }),
  );
  expect(ORDERS.revisions).toBe('versions');
  expect(VIEWS).toHaveLength(5);
});

test('a source whose events become known after the label is worth a look; an exclusive view relies on no assumption', async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const at = Array.from({ length: 40 }, (_, i) => i);
  const world: World = {
    orders: at.map((n) => ({ at: n, known: n, id: `o${n}`, customer: 'a', store: 's', amount: 1, vip: true })),
    quotes: at.map((n) => ({ at: n, known: n + 20, store: 's', quote: 1 })),
    visits: at.map((n) => ({
      at: n,
      known: n + 3,
      id: `v${n}`,
      customer: 'a',
      home: 's',
      away: 't',
      bought: n % 2 > 0,
    })),
  };
  const logs = await writeWorld(duckdb, blobs, world);
  const own = await buildDataset(await aBuild(blobs, logs));
  expect(own.manifest.leakage.map(({ feature, kind, severity }) => [feature, kind, severity])).toEqual([
    ['home__*', 'availability', 'warn'],
    ['away__*', 'availability', 'warn'],
  ]);
  expect(own.manifest.leakage[0]!.sentence).toContain(
    'become known 20 µs after they happen or later, which is after the label is (3 µs)',
  );

  // the label is over orders now, which are known the moment they happen; the view by store is exclusive
  const again = await buildDataset(await aBuild(blobs, logs, { project: shopProject({ label: AGAIN }) }));
  expect(again.manifest.leakage.map(({ feature, kind }) => [feature, kind])).toEqual([
    ['customer__*', 'availability'],
    ['all__*', 'availability'],
    ['home__*', 'availability'],
    ['away__*', 'availability'],
  ]);
  expect(again.manifest.leakage[0]!.sentence).toContain('All 40 events of orders are available the moment they happen');
});

test('memory that does not do is said, with what to raise', async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const input = await aBuild(blobs, await writeWorld(duckdb, blobs, randomWorld(1, { rows: 2_000 })));
  const building = buildDataset({ ...input, duckdb: { ...input.duckdb, memory: '1MB' } });
  await expect(building).rejects.toMatchObject({
    code: 'MEMORY_LIMIT',
    message: expect.stringContaining('within 1MB of memory: raise SERIN_DUCKDB_MEMORY') as string,
  });
});
