/**
 * Two hourly tables of airports and routes, as a feature team has them, and the rows that ask: seeded, made by DuckDB.
 * Every hour is known five minutes after its end, but for the tenth of it that comes six hours late, and a twentieth is
 * corrected after twelve hours: the same key and hour again, with other values.
 */
import { join } from 'node:path';
import type { EntitySpec, FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../../domain/time.ts';
import { type DuckDb, textSql } from '../../features/offline/duckdb.ts';
import { latestOf } from './latest-of.ts';

export interface LatestData {
  /** row_id, as_of (µs), event_timestamp (the same, for Feast), origin, dest */
  readonly spine: string;
  readonly rows: number;
  readonly tables: readonly LatestTable[];
}

export interface LatestTable {
  readonly name: string;
  readonly path: string;
  readonly key: readonly string[];
  readonly ttlMicros: number;
  readonly values: readonly string[];
}

const START = 978_307_200_000_000; // 2001-01-01
const YEAR = 365 * MICROS_PER_DAY;
const VALUES = ['mean_delay', 'flights', 'late_share', 'cancelled'] as const;
const ROUTES = 3399;

/** @param rows of the spine, within a year for a million of them; the tables have 0.45 and 2.7 times as many */
export async function makeLatestData(duckdb: DuckDb, folder: string, rows: number): Promise<LatestData> {
  // fewer rows are of a shorter time, so that they are as late and as often corrected
  const span = Math.max(30 * MICROS_PER_DAY, Math.round((YEAR * rows) / 1e6));
  const origin = (k: string): string => `'O' || lpad(CAST(${k} AS VARCHAR), 3, '0')`;
  const dest = `'D' || lpad(CAST(k % 15 AS VARCHAR), 3, '0')`;
  const tables: LatestTable[] = [
    { name: 'airport_hourly', key: ['origin'], ttlMicros: MICROS_PER_DAY },
    { name: 'route_hourly', key: ['origin', 'dest'], ttlMicros: 7 * MICROS_PER_DAY },
  ].map((table) => ({ ...table, path: join(folder, `${table.name}.parquet`), values: VALUES }));
  await writeHourly(duckdb, tables[0]!.path, 229, span, 1852, `${origin('k')} AS origin`, 1);
  await writeHourly(duckdb, tables[1]!.path, ROUTES, span, 767, `${origin('k // 15')} AS origin, ${dest} AS dest`, 2);
  const spine = join(folder, 'spine.parquet');
  await duckdb.run(`
    COPY (
      SELECT *, make_timestamptz(as_of) AS event_timestamp FROM (
        SELECT i AS row_id, ${START} + CAST(hash(i, 7) % ${span} AS BIGINT) AS as_of, ${origin('k // 15')} AS origin, ${dest} AS dest
        FROM (SELECT i, hash(i, 8) % ${ROUTES} AS k FROM range(${rows}) t(i)))
      ORDER BY as_of, row_id
    ) TO ${textSql(spine)} (FORMAT parquet)`);
  return { spine, rows, tables };
}

async function writeHourly(
  duckdb: DuckDb,
  path: string,
  keys: number,
  span: number,
  hoursInYear: number,
  key: string,
  seed: number,
): Promise<void> {
  const random = (n: number): string => `hash(i, ${seed}, ${n})`;
  const step = Math.floor(YEAR / hoursInYear);
  const hours = Math.floor(span / step);
  await duckdb.run(`
    COPY (
      WITH hour AS (
        SELECT i // ${hours} AS k, ${START} + (i % ${hours} + 1) * ${step} AS event_at, ${random(1)} AS late, ${random(2)} AS wrong,
          ${random(3)} AS a, ${random(4)} AS b, ${random(5)} AS c
        FROM range(${keys * hours}) t(i)
      ), version AS (
        SELECT k, event_at, a, b, c, event_at + ${5 * MICROS_PER_MINUTE} + CASE WHEN late % 10 = 0 THEN ${6 * MICROS_PER_HOUR} ELSE 0 END AS available_at
        FROM hour
        UNION ALL
        SELECT k, event_at, hash(a), hash(b), hash(c), event_at + ${12 * MICROS_PER_HOUR} FROM hour WHERE wrong % 20 = 0
      )
      SELECT ${key}, event_at, available_at, ROW_NUMBER() OVER (ORDER BY available_at, event_at, k) AS ingest_seq,
        CAST(md5(concat(k, ' ', event_at)) AS UUID) AS event_id, event_at AS hour_end,
        CAST(a % 1000 AS DOUBLE) / 8 AS mean_delay, CAST(b % 500 AS BIGINT) AS flights,
        CAST(c % 1000 AS DOUBLE) / 1000 AS late_share, CAST(c % 77 AS BIGINT) AS cancelled,
        make_timestamptz(event_at) AS event_timestamp, make_timestamptz(available_at) AS created
      FROM version ORDER BY ingest_seq
    ) TO ${textSql(path)} (FORMAT parquet)`);
}

/** The table as a project declares it. */
export function latestDefinitions(table: LatestTable): {
  source: SourceSpec;
  view: FeatureViewSpec;
  entity: EntitySpec;
} {
  const { name, key, values, ttlMicros } = table;
  const column = (of: string, type: 'str' | 'ts' | 'f64' | 'i64') => ({
    name: of,
    type,
    nullable: false,
    pii: false,
    description: '',
  });
  const isReal = (value: string): boolean => value === 'mean_delay' || value === 'late_share';
  return {
    source: {
      name,
      description: '',
      owner: 'bench',
      columns: [
        column('hour_end', 'ts'),
        ...key.map((part) => column(part, 'str')),
        ...values.map((value) => column(value, isReal(value) ? 'f64' : 'i64')),
      ],
      eventAt: 'hour_end',
      zone: 'UTC',
      availableAt: { op: 'column', name: 'hour_end' },
      eventId: [...key, 'hour_end'],
      freshnessSlaSeconds: 3600,
      revisions: 'versions',
    },
    view: {
      name,
      version: 1,
      entity: name,
      source: name,
      key,
      features: values.map(latestOf),
      owner: 'bench',
      description: '',
      ttlMicros,
    },
    entity: { name, keys: key.map((part) => ({ name: part, type: 'str' })), description: '' },
  };
}
