/** Needs the compiled thread: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { BlobStore } from '../../domain/blob.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { Expression } from '../../domain/project/expression.ts';
import {
  type AggregateSpec,
  type FeatureSpec,
  type ModelSpec,
  PROJECT_FORMAT,
  type ProjectSpec,
  type SplitSpec,
  type WindowSpec,
} from '../../domain/project/spec.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR } from '../../domain/time.ts';
import { buildDataset, type BuildDatasetInput } from './dataset.ts';
import { DuckDb, type ScalarValue, textSql } from './duckdb.ts';
import { FolderOfBlobs } from './testing/shop-world.ts';

const FLIGHTS = new URL('../../node_modules/vega-datasets/data/flights-3m.parquet', import.meta.url).pathname;

const column = (name: string): Expression => ({ op: 'column', name });
const number = (value: number): Expression => ({ op: 'literal', value, type: 'i64' });
const late: Expression = { op: 'gt', left: column('delay'), right: number(15) };

const WINDOWS: readonly WindowSpec[] = [
  { name: '3h', lengthMicros: 3 * MICROS_PER_HOUR, hopMicros: null },
  { name: '24h', lengthMicros: MICROS_PER_DAY, hopMicros: MICROS_PER_HOUR },
  { name: '7d', lengthMicros: 7 * MICROS_PER_DAY, hopMicros: MICROS_PER_DAY },
];

const AGGREGATES: readonly AggregateSpec[] = [
  { name: 'flights', fn: 'count', of: null, where: null, windows: WINDOWS, default: null, description: '' },
  { name: 'delay', fn: 'mean', of: column('delay'), where: null, windows: WINDOWS, default: null, description: '' },
  { name: 'late', fn: 'share', of: late, where: null, windows: WINDOWS, default: null, description: '' },
  { name: 'worst', fn: 'max', of: column('delay'), where: late, windows: WINDOWS, default: 0, description: '' },
];

const VIEWS = [
  { alias: 'origin', view: 'origin_delays@1', key: ['origin'] },
  { alias: 'destination', view: 'origin_delays@1', key: ['destination'] },
  { alias: 'route', view: 'route_delays@1', key: ['origin', 'destination'] },
] as const;

const viewFeatures: readonly FeatureSpec[] = VIEWS.flatMap(({ alias }) =>
  AGGREGATES.flatMap(({ name: feature, windows }) =>
    windows.map(({ name: window }) => ({
      kind: 'view' as const,
      name: `${alias}__${feature}__${window}`,
      alias,
      feature,
      window,
    })),
  ),
);

function flightsProject({
  asOfMinutes = -60,
  features = [],
}: { asOfMinutes?: number; features?: readonly FeatureSpec[] } = {}): ProjectSpec {
  const airport = (name: string) => ({ name, type: 'str' as const, nullable: true, pii: false, description: '' });
  const model = { name: 'delay', spine: 'departures', label: 'is_late' } as ModelSpec;
  return {
    format: PROJECT_FORMAT,
    name: 'flights',
    description: '',
    sources: [
      {
        name: 'flights',
        description: '',
        owner: 'tests',
        columns: [
          { name: 'date', type: 'ts', nullable: false, pii: false, description: '' },
          { name: 'delay', type: 'i64', nullable: false, pii: false, description: '' },
          { name: 'distance', type: 'i64', nullable: false, pii: false, description: '' },
          airport('origin'),
          airport('destination'),
        ],
        eventAt: 'date',
        zone: 'UTC',
        availableAt: column('date'),
        eventId: ['date', 'origin', 'destination'],
        freshnessSlaSeconds: 3600,
      },
    ],
    entities: [
      { name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' },
      {
        name: 'route',
        keys: [
          { name: 'origin', type: 'str' },
          { name: 'destination', type: 'str' },
        ],
        description: '',
      },
    ],
    views: [
      {
        name: 'origin_delays',
        version: 1,
        entity: 'airport',
        source: 'flights',
        key: ['origin'],
        features: AGGREGATES,
        owner: '',
        description: '',
      },
      {
        name: 'route_delays',
        version: 1,
        entity: 'route',
        source: 'flights',
        key: ['origin', 'destination'],
        features: AGGREGATES,
        owner: '',
        description: '',
      },
    ],
    featureSets: [
      {
        name: 'delay_inputs',
        version: 1,
        request: [
          { name: 'origin', type: 'str', description: '' },
          { name: 'destination', type: 'str', description: '' },
          { name: 'distance', type: 'i64', description: '' },
          { name: 'outcome', type: 'i64', description: '' },
        ],
        views: VIEWS,
        features: [
          { kind: 'derived', name: 'hour', expression: { op: 'hourOfDay', of: column('as_of') }, description: '' },
          ...viewFeatures,
          {
            kind: 'derived',
            name: 'busy',
            expression: { op: 'div', left: column('origin__flights__24h'), right: column('distance') },
            description: '',
          },
          ...features,
        ],
        description: '',
      },
    ],
    spines: [
      {
        name: 'departures',
        source: 'flights',
        asOf: { op: 'plusMinutes', at: column('date'), minutes: number(asOfMinutes) },
        where: null,
        request: ['origin', 'destination', 'distance', 'outcome'].map((name) => ({
          name,
          value: column(name === 'outcome' ? 'delay' : name),
        })),
      },
    ],
    labels: [{ name: 'is_late', source: 'flights', of: late, description: '' }],
    models: [model],
  };
}

const aFolder = () => mkdtemp(join(tmpdir(), 'serin-dataset-'));

async function aDuckDb(): Promise<DuckDb> {
  const duckdb = await DuckDb.open({ memory: '1GB', threads: 1, tempDir: await aFolder() });
  onTestFinished(() => duckdb.close());
  return duckdb;
}

/** The log of `events` (a query that gives date µs, delay, distance, origin, destination, available_at), in two files. */
async function flightsLog(duckdb: DuckDb, blobs: BlobStore, events: string): Promise<LogFile[]> {
  await duckdb.run(`
    CREATE OR REPLACE TABLE log AS
    SELECT date AS event_at, available_at, ROW_NUMBER() OVER (ORDER BY available_at, date, origin, destination, delay, distance) AS ingest_seq,
      uuid() AS event_id, date, delay, distance, origin, destination
    FROM (${events})`);
  const [{ rows } = { rows: 0 }] = (await duckdb.rows('SELECT COUNT(*) AS rows FROM log')) as { rows: number }[];
  const half = Math.ceil(rows / 2);
  const files: LogFile[] = [];
  for (const [firstSeq, lastSeq] of [
    [1, half],
    [half + 1, rows],
  ] as const) {
    const path = join(await aFolder(), 'log.parquet');
    const chosen = `FROM log WHERE ingest_seq BETWEEN ${firstSeq} AND ${lastSeq}`;
    const [bounds] = await duckdb.rows(
      `SELECT MIN(event_at) AS a, MAX(event_at) AS b, MIN(available_at) AS c, MAX(available_at) AS d ${chosen}`,
    );
    const { a, b, c, d } = bounds as { a: number; b: number; c: number; d: number };
    await duckdb.run(
      `COPY (SELECT * ${chosen} ORDER BY available_at, ingest_seq) TO ${textSql(path)} (FORMAT parquet)`,
    );
    files.push({
      blob: await blobs.putFile(path),
      rows: lastSeq - firstSeq + 1,
      firstSeq,
      lastSeq,
      minEventAt: a,
      maxEventAt: b,
      minAvailableAt: c,
      maxAvailableAt: d,
    });
  }
  return files;
}

