/**
 * The flights as files: one a month to ingest, the reports of the other team, and June as it happened, to be replayed.
 * All of it comes from `flights-3m.parquet` of npm vega-datasets, with DuckDB.
 */
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { toSql } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { flightsProject } from './project.ts';

const MONTHS = ['2001-01', '2001-02', '2001-03', '2001-04', '2001-05', '2001-06'] as const;

export type Month = (typeof MONTHS)[number];

export const REPLAYED_MONTH: Month = '2001-06';

export interface FlightFiles {
  /** Flights that departed in a month; columns date, origin, destination, delay, distance. */
  readonly flights: Readonly<Record<Month, string>>;
  /** Reports on the hours that ended in a month; columns at, airport, mean_delay, flights. */
  readonly airportStatus: Readonly<Record<Month, string>>;
}

/**
 * Writes the month files. A report counts the flights that landed within its hour, so it knows nothing that was not known
 * when the hour ended. The other team sees every flight, so the reports are not sampled.
 * @param sample share of the flights, in (0, 1]; drawn by a hash of the row's number, so the same at every call
 */
export async function prepareFlightFiles(folder: string, sample: number): Promise<FlightFiles> {
  await mkdir(folder, { recursive: true });
  const database = await openDatabase(folder);
  try {
    const isSampled = `md5_number_lower(CAST(file_row_number AS VARCHAR)) % 1000000 < ${Math.round(sample * 1e6)}`;
    await database.run(`create table flight as
      select date, delay, distance, origin, destination, ${availableAtSql('flights')} as landed_at, ${sample >= 1 ? 'true' : isSampled} as is_sampled
      from (select *, epoch_us(date) as date_micros from read_parquet('${sourceFile()}', file_row_number = true))`);
    await database.run(`create table report as
      select destination as airport, time_bucket(INTERVAL 1 hour, make_timestamp(landed_at)) + INTERVAL 1 hour as "at",
             CAST(round(avg(delay)) AS BIGINT) as mean_delay, count(*) as flights
      from (select distinct * exclude (is_sampled) from flight where delay between -120 and 1500 and distance between 10 and 5500)
      group by all`);
    const flights = await writeMonths(
      database,
      folder,
      'flights',
      'select date, origin, destination, delay, distance from flight where is_sampled',
      'date',
    );
    const airportStatus = await writeMonths(
      database,
      folder,
      'airport-status',
      'select "at", airport, mean_delay, flights from report',
      '"at"',
    );
    return { flights, airportStatus };
  } finally {
    database.close();
  }
}

async function writeMonths(
  database: DuckDb,
  folder: string,
  name: string,
  rows: string,
  at: string,
): Promise<Record<Month, string>> {
  const files: [Month, string][] = [];
  for (const month of MONTHS) {
    const file = join(folder, `${name}-${month}.parquet`);
    // by time, then by everything else, so that the file has the same bytes at every call
    await database.run(
      `copy (select * from (${rows}) where strftime(${at}, '%Y-%m') = '${month}' order by all) to '${escaped(file)}' (format parquet, compression zstd)`,
    );
    files.push([month, file]);
  }
  return Object.fromEntries(files) as Record<Month, string>;
}

/** June as columns: row i of every array is one flight, or one report. */
export interface Replay {
  /** In the order of departure; only what passes the contract, each flight once. */
  readonly flights: {
    readonly departedAt: readonly Micros[];
    /** When the delay is known. */
    readonly landedAt: readonly Micros[];
    readonly delay: readonly number[];
    readonly distance: readonly number[];
    readonly origin: readonly string[];
    readonly destination: readonly string[];
  };
  /** Indices of `flights` in the order of `landedAt`. */
  readonly landings: Uint32Array;
  /** In the order of `availableAt`. */
  readonly reports: {
    readonly airport: readonly string[];
    readonly at: readonly Micros[];
    readonly availableAt: readonly Micros[];
    readonly meanDelay: readonly number[];
    readonly flights: readonly number[];
  };
}

/** What happened in June, for playing it again. */
export async function readReplay(files: FlightFiles, folder: string): Promise<Replay> {
  const database = await openDatabase(folder);
  try {
    const flights = await columnsOf(
      database,
      `select epoch_us(date) as date_micros, ${availableAtSql('flights')} as landed_at, delay, distance, origin, destination
       from (select distinct *, epoch_us(date) as date_micros from '${escaped(files.flights[REPLAYED_MONTH])}')
       where delay between -120 and 1500 and distance between 10 and 5500
       order by all`,
      6,
    );
    const reports = await columnsOf(
      database,
      `select airport, at_micros, ${availableAtSql('airport_status')} as available_at, mean_delay, flights
       from (select *, epoch_us("at") as at_micros from '${escaped(files.airportStatus[REPLAYED_MONTH])}')
       order by available_at, airport`,
      5,
    );
    const [departedAt, landedAt, delay, distance, origin, destination] = flights as [
      number[],
      number[],
      number[],
      number[],
      string[],
      string[],
    ];
    const [airport, at, availableAt, meanDelay, landed] = reports as [string[], number[], number[], number[], number[]];
    const landings = Uint32Array.from(landedAt.keys()).sort((a, b) => landedAt[a]! - landedAt[b]! || a - b);
    return {
      flights: { departedAt, landedAt, delay, distance, origin, destination },
      landings,
      reports: { airport, at, availableAt, meanDelay, flights: landed },
    };
  } finally {
    database.close();
  }
}

async function columnsOf(database: DuckDb, sql: string, count: number): Promise<unknown[][]> {
  const columns: unknown[][] = Array.from({ length: count }, () => []);
  for await (const chunk of database.values(sql)) {
    for (const [index, column] of chunk.columns.entries()) columns[index]!.push(...column);
  }
  return columns;
}

/** The project's own rule for when an event is known, over `<eventAt>_micros` in place of its time column. */
function availableAtSql(name: string): string {
  const source = SOURCES.get(name);
  if (source === undefined) throw new RangeError(`the flights project has no source ${name}`);
  return toSql(source.availableAt).replaceAll(`"${source.eventAt}"`, `${source.eventAt}_micros`);
}

const SOURCES: ReadonlyMap<string, SourceSpec> = new Map(
  flightsProject({ sample: 1 }).sources.map((source) => [source.name, source]),
);

function openDatabase(folder: string): Promise<DuckDb> {
  return DuckDb.open({ memory: '1GB', threads: 2, tempDir: join(folder, 'duckdb') });
}

function sourceFile(): string {
  // the package exports its code alone, which lies in build/, beside data/
  const code = createRequire(import.meta.url).resolve('vega-datasets');
  return escaped(join(dirname(code), '..', 'data', 'flights-3m.parquet'));
}

function escaped(path: string): string {
  return path.replaceAll("'", "''");
}
