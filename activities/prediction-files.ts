/** Logged answers as Parquet: one file for each UTC day, and back. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BIGINT,
  DOUBLE,
  type DuckDBType,
  type DuckDBValue,
  INTEGER,
  LIST,
  type DuckDBListValue,
  listValue,
  VARCHAR,
} from '@duckdb/node-api';
import type { LoggedPrediction } from '../db/predictions.ts';
import type { PredictionPart, RecordedPrediction, RecordedRange } from '../db/prediction-exports.ts';
import type { BlobRef, BlobStore } from '../domain/blob.ts';
import { formatTime } from '../domain/features/time-text.ts';
import { type DuckDb, textSql } from '../features/offline/duckdb.ts';

interface Column {
  readonly name: string;
  readonly type: DuckDBType;
  readonly of: (row: RecordedPrediction) => DuckDBValue;
}

/** `request` and `known_seq` are JSON; instants are µs since 1970, UTC. */
const COLUMNS: readonly Column[] = [
  { name: 'prediction_id', type: VARCHAR, of: (row) => row.predictionId },
  { name: 'model', type: VARCHAR, of: (row) => row.model },
  { name: 'version', type: INTEGER, of: (row) => row.version },
  { name: 'arm', type: VARCHAR, of: (row) => row.arm },
  { name: 'rung', type: VARCHAR, of: (row) => row.rung },
  { name: 'reason', type: VARCHAR, of: (row) => row.reason },
  { name: 'served_model', type: VARCHAR, of: (row) => row.servedModel },
  { name: 'epoch', type: BIGINT, of: (row) => BigInt(row.epoch) },
  { name: 'unit', type: VARCHAR, of: (row) => row.unit },
  { name: 'as_of', type: BIGINT, of: (row) => BigInt(row.asOf) },
  { name: 'answered_at', type: BIGINT, of: (row) => BigInt(row.answeredAt) },
  { name: 'recorded_at', type: BIGINT, of: (row) => BigInt(row.recordedAt) },
  { name: 'score', type: DOUBLE, of: (row) => row.score },
  { name: 'sample_weight', type: DOUBLE, of: (row) => row.sampleWeight },
  { name: 'features', type: LIST(DOUBLE), of: (row) => listValue(row.features) },
  { name: 'statuses', type: LIST(INTEGER), of: (row) => listValue(row.statuses) },
  { name: 'request', type: VARCHAR, of: (row) => JSON.stringify(row.request) },
  { name: 'redacted', type: LIST(VARCHAR), of: (row) => listValue(row.redacted) },
  { name: 'latency_us', type: INTEGER, of: (row) => row.latencyMicros },
  { name: 'error', type: VARCHAR, of: (row) => row.error },
  { name: 'known_seq', type: VARCHAR, of: (row) => (row.known === null ? null : JSON.stringify(row.known.knownSeq)) },
  { name: 'read_at', type: BIGINT, of: (row) => (row.known === null ? null : BigInt(row.known.readAt)) },
  { name: 'trace_id', type: VARCHAR, of: (row) => row.traceId },
];
const NAMES = COLUMNS.map(({ name }) => name);
/** Rows lie by id, and readers skip groups whose ids are others. */
const ROW_GROUP = 8_192;

export interface PredictionFileWork {
  readonly blobs: BlobStore;
  readonly workDir: string;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
}

/** Writes the rows of a range, a file for each day on which any was answered. */
export async function writeParts(
  rows: readonly RecordedPrediction[],
  { model, range, at }: { model: string; range: RecordedRange; at: number },
  work: PredictionFileWork,
): Promise<PredictionPart[]> {
  const byDay = new Map<string, RecordedPrediction[]>();
  for (const row of rows) {
    const day = formatTime(row.answeredAt).slice(0, 10);
    const known = byDay.get(day);
    if (known) known.push(row);
    else byDay.set(day, [row]);
  }
  const parts: PredictionPart[] = [];
  for (const [day, own] of [...byDay].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const written = await writeFile(own, work);
    parts.push({ ...range, model, day, ...written, exportedAt: at });
  }
  return parts;
}

