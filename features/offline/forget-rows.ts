/** Takes the rows of a key out of stored files: a file is written anew without them. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { BlobRef, BlobStore } from '../../domain/blob.ts';
import { DATASET_COLUMNS } from '../../domain/features/dataset-manifest.ts';
import { type KeyNames, mayMove } from '../../domain/features/forgotten-keys.ts';
import { LOG_COLUMNS, type LogFile, periodOf } from '../../domain/features/log-file.ts';
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import { type DuckDb, textSql } from './duckdb.ts';
import { eventIdSql, RETRACT } from './event-id-sql.ts';
import { Session } from './ingest-session.ts';
import { logRelationSql } from './log-relation.ts';
import { writeLogFile } from './log-writer.ts';

export type KeyLiteral = string | number | boolean;

/** A key by the columns (or fields) that hold it, in one or several roles. */
export interface KeyInColumns {
  readonly keys: readonly KeyNames[];
  /** One per part; instants in µs. */
  readonly values: readonly KeyLiteral[];
}

export interface FileWork {
  readonly blobs: BlobStore;
  readonly workDir: string;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
  readonly signal?: AbortSignal;
}

/** SQL that holds for the rows of the key, and is false, not null, for the others. */
export function keyMatchSql({ keys, values }: KeyInColumns): string {
  const roles = keys.map((names) => names.map((name, i) => `${quote(name)} = ${literal(values[i]!)}`).join(' AND '));
  return roles.length === 0 ? 'FALSE' : `(${roles.map((role) => `COALESCE(${role}, FALSE)`).join(' OR ')})`;
}

/**
 * SQL over checked rows of a source: whether they have a forgotten key; the twin of `keyDigest` in `db/forgotten-keys.ts`.
 * @param digests of keys over one list of columns
 */
export function forgottenSql(
  source: SourceSpec,
  { columns, salt, digests }: { readonly columns: KeyNames; readonly salt: string; readonly digests: Iterable<string> },
): string {
  const id = `CAST(${eventIdSql({ ...source, eventId: columns })} AS VARCHAR)`;
  return `sha256(concat(${textSql(salt)}, ${id})) IN (${[...digests].map(textSql).join(', ')})`;
}

/** How many rows of stored log files have the key. */
export async function countInLog(
  files: readonly LogFile[],
  source: SourceSpec,
  key: KeyInColumns,
  { blobs, duckdb }: FileWork,
): Promise<number> {
  if (files.length === 0) return 0;
  const paths: string[] = [];
  for (const { blob } of files) paths.push(await blobs.localPath(blob));
  return countRows(duckdb, logRelationSql(paths, source), keyMatchSql(key));
}

/**
 * The file without the rows of the key, in the source's present columns; null when nothing else is in it. Where a row may have
 * been corrected to this key from another one, its place is kept by a removal that has no values: else the older version would
 * stand again.
 */
export async function removeFromLogFile(
  file: LogFile,
  source: SourceSpec,
  key: KeyInColumns,
  { blobs, workDir, duckdb, signal }: FileWork,
): Promise<LogFile | null> {
  const session = await Session.open(duckdb, signal);
  const path = join(workDir, `forget-${randomUUID()}.parquet`);
  try {
    const log = logRelationSql([await blobs.localPath(file.blob)], source);
    const match = keyMatchSql(key);
    const stripped = LOG_COLUMNS.map((name) => (name === 'op' ? `CAST(${RETRACT} AS UTINYINT) AS op` : name));
    const marks = [...stripped, ...source.columns.map(({ name }) => `NULL AS ${quote(name)}`)].join(', ');
    const sql = mayMove(source, key.keys)
      ? `SELECT * FROM (SELECT * FROM ${log} WHERE NOT ${match} UNION ALL SELECT ${marks} FROM ${log} WHERE ${match} AND op <> 2)`
      : `SELECT * FROM ${log} WHERE NOT ${match}`;
    if ((await session.count(`SELECT count(*) FROM (${sql})`)) === 0) return null;
    return await writeLogFile(session, { sql, path, period: periodOf(file), blobs });
  } finally {
    await session.close([]);
    await rm(path, { force: true });
  }
}

