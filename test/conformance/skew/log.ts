/**
 * The rows of a world as the Parquet log that ingestion would have written of them. It is written here and not by ingestion
 * because rows hold NaN and infinities, which ingestion sets aside and a log may still have (from expressions, from others).
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../../../domain/blob.ts';
import { LOG_COLUMNS, type LogFile, OPERATIONS } from '../../../domain/features/log-file.ts';
import { createEventIdentity, eventIdOfDigest } from '../../../domain/features/row-contract.ts';
import type { ColumnType, Row } from '../../../domain/project/expression.ts';
import type { SourceSpec } from '../../../domain/project/spec.ts';
import type { Datum } from '../../../features/history/fact.ts';
import { type DuckDb, textSql } from '../../../features/offline/duckdb.ts';
import { logRelationSql } from '../../../features/offline/log-relation.ts';
import type { WorldRow } from './world.ts';

const SQL_TYPES: Readonly<Record<ColumnType, string>> = {
  i64: 'BIGINT',
  f64: 'DOUBLE',
  bool: 'BOOLEAN',
  str: 'VARCHAR',
  ts: 'BIGINT',
};

const LOG_TYPES: Readonly<Record<(typeof LOG_COLUMNS)[number], string>> = {
  event_at: 'BIGINT',
  available_at: 'BIGINT',
  ingest_seq: 'BIGINT',
  event_id: 'UUID',
  op: 'UTINYINT',
};

/** Files of a log: one before the middle, one after it, so that what is read is put together of several. */
const FILES = 2;

/** What makes rows one, by the product's own rule. */
export function eventIdentities(source: SourceSpec): (row: WorldRow) => string {
  const identityOf = createEventIdentity(source);
  return ({ row }) => {
    const digest = createHash('sha256')
      .update(identityOf(row as Row))
      .digest('hex');
    return eventIdOfDigest(digest);
  };
}

/** Writes the rows of one source. @returns the SQL of the log */
export async function writeLog(
  duckdb: DuckDb,
  source: SourceSpec,
  rows: readonly WorldRow[],
  dir: string,
): Promise<string> {
  const files = await writeParquet(duckdb, source, rows, dir);
  return logRelationSql(
    files.map(({ path }) => path),
    source,
  );
}

/** Writes the rows of one source and hands the files to the blob store, as the log of the source. */
export async function writeLogFiles(
  duckdb: DuckDb,
  source: SourceSpec,
  rows: readonly WorldRow[],
  dir: string,
  blobs: BlobStore,
): Promise<LogFile[]> {
  const files = await writeParquet(duckdb, source, rows, dir);
  return Promise.all(
    files.map(async ({ path, rows: part }) => ({
      blob: await blobs.putFile(path),
      rows: part.length,
      firstSeq: least(part, ({ seq }) => seq),
      lastSeq: greatest(part, ({ seq }) => seq),
      minEventAt: least(part, ({ eventAt }) => eventAt),
      maxEventAt: greatest(part, ({ eventAt }) => eventAt),
      minAvailableAt: least(part, ({ availableAt }) => availableAt),
      maxAvailableAt: greatest(part, ({ availableAt }) => availableAt),
    })),
  );
}

async function writeParquet(
  duckdb: DuckDb,
  source: SourceSpec,
  rows: readonly WorldRow[],
  dir: string,
): Promise<{ readonly path: string; readonly rows: readonly WorldRow[] }[]> {
  await mkdir(dir, { recursive: true });
  const identityOf = eventIdentities(source);
  const own = source.columns.map(({ name, type }) => ({ name, type }));
  const columns = [
    ...LOG_COLUMNS.map((name) => ({ name, sql: LOG_TYPES[name] })),
    ...own.map(({ name, type }) => ({ name, sql: SQL_TYPES[type] })),
  ];
  const files: { readonly path: string; readonly rows: readonly WorldRow[] }[] = [];
  for (let file = 0; file < FILES; file++) {
    const part = rows.slice(Math.ceil((rows.length * file) / FILES), Math.ceil((rows.length * (file + 1)) / FILES));
    if (part.length === 0) continue;
    const lines = part.map((each) =>
      JSON.stringify([
        String(each.eventAt),
        String(each.availableAt),
        String(each.seq),
        identityOf(each),
        String(OPERATIONS.indexOf(each.kind)),
        ...own.map(({ name }) => textOf(each.row[name] ?? null)),
      ]),
    );
    const input = join(dir, `${source.name}-${file}.json`);
    const path = join(dir, `${source.name}-${file}.parquet`);
    await writeFile(input, `${lines.join('\n')}\n`);
    // values travel as text: JSON has no NaN, and a number of a log is exact
    const values = columns.map(({ name, sql }, i) => `CAST(json[${i + 1}] AS ${sql}) AS "${name}"`).join(', ');
    const texts = `read_json(${textSql(input)}, format = 'newline_delimited', records = false, columns = {json: 'VARCHAR[]'})`;
    await duckdb.run(
      `COPY (SELECT ${values} FROM ${texts} ORDER BY available_at, ingest_seq) TO ${textSql(path)} (FORMAT parquet)`,
    );
    files.push({ path, rows: part });
  }
  return files;
}

function textOf(value: Datum): string | null {
  return value === null ? null : Object.is(value, -0) ? '0' : String(value);
}

function least(rows: readonly WorldRow[], of: (row: WorldRow) => number): number {
  return rows.reduce((value, row) => Math.min(value, of(row)), Infinity);
}

function greatest(rows: readonly WorldRow[], of: (row: WorldRow) => number): number {
  return rows.reduce((value, row) => Math.max(value, of(row)), -Infinity);
}