/** A seeded share of the 3M flights of the first half of 2001; known when landed: 45 min and distance / 7.5 after departure, plus the delay. */
const realFlights = (percent: number) => `
  SELECT epoch_us(date) AS date, delay, distance, origin, destination,
    epoch_us(date) + CAST((45 + distance / 7.5 + GREATEST(delay, 0)) * 60000000 AS BIGINT) AS available_at
  FROM (SELECT *, ROW_NUMBER() OVER () AS n FROM read_parquet(${textSql(FLIGHTS)}))
  WHERE (n * 7919 + 13) % 100 < ${percent}`;

const at = (text: string): number => Date.parse(text) * 1000;
const SPLIT: SplitSpec = {
  trainFrom: at('2001-02-01Z'),
  testFrom: at('2001-05-01Z'),
  testTo: at('2001-06-01Z'),
  trainRows: 4000,
  testRows: 1500,
};

function anInput(
  logFiles: LogFile[],
  blobs: BlobStore,
  workDir: string,
  overrides: Partial<BuildDatasetInput> = {},
): BuildDatasetInput {
  return {
    project: flightsProject(),
    projectDigest: 'a'.repeat(64),
    model: 'delay',
    featureSet: 'delay_inputs@1',
    split: SPLIT,
    seed: 7,
    logFiles: { flights: logFiles },
    knowledgeCut: { at: at('2001-07-02Z'), seq: { flights: logFiles.at(-1)!.lastSeq } },
    blobs,
    workDir,
    duckdb: { memory: '500MB', threads: 1, tempDir: workDir },
    ...overrides,
  };
}