async function writeFile(
  rows: readonly RecordedPrediction[],
  { blobs, workDir, duckdb }: PredictionFileWork,
): Promise<Pick<PredictionPart, 'file' | 'rows' | 'firstId' | 'lastId'>> {
  const table = `predictions_${randomUUID().replaceAll('-', '')}`;
  const path = join(workDir, `${table}.parquet`);
  await duckdb.run(
    `CREATE TABLE ${table} (${COLUMNS.map(({ name, type }) => `"${name}" ${type.toString()}`).join(', ')})`,
  );
  try {
    await duckdb.append(
      table,
      COLUMNS.map(({ type }) => type),
      COLUMNS.map(({ of }) => rows.map(of)),
    );
    const [ids] = await duckdb.rows(`SELECT min(prediction_id) AS first, max(prediction_id) AS last FROM ${table}`);
    await duckdb.run(`COPY (SELECT * FROM ${table} ORDER BY prediction_id, arm) TO ${textSql(path)}
      (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROW_GROUP})`);
    const file = await blobs.putFile(path);
    return { file, rows: rows.length, firstId: ids!['first'] as string, lastId: ids!['last'] as string };
  } finally {
    await duckdb.run(`DROP TABLE ${table}`);
    await rm(path, { force: true });
  }
}

/** The rows of a part, or those of one id. */
export async function readPart(
  file: BlobRef,
  { blobs, duckdb }: Pick<PredictionFileWork, 'blobs' | 'duckdb'>,
  predictionId?: string,
): Promise<RecordedPrediction[]> {
  const only = predictionId === undefined ? '' : `WHERE prediction_id = ${textSql(predictionId)}`;
  const path = await blobs.localPath(file);
  const found: RecordedPrediction[] = [];
  const select = `SELECT ${NAMES.map((name) => `"${name}"`).join(', ')} FROM read_parquet(${textSql(path)}) ${only} ORDER BY prediction_id, arm`;
  for await (const { rows, columns } of duckdb.chunks(select))
    for (let i = 0; i < rows; i++)
      found.push(rowOf(Object.fromEntries(NAMES.map((name, c) => [name, columns[c]![i] ?? null]))));
  return found;
}

function rowOf(row: Readonly<Record<string, DuckDBValue>>): RecordedPrediction {
  const text = (name: string): string => row[name] as string;
  const textOrNull = (name: string): string | null => row[name] as string | null;
  const number = (name: string): number => Number(row[name]);
  const list = (name: string): readonly DuckDBValue[] => (row[name] as DuckDBListValue).items;
  const knownSeq = textOrNull('known_seq');
  return {
    predictionId: text('prediction_id'),
    model: text('model'),
    version: number('version'),
    arm: text('arm') as LoggedPrediction['arm'],
    rung: text('rung'),
    reason: textOrNull('reason'),
    servedModel: textOrNull('served_model'),
    epoch: number('epoch'),
    unit: text('unit'),
    asOf: number('as_of'),
    answeredAt: number('answered_at'),
    recordedAt: number('recorded_at'),
    score: number('score'),
    sampleWeight: number('sample_weight'),
    features: list('features') as readonly (number | null)[],
    statuses: list('statuses') as readonly number[],
    request: JSON.parse(text('request')) as LoggedPrediction['request'],
    redacted: list('redacted') as readonly string[],
    latencyMicros: number('latency_us'),
    error: textOrNull('error'),
    known:
      knownSeq === null
        ? null
        : { knownSeq: JSON.parse(knownSeq) as Record<string, number>, readAt: number('read_at') },
    traceId: textOrNull('trace_id'),
  };
}

/** The file without some of its rows; null when no others are in it. */
export async function rewritePart(
  rows: readonly RecordedPrediction[],
  keep: (row: RecordedPrediction) => boolean,
  work: PredictionFileWork,
): Promise<Pick<PredictionPart, 'file' | 'rows' | 'firstId' | 'lastId'> | null> {
  const kept = rows.filter(keep);
  return kept.length === 0 ? null : writeFile(kept, work);
}
