/**
 * The windows of the flights project (examples/flights) for each of three million departures: the product's own dataset
 * build, and the window query that one writes by hand.
 *
 * The hand-written query has one clock: it takes a flight as happening when it landed, since a window of SQL has one order.
 * The product has two, departure and landing. Windows are exact on both sides; the product is also measured with the hops
 * that the project declares.
 */
import { copyFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { toSql } from '../../domain/project/expression.ts';
import type { BlobRef } from '../../domain/blob.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR } from '../../domain/time.ts';
import { flightsProject } from '../../examples/flights/project.ts';
import { buildDataset } from '../../features/offline/dataset.ts';
import { type DuckDb, type DuckDbSettings, textSql } from '../../features/offline/duckdb.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';

export interface WindowData {
  /** The flights' log: event_at, available_at, ingest_seq, event_id, and the source's columns. */
  readonly log: string;
  /** The same file in a blob store, and the store's folder. */
  readonly blob: BlobRef;
  readonly blobs: string;
  readonly rows: number;
  readonly lastAvailableAt: number;
  readonly firstEventAt: number;
  readonly lastEventAt: number;
}

const FEATURE_SET = 'delay_features@1';
export type Windows = 'exact' | 'as declared';
const LATE_MINUTES = 15;

export async function makeWindowData(duckdb: DuckDb, folder: string, rows: number): Promise<WindowData> {
  const { source } = flights();
  const log = join(folder, 'flights.parquet');
  const available = toSql(source.availableAt);
  // the package exports its code alone, which lies in build/, beside data/
  const code = createRequire(import.meta.url).resolve('vega-datasets');
  const file = join(dirname(code), '..', 'data', 'flights-3m.parquet');
  await duckdb.run(`
    COPY (
      SELECT *, date AS event_at, ${available} AS available_at, CAST(md5(concat_ws(' ', date, delay, distance, origin, destination)) AS UUID) AS event_id,
        ROW_NUMBER() OVER (ORDER BY ${available}, date, delay, distance, origin, destination) AS ingest_seq
      FROM (
        SELECT DISTINCT epoch_us(date) AS date, delay, distance, origin, destination FROM read_parquet(${textSql(file)})
        WHERE delay BETWEEN -120 AND 1500 AND distance BETWEEN 10 AND 5500
        ORDER BY hash(date, delay, distance, origin, destination), date LIMIT ${rows})
      ORDER BY ingest_seq
    ) TO ${textSql(log)} (FORMAT parquet)`);
  const [totals] = await duckdb.rows(
    `SELECT COUNT(*) AS rows, MAX(available_at) AS available, MIN(event_at) AS first, MAX(event_at) AS event FROM read_parquet(${textSql(log)})`,
  );
  const number = (name: string): number => totals![name] as number;
  const blobs = join(folder, 'blobs');
  const copy = join(folder, 'flights-copy.parquet');
  await copyFile(log, copy);
  const blob = await new FileBlobStore(blobs).putFile(copy);
  return {
    log,
    blob,
    blobs,
    rows: number('rows'),
    lastAvailableAt: number('available'),
    firstEventAt: number('first'),
    lastEventAt: number('event'),
  };
}

function flights(): { project: ProjectSpec; source: ProjectSpec['sources'][number] } {
  const project = flightsProject({ sample: 1 });
  return { project, source: project.sources.find(({ name }) => name === 'flights')! };
}

/** All departures as rows of a dataset: spine, windows, derived columns, labels, split, statistics, leakage check, manifest. */
export async function buildBySerin(
  data: WindowData,
  windows: Windows,
  workDir: string,
  duckdb: DuckDbSettings,
  output: string,
): Promise<void> {
  const project = windows === 'exact' ? withoutHops(flights().project) : flights().project;
  const blobs = new FileBlobStore(data.blobs);
  const testFrom = data.firstEventAt + Math.round(0.8 * (data.lastEventAt - data.firstEventAt));
  const { manifest } = await buildDataset({
    project,
    projectDigest: '0'.repeat(64),
    model: 'flight-delay',
    featureSet: FEATURE_SET,
    split: { trainFrom: data.firstEventAt, testFrom, testTo: data.lastEventAt + 1, trainRows: null, testRows: null },
    seed: 1,
    logFiles: {
      flights: [
        {
          blob: data.blob,
          rows: data.rows,
          firstSeq: 1,
          lastSeq: data.rows,
          minEventAt: data.firstEventAt,
          maxEventAt: data.lastEventAt,
          minAvailableAt: data.firstEventAt,
          maxAvailableAt: data.lastAvailableAt,
        },
      ],
    },
    knowledgeCut: { at: data.lastAvailableAt, seq: { flights: data.rows } },
    blobs,
    workDir,
    duckdb,
  });
  await copyFile(await blobs.localPath(manifest.file), output);
}

function withoutHops(project: ProjectSpec): ProjectSpec {
  const views = project.views.map((view) => ({
    ...view,
    features: view.features.map((feature) => ({
      ...feature,
      windows: feature.windows.map((window) => ({ ...window, hopMicros: null })),
    })),
  }));
  return { ...project, views };
}

/** Rows by event and by landing in one order, frames over them; nine windows as in the project. */
export async function joinByHand(duckdb: DuckDb, { log }: WindowData, output: string): Promise<void> {
  const file = `read_parquet(${textSql(log)})`;
  const short = ['w3h', 3 * MICROS_PER_HOUR] as const;
  const day = ['w24h', MICROS_PER_DAY] as const;
  const week = ['w7d', 7 * MICROS_PER_DAY] as const;
  const of = (
    alias: string,
    key: string,
    windows: readonly (readonly [string, number])[],
    means: readonly string[],
  ): string => {
    const shares = windows.map(([name]) => `AVG(late) OVER ${name} AS ${alias}__delay_share__${name.slice(1)}`);
    const frames = windows.map(
      ([name, length]) =>
        `${name} AS (PARTITION BY ${key} ORDER BY t RANGE BETWEEN ${length} PRECEDING AND CURRENT ROW)`,
    );
    return `
      SELECT asked, ${[...shares, ...means.map((name) => `AVG(delay) OVER ${name} AS ${alias}__mean_delay__${name.slice(1)}`)].join(', ')} FROM (
        SELECT ${key}, available_at AS t, CAST(delay >= ${LATE_MINUTES} AS INTEGER) AS late, delay, NULL AS asked FROM ${file}
        UNION ALL SELECT ${key}, event_at, NULL, NULL, ingest_seq FROM ${file}
      ) WINDOW ${frames.join(', ')} QUALIFY asked IS NOT NULL`;
  };
  await duckdb.run(`
    COPY (
      SELECT s.*, o.* EXCLUDE (asked), d.* EXCLUDE (asked), r.* EXCLUDE (asked)
      FROM (SELECT ingest_seq AS row_id, event_at AS as_of, origin, destination, distance, delay >= ${LATE_MINUTES} AS label FROM ${file}) s
      JOIN (${of('origin', 'origin', [short, day, week], ['w3h'])}) o ON s.row_id = o.asked
      JOIN (${of('destination', 'destination', [short, day, week], ['w3h'])}) d ON s.row_id = d.asked
      JOIN (${of('route', 'origin, destination', [week], [])}) r ON s.row_id = r.asked
    ) TO ${textSql(output)} (FORMAT parquet)`);
}

/** The nine values of a sample of the rows, each by a look at all flights of its airport or route in the week before. */
export async function rightWindows(duckdb: DuckDb, { log }: WindowData, rows: number): Promise<WindowAnswers> {
  const file = `read_parquet(${textSql(log)})`;
  const answers = new Map<number, (number | null)[]>();
  const lengths = [3 * MICROS_PER_HOUR, MICROS_PER_DAY, 7 * MICROS_PER_DAY];
  const within = (value: string, length: number): string =>
    `AVG(${value}) FILTER (f.event_at > s.event_at - ${length})`;
  const late = `CAST(f.delay >= ${LATE_MINUTES} AS INTEGER)`;
  const uses = [
    {
      same: 's.origin = f.origin',
      columns: [...lengths.map((length) => within(late, length)), within('f.delay', lengths[0]!)],
    },
    {
      same: 's.destination = f.destination',
      columns: [...lengths.map((length) => within(late, length)), within('f.delay', lengths[0]!)],
    },
    { same: 's.origin = f.origin AND s.destination = f.destination', columns: [within(late, lengths[2]!)] },
  ];
  for (const { same, columns } of uses) {
    const found = await duckdb.rows(`
      SELECT s.ingest_seq AS row_id, ${columns.map((column, c) => `${column} AS c${c}`).join(', ')}
      FROM (SELECT * FROM ${file} ORDER BY hash(ingest_seq, 'sample') LIMIT ${rows}) s
      LEFT JOIN ${file} f ON ${same} AND f.available_at <= s.event_at AND f.event_at <= s.event_at
        AND f.event_at > s.event_at - ${lengths[2]!}
      GROUP BY s.ingest_seq`);
    for (const row of found) {
      const id = row['row_id'] as number;
      const values = columns.map((_, c) => row[`c${c}`] as number | null);
      answers.set(id, [...(answers.get(id) ?? []), ...values]);
    }
  }
  return answers;
}

type WindowAnswers = ReadonlyMap<number, readonly (number | null)[]>;

const WINDOW_COLUMNS = [
  ...['origin', 'destination'].flatMap((alias) => [
    ...['3h', '24h', '7d'].map((window) => `${alias}__delay_share__${window}`),
    `${alias}__mean_delay__3h`,
  ]),
  'route__delay_share__7d',
];

/** How many of these rows a contender's file has otherwise, by more than the rounding of a mean. */
export async function countWrongWindows(duckdb: DuckDb, output: string, right: WindowAnswers): Promise<number> {
  const rows = await duckdb.rows(`
    SELECT row_id, ${WINDOW_COLUMNS.join(', ')} FROM read_parquet(${textSql(output)}) WHERE row_id IN (${[...right.keys()].join(', ')})`);
  const correct = rows.filter((row) =>
    right.get(row['row_id'] as number)!.every((value, c) => {
      const own = row[WINDOW_COLUMNS[c]!] as number | null;
      return value === null || own === null
        ? value === own
        : Math.abs(own - value) <= 1e-9 * Math.max(1, Math.abs(value));
    }),
  );
  return right.size - correct.length;
}