type Events = ReadonlyMap<ScalarValue, readonly Record<string, ScalarValue>[]>;

/** The definitions of the features, over all events of an origin, one cell at a time. */
function naiveCell(events: Events, row: Record<string, ScalarValue>, name: string): number | null {
  const asOf = row['as_of'] as number;
  if (name === 'hour') return new Date(asOf / 1000).getUTCHours();
  if (name === 'busy') return naiveCell(events, row, 'origin__flights__24h')! / (row['distance'] as number);
  const [alias, feature, windowName] = name.split('__');
  const { lengthMicros, hopMicros } = WINDOWS.find((window) => window.name === windowName)!;
  const since = asOf - lengthMicros!;
  const start = hopMicros === null ? since : Math.floor(since / hopMicros) * hopMicros;
  const delays =
    events
      .get(row[alias === 'destination' ? 'destination' : 'origin']!)
      ?.filter(
        (event) =>
          (event['event_at'] as number) > start &&
          (event['event_at'] as number) <= asOf &&
          (event['available_at'] as number) <= asOf &&
          (alias !== 'route' || event['destination'] === row['destination']),
      )
      .map((event) => event['delay'] as number) ?? [];
  if (feature === 'flights') return delays.length;
  if (feature === 'worst') return Math.max(0, ...delays.filter((delay) => delay > 15));
  if (delays.length === 0) return null;
  const total =
    feature === 'delay' ? delays.reduce((sum, delay) => sum + delay, 0) : delays.filter((delay) => delay > 15).length;
  return total / delays.length;
}

test(
  'a dataset of real flights equals a scan of all events, cell by cell, and the same input gives the same bytes',
  { timeout: 180_000 },
  async () => {
    const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
    const log = await flightsLog(duckdb, blobs, realFlights(2));
    const steps: number[] = [];
    const { manifest, manifestRef } = await buildDataset(
      anInput(log, blobs, workDir, { onProgress: (done, total) => steps.push(done / total) }),
    );

    expect(steps.at(-1)).toBe(1);
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    expect([manifest.splits.TRAIN.rows, manifest.splits.TEST.rows]).toEqual([4000, 1500]);
    expect(manifest.splits.TRAIN.candidates).toBeGreaterThan(20_000);
    expect(manifest.leakage).toEqual([]);

    const file = `read_parquet(${textSql(await blobs.localPath(manifest.file))})`;
    const rows = await duckdb.rows(`SELECT * FROM ${file} ORDER BY (row_id * 7919) % 10007 LIMIT 300`);
    const events = await duckdb.rows('SELECT event_at, available_at, origin, destination, delay, ingest_seq FROM log');
    const byOrigin = new Map<ScalarValue, Record<string, ScalarValue>[]>();
    for (const event of events)
      (byOrigin.get(event['origin']!) ?? byOrigin.set(event['origin']!, []).get(event['origin']!)!).push(event);
    const mismatches = rows.flatMap((row) =>
      manifest.features
        .map((name) => ({ name, row: row['row_id'], got: row[name], expected: naiveCell(byOrigin, row, name) }))
        .filter(({ got, expected }) => got !== expected),
    );
    expect(mismatches).toEqual([]);
    const outcomes = new Map(events.map((event) => [event['ingest_seq'], event['delay'] as number]));
    expect(
      rows.every(
        (row) => row['label'] === Number(outcomes.get(row['row_id']!)! > 15) && row['label_status'] === 'VALUE',
      ),
    ).toBe(true);
    // all kinds of windows have events, and some are empty
    for (const name of ['route__delay__24h', 'origin__delay__3h']) {
      const nulls = rows.filter((row) => row[name] === null).length;
      expect(nulls, name).toBeGreaterThan(0);
      expect(nulls, name).toBeLessThan(300);
    }

    const again = await buildDataset(
      anInput(log, blobs, workDir, { duckdb: { memory: '800MB', threads: 2, tempDir: workDir } }),
    );
    expect(again.manifestRef).toEqual(manifestRef);
    const reseeded = await buildDataset(anInput(log, blobs, workDir, { seed: 8 }));
    expect(reseeded.manifestRef.sha256).not.toBe(manifestRef.sha256);
  },
);

