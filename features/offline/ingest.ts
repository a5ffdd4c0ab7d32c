/**
 * Files and pushed events into the log of a source: checked, deduplicated, ordered, written once. The same input, sequence
 * start and existing log give the same bytes, so a batch that is run again names the same blobs.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { BlobRef, BlobStore } from '../../domain/blob.ts';
import { SerinError } from '../../domain/errors.ts';
import { LOG_COLUMNS, type LogFile, type Operation, OPERATIONS } from '../../domain/features/log-file.ts';
import { duplicateRule, type RowReasonCode } from '../../domain/features/row-contract.ts';
import type { KeyNames } from '../../domain/features/forgotten-keys.ts';
import { isZone } from '../../domain/features/time-text.ts';
import { quoteIdentifier, type Row } from '../../domain/project/expression.ts';
import type { SourceSpec } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import type { DuckDb } from './duckdb.ts';
import { storedVersionIdSql, versionColumn } from './event-id-sql.ts';
import { forgottenSql } from './forget-rows.ts';
import { type InputFormat, openInput } from './ingest-input.ts';
import { Session } from './ingest-session.ts';
import { contractSql, literal, rowTextSql, SQL_TYPES } from './ingest-sql.ts';
import { logRelationSql } from './log-relation.ts';
import { writeLogFiles } from './log-writer.ts';

export interface IngestInput {
  readonly source: SourceSpec;
  readonly input: { readonly path: string; readonly format: InputFormat };
  /** In the names of working files. */
  readonly batchId: string;
  readonly firstSeq: number;
  /** Keys of the views over the source (`keysOfSource`): a tombstone needs one of them whole. */
  readonly keys?: readonly (readonly string[])[];
  /** The source's log so far: rows it has are duplicates. */
  readonly existing: readonly LogFile[];
  /** Version ids of pushed rows that are not in that log yet: they are duplicates, too. */
  readonly buffered?: readonly string[];
  /** Digests of forgotten keys by columns: rows that have one are dropped and counted as FORGOTTEN, and kept nowhere. */
  readonly forgotten?: readonly {
    readonly columns: KeyNames;
    readonly salt: string;
    readonly digests: ReadonlySet<string>;
  }[];
  readonly blobs: BlobStore;
  /** A directory for working files, on the blob store's disk if that is local (blobs then move by rename). */
  readonly workDir: string;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IngestProgress) => void;
}

export interface IngestProgress {
  readonly step: 'checking' | 'deduplicating' | 'writing' | 'done';
  readonly rows: number;
}

export interface IngestResult {
  /** rowsAccepted plus the quarantined and the forgotten rows. */
  readonly rowsIn: number;
  readonly rowsAccepted: number;
  /** Rows per reason; a row with two reasons counts under both. */
  readonly quarantined: Readonly<Record<string, number>>;
  readonly duplicates: number;
  /** Empty when no row was accepted. */
  readonly logFiles: readonly LogFile[];
  /**
   * Parquet: input_row BIGINT (from 1), codes VARCHAR[], reasons VARCHAR (JSON list of `RowReason`), row VARCHAR (JSON of what
   * came). Null when nothing was quarantined.
   */
  readonly quarantineFile: BlobRef | null;
  readonly firstSeq: number;
  /** firstSeq − 1 when no row was accepted. */
  readonly lastSeq: number;
}

/**
 * One batch from a file. What is wrong with the file as a whole (a column unknown, missing or of a type that cannot fit;
 * a column none of whose values can be read) refuses the batch and writes nothing; what is wrong with single rows
 * quarantines them. Ingest sequences are dense in the order (available_at, event_at, event_id); where rows correct or remove
 * others, in the order (available_at, row of the input), so that of two that are known at once the later one stands.
 * @throws INPUT_INVALID COLUMN_UNKNOWN COLUMN_TYPE TIME_… (the file), SPEC_INVALID (the source), STORAGE_FULL, CANCELLED
 */