/** How many rows of a dataset's file have the key in their request fields. */
export async function countInDataset(file: BlobRef, key: KeyInColumns, { blobs, duckdb }: FileWork): Promise<number> {
  return countRows(duckdb, `read_parquet(${textSql(await blobs.localPath(file))})`, keyMatchSql(key));
}

/** The dataset's file without those rows; it may come to have none. */
export async function removeFromDataset(file: BlobRef, key: KeyInColumns, work: FileWork): Promise<BlobRef> {
  const rows = `SELECT * FROM read_parquet(${textSql(await work.blobs.localPath(file))}) WHERE NOT ${keyMatchSql(key)}`;
  return writeParquet(`${rows} ORDER BY ${DATASET_COLUMNS.asOf}, ${DATASET_COLUMNS.rowId}`, work);
}

/** How many refused rows of a quarantine file have the key, or might. */
export async function countInQuarantine(
  file: Pick<BlobRef, 'sha256'>,
  source: SourceSpec,
  key: KeyInColumns,
  { blobs, duckdb }: FileWork,
): Promise<number> {
  return countRows(duckdb, `read_parquet(${textSql(await blobs.localPath(file))})`, refusedMatchSql(source, key));
}

/** @returns null when nothing else is in it */
export async function removeFromQuarantine(
  file: Pick<BlobRef, 'sha256'>,
  source: SourceSpec,
  key: KeyInColumns,
  work: FileWork,
): Promise<BlobRef | null> {
  const stored = `read_parquet(${textSql(await work.blobs.localPath(file))})`;
  const match = refusedMatchSql(source, key);
  if ((await countRows(work.duckdb, stored, `NOT ${match}`)) === 0) return null;
  return writeParquet(`SELECT * FROM ${stored} WHERE NOT ${match} ORDER BY input_row`, work);
}

/**
 * A refused row is JSON of what came, which need not be of the columns' types: texts are compared as they are, and a value that
 * is of another form (a time as somebody wrote it) counts as a match. Rather one row too many than one too few.
 */
function refusedMatchSql(source: SourceSpec, { keys, values }: KeyInColumns): string {
  const typeOf = (name: string): string | undefined => source.columns.find((column) => column.name === name)?.type;
  const roles = keys.map((names) =>
    names
      .map((name, i) => {
        const text = `json_extract_string(TRY_CAST("row" AS JSON), ${textSql(`/${pointer(name)}`)})`;
        const value = values[i]!;
        if (typeOf(name) === 'ts') return `${text} IS NOT NULL`;
        if (typeof value === 'number') return `COALESCE(TRY_CAST(${text} AS DOUBLE) = ${value}, ${text} IS NOT NULL)`;
        return `${text} = ${textSql(String(value))}`;
      })
      .join(' AND '),
  );
  return roles.length === 0 ? 'FALSE' : `(${roles.map((role) => `COALESCE(${role}, FALSE)`).join(' OR ')})`;
}

/** RFC 6901 */
function pointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

async function countRows(duckdb: DuckDb, relation: string, condition: string): Promise<number> {
  const [row] = await duckdb.rows(`SELECT count(*) AS rows FROM ${relation} WHERE ${condition}`);
  return Number(row!['rows']);
}

async function writeParquet(sql: string, { duckdb, workDir, blobs }: FileWork): Promise<BlobRef> {
  const path = join(workDir, `forget-${randomUUID()}.parquet`);
  try {
    await duckdb.run(`COPY (${sql}) TO ${textSql(path)} (FORMAT parquet, COMPRESSION zstd)`);
    return await blobs.putFile(path);
  } finally {
    await rm(path, { force: true });
  }
}

function literal(value: KeyLiteral): string {
  return typeof value === 'string' ? textSql(value) : String(value);
}