test('statistics freeze the deciles of the training rows', { timeout: 180_000 }, async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, realFlights(1));
  const { manifest } = await buildDataset(anInput(log, blobs, workDir));
  const file = `read_parquet(${textSql(await blobs.localPath(manifest.file))})`;
  const feature = 'origin__delay__7d';
  const [expected] = await duckdb.rows(`
    SELECT COUNT(*) AS rows, COUNT(*) - COUNT(${feature}) AS nulls, AVG(${feature}) AS mean, STDDEV_SAMP(${feature}) AS deviation,
      MIN(${feature}) AS min, MAX(${feature}) AS max, QUANTILE_CONT(${feature}, 0.3) AS third
    FROM ${file} WHERE split = 'TRAIN'`);
  const statistics = manifest.statistics.find((each) => each.feature === feature)!;
  expect(statistics).toMatchObject({
    rows: expected!['rows'],
    nulls: expected!['nulls'],
    min: expected!['min'],
    max: expected!['max'],
  });
  expect(statistics.mean).toBeCloseTo(expected!['mean'] as number, 9);
  expect(statistics.standardDeviation).toBeCloseTo(expected!['deviation'] as number, 9);
  expect(statistics.edges).toHaveLength(9);
  expect(statistics.edges[2]).toBeCloseTo(expected!['third'] as number, 9);
  expect(statistics.counts.reduce((sum, count) => sum + count, 0)).toBe(statistics.rows - statistics.nulls);
});

/** Ten flights a day, one of them with a null origin; each known two days after it happened. */
const slowFlights = `
  SELECT ${at('2001-01-01Z')} + n * ${MICROS_PER_DAY / 10} AS date, n % 30 AS delay, 100 + n AS distance,
    CASE WHEN n % 10 = 3 THEN NULL ELSE 'A' || n % 3 END AS origin, 'B' AS destination,
    ${at('2001-01-01Z')} + n * ${MICROS_PER_DAY / 10} + 2 * ${MICROS_PER_DAY} AS available_at
  FROM range(1000) t(n)`;
const SLOW_SPLIT: SplitSpec = {
  trainFrom: at('2001-01-11Z'),
  testFrom: at('2001-02-10Z'),
  testTo: at('2001-02-20Z'),
  trainRows: null,
  testRows: null,
};