export async function ingestFile(request: IngestInput): Promise<IngestResult> {
  const { source, input, batchId, firstSeq, blobs, workDir, duckdb, signal, onProgress } = request;
  refuseUnreadable(source);
  const session = await Session.open(duckdb, signal);
  const working = workingPath(workDir, batchId);
  const bufferedPath = `${working}-buffered.txt`;
  const quarantinePath = `${working}-quarantine.parquet`;
  try {
    onProgress?.({ step: 'checking', rows: 0 });
    const { relation, inputs, json, rowFaults } = await openInput(session, source, input);
    await session.run(
      `CREATE OR REPLACE TEMP TABLE ${STAGED} AS ${contractSql(source, request.keys ?? [], relation, inputs, json, rowFaults)}`,
    );
    const rowsIn = await session.count(`SELECT count(*) FROM ${STAGED}`);
    await refuseUnreadableColumns(session, source);
    const forgotten = await dropForgotten(session, request);

    onProgress?.({ step: 'deduplicating', rows: rowsIn });
    await session.run(`CREATE OR REPLACE TEMP TABLE ${LOSERS} AS ${await losersSql(request, bufferedPath)}`);
    const duplicates = await session.count(`SELECT count(*) FROM ${LOSERS}`);
    const quarantined = { ...(await reasonCounts(session, duplicates)), ...forgotten };

    onProgress?.({ step: 'writing', rows: rowsIn });
    const accepted = `SELECT *, rowid AS rid FROM ${STAGED} WHERE event_id IS NOT NULL AND rowid NOT IN (SELECT rid FROM ${LOSERS})`;
    const names = source.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
    const order = isRevised(source) ? 'available_at, rid' : 'available_at, event_at, event_id';
    const logFiles = await writeLogFiles(session, {
      sql:
        `SELECT event_at, available_at, CAST(${firstSeq} + row_number() OVER () - 1 AS BIGINT) AS ingest_seq, event_id, op, ${names} ` +
        `FROM (${accepted} ORDER BY ${order})`,
      pathStem: `${working}-log`,
      blobs,
    });
    const quarantineFile = await writeQuarantine(session, source, quarantinePath, blobs);
    const rowsAccepted = logFiles.reduce((rows, file) => rows + file.rows, 0);
    onProgress?.({ step: 'done', rows: rowsAccepted });
    return {
      rowsIn,
      rowsAccepted,
      quarantined,
      duplicates,
      logFiles,
      quarantineFile,
      firstSeq,
      lastSeq: firstSeq + rowsAccepted - 1,
    };
  } finally {
    await session.close([STAGED, LOSERS]);
    await Promise.all([rm(bufferedPath, { force: true }), rm(quarantinePath, { force: true })]);
  }
}

/** A checked event that waits in the buffer, with the sequence it was given there. */
export interface BufferedEvent {
  readonly seq: number;
  readonly eventAt: Micros;
  readonly availableAt: Micros;
  /** UUID text. */
  readonly eventId: string;
  /** Absent: an event. */
  readonly operation?: Operation;
  /** As the row contract returns it. */
  readonly row: Row;
}

export interface IngestBufferedInput {
  readonly source: SourceSpec;
  /** Their order does not matter; sequences are kept. */
  readonly rows: Iterable<BufferedEvent> | AsyncIterable<BufferedEvent>;
  readonly batchId: string;
  readonly blobs: BlobStore;
  readonly workDir: string;
  readonly duckdb: DuckDb;
  readonly signal?: AbortSignal;
}

/** Writes rows that were checked and numbered when they were pushed. @returns no file when there are none */
export async function ingestBuffered(request: IngestBufferedInput): Promise<readonly LogFile[]> {
  const { source, rows, batchId, blobs, workDir, duckdb, signal } = request;
  refuseUnreadable(source);
  const session = await Session.open(duckdb, signal);
  const working = workingPath(workDir, batchId);
  const linesPath = `${working}.jsonl`;
  try {
    await pipeline(linesOf(source, rows), createWriteStream(linesPath));
    const types = [
      ['event_at', 'BIGINT'],
      ['available_at', 'BIGINT'],
      ['ingest_seq', 'BIGINT'],
      ['event_id', 'UUID'],
      ['op', 'UTINYINT'],
      ...source.columns.map(({ name, type }) => [name, SQL_TYPES[type]] as const),
    ] as const;
    const columns = types.map(([name, type]) => `${literal(name)}: '${type}'`).join(', ');
    const sql = `SELECT * FROM read_ndjson(${literal(linesPath)}, columns = {${columns}}) ORDER BY available_at, ingest_seq`;
    return await writeLogFiles(session, { sql, pathStem: `${working}-log`, blobs });
  } finally {
    await session.close([]);
    await rm(linesPath, { force: true });
  }
}

