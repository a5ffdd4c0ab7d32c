/** Writes rows as files of a log, one per stretch of availability. */
import { rm } from 'node:fs/promises';
import type { BlobStore } from '../../domain/blob.ts';
import { type LogFile, type Period, PERIOD_LENGTHS, type PeriodLength } from '../../domain/features/log-file.ts';
import type { Session } from './ingest-session.ts';
import { literal } from './ingest-sql.ts';

/**
 * At most this many files come out of one write. A batch of more days is partitioned by month, of more months by year, of
 * more years not at all.
 */
export const FILES_PER_WRITE_MAX = 64;

export interface LogWrite {
  /** Gives the log's columns in the log's order, sorted by (available_at, ingest_seq). */
  readonly sql: string;
  /** Working files are named `<pathStem>-<period>.parquet`. */
  readonly pathStem: string;
  readonly blobs: BlobStore;
}

/** @returns in the order of availability; none without rows */
export async function writeLogFiles(session: Session, { sql, pathStem, blobs }: LogWrite): Promise<LogFile[]> {
  const paths: string[] = [];
  try {
    await session.run(`CREATE OR REPLACE TEMP TABLE ${ROWS} AS ${sql}`);
    const files: LogFile[] = [];
    for (const { period, from, to } of await partitions(session)) {
      const path = `${pathStem}-${period === '' ? 'all' : period}.parquet`;
      paths.push(path);
      const rows = `SELECT * FROM ${ROWS} WHERE available_at BETWEEN ${from} AND ${to}`;
      files.push(await writeLogFile(session, { sql: rows, path, period, blobs }));
    }
    return files;
  } finally {
    await session.drop(ROWS);
    await Promise.all(paths.map((path) => rm(path, { force: true })));
  }
}

const ROWS = 'serin_log_rows';

interface Partition {
  readonly period: Period;
  /** Availability of its first and last row. */
  readonly from: number;
  readonly to: number;
}

/** By the finest period that keeps to `FILES_PER_WRITE_MAX`. */
async function partitions(session: Session): Promise<Partition[]> {
  for (const length of PERIOD_LENGTHS) {
    const periods = await session.count(`SELECT count(DISTINCT ${periodSql(length)}) FROM ${ROWS}`);
    if (periods > FILES_PER_WRITE_MAX) continue;
    const rows = await session.rows(
      `SELECT ${periodSql(length)} AS period, min(available_at) AS "from", max(available_at) AS "to" ` +
        `FROM ${ROWS} GROUP BY 1 ORDER BY 1`,
    );
    return rows.map(({ period, from, to }) => ({
      period: String(period),
      from: Number(from),
      to: Number(to),
    }));
  }
  throw new RangeError('all of time is one period');
}

/** As `periodAt`; instants are of 1684…2255. */
function periodSql(length: PeriodLength): string {
  return `left(strftime(make_timestamp(available_at), '%Y-%m-%d'), ${length})`;
}

/** One file of rows whose availability lies in `period`. The same rows give the same bytes. @param sql gives the log's columns; at least one row */
export async function writeLogFile(
  session: Session,
  { sql, path, period, blobs }: { sql: string; path: string; period: Period; blobs: BlobStore },
): Promise<LogFile> {
  await session.run(
    `COPY (${sql} ORDER BY available_at, ingest_seq) TO ${literal(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`,
  );
  const [bounds] = await session.rows(
    `SELECT count(*) AS rows, min(ingest_seq) AS firstSeq, max(ingest_seq) AS lastSeq, min(event_at) AS minEventAt, max(event_at) AS maxEventAt, ` +
      `min(available_at) AS minAvailableAt, max(available_at) AS maxAvailableAt FROM read_parquet(${literal(path)})`,
  );
  const number = (name: string): number => Number(bounds![name]);
  return {
    blob: await blobs.putFile(path),
    rows: number('rows'),
    firstSeq: number('firstSeq'),
    lastSeq: number('lastSeq'),
    minEventAt: number('minEventAt'),
    maxEventAt: number('maxEventAt'),
    minAvailableAt: number('minAvailableAt'),
    maxAvailableAt: number('maxAvailableAt'),
    availableOn: period,
  };
}