test('training rows whose label comes after the test range began are purged, and unknown labels are immature, never negative', async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, slowFlights);
  const cutAt = at('2001-02-15Z');
  const { manifest } = await buildDataset(
    anInput(log, blobs, workDir, { split: SLOW_SPLIT, knowledgeCut: { at: cutAt, seq: { flights: 1000 } } }),
  );
  const file = `read_parquet(${textSql(await blobs.localPath(manifest.file))})`;
  // as_of = date − 1 h, label known at date + 2 d
  const [rows] = await duckdb.rows(`
    SELECT COUNT(*) FILTER (split = 'TRAIN') AS train, COUNT(*) FILTER (split = 'PURGED') AS purged, COUNT(*) FILTER (split = 'TEST') AS test,
      COUNT(*) FILTER (split = 'TRAIN' AND as_of + ${MICROS_PER_HOUR + 2 * MICROS_PER_DAY} > ${SLOW_SPLIT.testFrom}) AS leaked,
      COUNT(*) FILTER (label_status = 'IMMATURE') AS immature, COUNT(*) FILTER (label_status = 'IMMATURE' AND label IS NOT NULL) AS invented,
      MAX(as_of) FILTER (label_status = 'VALUE') AS last_known, MAX(as_of) AS last, MAX(origin__flights__7d) FILTER (origin IS NULL) AS of_null
    FROM ${file}`);
  expect(rows).toEqual({
    train: 280,
    purged: 20,
    test: 50,
    leaked: 0,
    immature: 20,
    invented: 0,
    last_known: cutAt - 2 * MICROS_PER_DAY - MICROS_PER_HOUR,
    last: cutAt - MICROS_PER_HOUR,
    of_null: 0,
  });
  expect(manifest.splits.TEST).toMatchObject({ rows: 50, immature: 20, labelled: 30 });
});

test('events numbered after the cut do not exist', async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, slowFlights);
  const split = { ...SLOW_SPLIT, testTo: at('2001-04-01Z') };
  const cut = (seq: number) => ({ at: at('2001-06-01Z'), seq: { flights: seq } });
  const { manifest } = await buildDataset(anInput(log, blobs, workDir, { split, knowledgeCut: cut(450) }));
  expect(manifest.lastAsOf).toBe(at('2001-01-01Z') + 449 * (MICROS_PER_DAY / 10) - MICROS_PER_HOUR);
  expect(manifest.inputs['flights']).toEqual(log.slice(0, 1));
});

test('a row that sees its own event and a feature that is the outcome are found', async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, slowFlights);
  const features: FeatureSpec[] = [
    { kind: 'derived', name: 'outcome_copy', expression: column('outcome'), description: '' },
  ];
  const project = flightsProject({ asOfMinutes: 3 * 24 * 60, features });
  const { manifest } = await buildDataset(anInput(log, blobs, workDir, { project, split: SLOW_SPLIT }));
  const found = manifest.leakage.map(({ feature, kind, severity, value }) => ({ feature, kind, severity, value }));
  // nine of ten rows have an origin; no flight leaves from B, so the destination view is clean
  expect(found.filter(({ kind }) => kind === 'own_event')).toEqual([
    { feature: 'origin__*', kind: 'own_event', severity: 'fail', value: 0.9 },
    { feature: 'route__*', kind: 'own_event', severity: 'fail', value: 0.9 },
  ]);
  expect(found).toContainEqual({ feature: 'outcome_copy', kind: 'separation', severity: 'fail', value: 1 });
  expect(manifest.leakage[0]!.sentence).toContain('(90.0 %) see their own event of flights');
});

test('an empty range and an unknown feature set are refused by name', async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, slowFlights);
  await expect(
    buildDataset(
      anInput(log, blobs, workDir, {
        split: { ...SLOW_SPLIT, trainFrom: at('2000-01-01Z'), testFrom: at('2000-02-01Z') },
      }),
    ),
  ).rejects.toMatchObject({
    code: 'DATASET_EMPTY',
    message:
      'the spine "departures" has no training rows from 2000-01-01T00:00:00.000Z to 2000-02-01T00:00:00.000Z in what was known at 2001-07-02T00:00:00.000Z',
  });
  await expect(buildDataset(anInput(log, blobs, workDir, { featureSet: 'delay_inputs@9' }))).rejects.toMatchObject({
    code: 'REFERENCE_MISSING',
  });
  await expect(buildDataset(anInput(log, blobs, workDir, { knowledgeCut: { at: 0, seq: {} } }))).rejects.toMatchObject({
    code: 'REFERENCE_MISSING',
  });
});

test('a build that is cancelled says so', async () => {
  const [duckdb, blobs, workDir] = [await aDuckDb(), new FolderOfBlobs(), await aFolder()];
  const log = await flightsLog(duckdb, blobs, slowFlights);
  const controller = new AbortController();
  const building = buildDataset(
    anInput(log, blobs, workDir, {
      split: SLOW_SPLIT,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    }),
  );
  await expect(building).rejects.toMatchObject({ code: 'CANCELLED' });
});