/** Lines of JSON: numbers keep every bit (ECMAScript writes the shortest text that reads back the same). */
async function* linesOf(source: SourceSpec, rows: IngestBufferedInput['rows']): AsyncGenerator<string> {
  for await (const { seq, eventAt, availableAt, eventId, operation = 'put', row } of rows) {
    const line: Record<string, unknown> = {
      event_at: eventAt,
      available_at: availableAt,
      ingest_seq: seq,
      event_id: eventId,
      op: OPERATIONS.indexOf(operation),
    };
    for (const { name } of source.columns) line[name] = row[name] ?? null;
    yield `${JSON.stringify(line)}\n`;
  }
}

/** Batches of one name may be at work at a time: of other sources, or a retry beside an attempt that is thought dead. */
function workingPath(workDir: string, batchId: string): string {
  return join(workDir, `${batchId}-${randomUUID()}`);
}

const STAGED = 'serin_staged';
const LOSERS = 'serin_losers';

/** Rules of the source itself that SQL depends on. */
function refuseUnreadable(source: SourceSpec): void {
  const internal = ['rid', '$reasons', '$row', '$faulty', '$faults', '$availableAt', '$version'];
  const taken = new Set<string>([...LOG_COLUMNS, ...internal].map(lower));
  for (const { name } of source.columns) {
    if (taken.has(lower(name))) {
      const detail = `the source ${source.name} cannot have a column "${name}": the log has its own, and case does not tell columns apart`;
      throw new SerinError('SPEC_INVALID', detail, { fields: { source: source.name, column: name } });
    }
    taken.add(lower(name));
  }
  if (source.zone !== null && !isZone(source.zone)) {
    const detail = `the source ${source.name} declares the zone "${source.zone}", which is not an IANA time zone`;
    throw new SerinError('SPEC_INVALID', detail, { fields: { source: source.name, zone: source.zone } });
  }
}

function lower(name: string): string {
  return name.toLowerCase();
}

/** A column of which not one value can be read says that the file is wrong, not its rows. */
async function refuseUnreadableColumns(session: Session, source: SourceSpec): Promise<void> {
  const faults = await session.rows(
    `SELECT r."column" AS "column", r.code AS code, count(*) AS rows, first(r."value") AS "value", first(r.rule) AS rule ` +
      `FROM (SELECT unnest("$reasons") AS r FROM ${STAGED} WHERE "$reasons" IS NOT NULL) ` +
      `WHERE r.code IN ('COLUMN_TYPE', 'TIME_NO_ZONE', 'TIME_PRECISION', 'TIME_INVALID', 'TIME_AMBIGUOUS') AND r."column" IS NOT NULL ` +
      `GROUP BY ALL ORDER BY rows DESC, "column", code`,
  );
  if (faults.length === 0) return;
  const [read] = await session.rows(
    `SELECT ${source.columns.map(({ name }, i) => `count(${quoteIdentifier(name)}) AS c${i}`).join(', ')} FROM ${STAGED}`,
  );
  for (const { column, code, value, rule } of faults as {
    column: string;
    code: UnreadableCode;
    value: string;
    rule: string;
  }[]) {
    const index = source.columns.findIndex(({ name }) => name === column);
    if (Number(read![`c${index}`]) > 0) continue;
    const detail = `no value of the column "${column}" can be read, for example "${value}": ${rule}`;
    throw new SerinError(code, detail, { fields: { source: source.name, column, value, rule } });
  }
}

/** Before anything is made of them. Rows that break the contract are matched by what could be read of them. */
async function dropForgotten(
  session: Session,
  { source, forgotten = [] }: IngestInput,
): Promise<{ readonly [code in 'FORGOTTEN']?: number }> {
  if (forgotten.length === 0) return {};
  const matches = `(${forgotten.map((keys) => forgottenSql(source, keys)).join(' OR ')})`;
  const rows = await session.count(`SELECT count(*) FROM ${STAGED} WHERE ${matches}`);
  if (rows === 0) return {};
  await session.run(`DELETE FROM ${STAGED} WHERE ${matches}`);
  return { ['FORGOTTEN' satisfies RowReasonCode]: rows };
}

type UnreadableCode = 'COLUMN_TYPE' | 'TIME_NO_ZONE' | 'TIME_PRECISION' | 'TIME_INVALID' | 'TIME_AMBIGUOUS';

/** Whether rows of the source can correct or remove others. */
function isRevised({ revisions, operation }: SourceSpec): boolean {
  return revisions === 'versions' || operation !== undefined;
}

/**
 * Row ids of accepted rows that are duplicates: of the stored log, of what waits in the buffer, or of a better row of the
 * batch (the first by available_at, then by all columns, so that the order of the file does not matter).
 */
async function losersSql(
  { existing, buffered = [], source, blobs }: IngestInput,
  bufferedPath: string,
): Promise<string> {
  const version = versionColumn(source);
  const order = ['available_at', ...source.columns.map(({ name }) => quoteIdentifier(name)), 'rowid'].join(', ');
  const twice = `SELECT ${version} FROM ${STAGED} WHERE event_id IS NOT NULL GROUP BY ${version} HAVING count(*) > 1`;
  const losers = [
    `SELECT rid FROM (SELECT rowid AS rid, row_number() OVER (PARTITION BY ${version} ORDER BY ${order}) AS place ` +
      `FROM ${STAGED} WHERE ${version} IN (${twice})) WHERE place > 1`,
  ];
  if (existing.length > 0) {
    const paths = await Promise.all(existing.map(({ blob }) => blobs.localPath(blob)));
    const log = logRelationSql(paths, source);
    // a repeated version is known at the same instant: only that stretch of the log is read
    const stretch =
      source.revisions === 'versions'
        ? ` WHERE available_at BETWEEN (SELECT min(available_at) FROM ${STAGED}) AND (SELECT max(available_at) FROM ${STAGED})`
        : '';
    const stored = `SELECT ${storedVersionIdSql(source)} FROM ${log}${stretch}`;
    losers.push(`SELECT rowid AS rid FROM ${STAGED} WHERE ${version} IN (${stored})`);
  }
  if (buffered.length > 0) {
    await writeFile(bufferedPath, buffered.map((id) => `${id}\n`).join(''));
    const waiting = `SELECT CAST(id AS UUID) FROM read_csv(${literal(bufferedPath)}, header = false, columns = {'id': 'VARCHAR'})`;
    losers.push(`SELECT rowid AS rid FROM ${STAGED} WHERE ${version} IN (${waiting})`);
  }
  return losers.join(' UNION ');
}

async function reasonCounts(session: Session, duplicates: number): Promise<Record<string, number>> {
  const counts = await session.rows(
    `SELECT code, count(*) AS rows FROM (SELECT unnest(list_distinct(list_transform("$reasons", lambda r: r.code))) AS code ` +
      `FROM ${STAGED} WHERE "$reasons" IS NOT NULL) GROUP BY code ORDER BY code`,
  );
  const quarantined = Object.fromEntries(counts.map(({ code, rows }) => [String(code), Number(rows)]));
  return duplicates === 0 ? quarantined : { ...quarantined, ['DUPLICATE' satisfies RowReasonCode]: duplicates };
}

async function writeQuarantine(
  session: Session,
  source: SourceSpec,
  path: string,
  blobs: BlobStore,
): Promise<BlobRef | null> {
  const rowText = rowTextSql(source.columns.map(({ name }) => [name, quoteIdentifier(name)]));
  const duplicate = `[{'code': 'DUPLICATE', 'column': NULL, 'value': CAST(event_id AS VARCHAR), 'rule': ${literal(duplicateRule(source))}}]`;
  const refused =
    `SELECT rowid + 1 AS input_row, "$reasons" AS reasons, "$row" AS row FROM ${STAGED} WHERE "$reasons" IS NOT NULL ` +
    `UNION ALL SELECT rowid + 1, ${duplicate}, ${rowText} FROM ${STAGED} WHERE rowid IN (SELECT rid FROM ${LOSERS})`;
  const rows = await session.count(`SELECT count(*) FROM (${refused})`);
  if (rows === 0) return null;
  await session.run(
    `COPY (SELECT input_row, list_distinct(list_transform(reasons, lambda r: r.code)) AS codes, CAST(to_json(reasons) AS VARCHAR) AS reasons, row ` +
      `FROM (${refused}) ORDER BY input_row) TO ${literal(path)} (FORMAT parquet, COMPRESSION zstd)`,
  );
  return blobs.putFile(path);
}
