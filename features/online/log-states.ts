/**
 * The states of a view, from its source's log: what feeding every event would have left in the online store, key by key, with
 * one key's state in memory at a time. A part of the keys can be built alone, so that a long build goes in steps.
 */
import type { BlobStore } from '../../domain/blob.ts';
import { type LogFile, OPERATIONS } from '../../domain/features/log-file.ts';
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { columnsOfView } from '../../domain/project/view-columns.ts';
import type { Micros } from '../../domain/time.ts';
import type { Datum } from '../history/fact.ts';
import { encodeHistory } from '../history/history-bytes.ts';
import { addFact, createHistory, factOf, foldHistory, isSpentHistory, resetHistory } from '../history/history.ts';
import { type Instant, minus, toInstant } from '../../domain/instant.ts';
import type { HistoryPlan } from '../history/plan.ts';
import { routeVersion, type RowVersion } from '../history/row-index.ts';
import type { CompiledView } from '../kernel/compiled-view.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { createState, encodeState, foldTo, insert, isSpent, resetState } from '../kernel/view-state.ts';
import { type DuckDb, doubleSql } from '../offline/duckdb.ts';
import { logRelationSql } from '../offline/log-relation.ts';
import type { Entry } from './online-store.ts';

/** One of `of` parts of the keys, of about the same size; the same keys are in it whenever it is asked for. */
export interface KeysPart {
  readonly part: number;
  readonly of: number;
}

export interface LogStatesRequest {
  readonly view: CompiledView;
  readonly definition: { readonly view: FeatureViewSpec; readonly source: SourceSpec };
  /** The whole log of the view's source: pushed events are written to it before. */
  readonly logFiles: readonly LogFile[];
  /** Events up to here, and no later ones, are in the states. */
  readonly upToSeq: number;
  /** The fold point of every state: reads must be at or after it. */
  readonly foldAt: Micros;
  readonly blobs: BlobStore;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
  /** Absent: all keys. */
  readonly keys?: KeysPart;
  /** Keys that no state is made of: entities that were forgotten. */
  readonly withhold?: (key: Uint8Array) => boolean;
  readonly onProgress?: (progress: LogStatesProgress) => void;
  readonly signal?: AbortSignal;
}

export interface LogStatesProgress {
  /** Events that some read can still reach. */
  readonly events: number;
  readonly keys: number;
}

const KEYS_TABLE = 'serin_view_key';
/** No column of a source has such names. */
const NUMBER = '"$number"';
const ALL_KEYS: KeysPart = { part: 0, of: 1 };

/** The states, and for rows that may move the row index. Each key once. */
export async function* statesOfLog(request: LogStatesRequest): AsyncGenerator<Entry> {
  const { view, duckdb, foldAt, signal } = request;
  const relation = await relationSql(request);
  const interrupt = (): void => duckdb.interrupt();
  signal?.addEventListener('abort', interrupt);
  try {
    signal?.throwIfAborted();
    const keys = await numberKeys(view.plan, duckdb, relation, request.keys ?? ALL_KEYS);
    const withheld = keys.map((key) => request.withhold?.(key) ?? false);
    const counted = new Counter(request);
    const states =
      view.kind === 'tiles'
        ? tileStates(view.plan, duckdb, tileSql(view.plan, relation), foldAt, counted)
        : historyStates(view.plan, request, relation, counted);
    for await (const { number, bytes } of states) {
      if (withheld[number]) continue;
      counted.keys++;
      yield { part: 'states', key: keys[number]!, bytes };
    }
    if (view.kind === 'history' && view.plan.identity === 'row_id') {
      yield* rowIndexes(view.plan, duckdb, relation, request.keys ?? ALL_KEYS, signal);
    }
  } finally {
    signal?.removeEventListener('abort', interrupt);
    await duckdb.run(`DROP TABLE IF EXISTS ${KEYS_TABLE}`);
  }
}

class Counter implements LogStatesProgress {
  events = 0;
  keys = 0;
  readonly #request: Pick<LogStatesRequest, 'onProgress' | 'signal'>;

  constructor(request: Pick<LogStatesRequest, 'onProgress' | 'signal'>) {
    this.#request = request;
  }

  /** Between two chunks. */
  read(events: number): void {
    this.#request.signal?.throwIfAborted();
    this.events += events;
    this.#request.onProgress?.({ events: this.events, keys: this.keys });
  }
}

/** SQL of the events that matter: known by `upToSeq`, and in reach of a read at or after `foldAt`, where that can be told by event time. */
async function relationSql({ view, definition, logFiles, upToSeq, foldAt, blobs }: LogStatesRequest): Promise<string> {
  const reachAt = reachOf(view, foldAt);
  const files = logFiles.filter((file) => file.firstSeq <= upToSeq && (reachAt === null || file.maxEventAt > reachAt));
  const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
  const inReach = reachAt === null ? '' : ` AND event_at > ${reachAt}`;
  return `(SELECT * FROM ${logRelationSql(paths, definition.source)} WHERE ingest_seq <= ${upToSeq}${inReach})`;
}

/** Events at or before it are out of reach; null: none is. What is kept of rows that are over (expired, corrected) is for the kernel to say. */
function reachOf({ kind, plan }: CompiledView, foldAt: Micros): Instant | null {
  if (kind === 'tiles') return foldAt - plan.horizonMicros;
  if (plan.identity !== 'append' || !plan.appendOnly || plan.latest.length > 0 || plan.horizon === null) return null;
  // an exclusive cut lies a microsecond before the instant
  return minus(minus(foldAt, 1), plan.horizon);
}

interface Keyed {
  readonly keyColumns: readonly string[];
  readonly keyParts: CompiledView['plan']['keyParts'];
}

/** @returns the keys by number */
async function numberKeys(
  plan: Keyed,
  duckdb: DuckDb,
  relation: string,
  { part, of }: KeysPart,
): Promise<Uint8Array[]> {
  const columns = keyColumns(plan);
  const chosen = of === 1 ? '' : ` AND hash(${columns.join(', ')}) % ${of} = ${part}`;
  await duckdb.run(
    `CREATE OR REPLACE TEMP TABLE ${KEYS_TABLE} AS SELECT row_number() OVER (ORDER BY ${keyNames(plan).join(', ')}) - 1 AS ${NUMBER}, * ` +
      `FROM (SELECT DISTINCT ${columns.map((sql, i) => `${sql} AS ${keyNames(plan)[i]!}`).join(', ')} FROM ${relation} WHERE ${isWhole(plan)}${chosen})`,
  );
  const keys: Uint8Array[] = [];
  for await (const chunk of duckdb.values(
    `SELECT ${keyNames(plan).join(', ')} FROM ${KEYS_TABLE} ORDER BY ${NUMBER}`,
  )) {
    for (let i = 0; i < chunk.rows; i++) {
      const values = plan.keyParts.map((_, c) => chunk.columns[c]![i]!);
      const key = encodeKey(plan.keyParts, values);
      if (key === null) throw new RangeError('a null key came out of a query that leaves them out');
      keys.push(key);
    }
  }
  return keys;
}

/** A view of everything has one key of no parts. */
function keyColumns({ keyColumns: columns }: Keyed): string[] {
  return columns.length === 0 ? ['0'] : columns.map(quote);
}

function keyNames(plan: Keyed): string[] {
  return keyColumns(plan).map((_, i) => `"$key${i}"`);
}

function isWhole({ keyColumns: columns }: Keyed): string {
  return columns.length === 0 ? 'TRUE' : columns.map((name) => `${quote(name)} IS NOT NULL`).join(' AND ');
}

function joinKeys(plan: Keyed, of: string): string {
  return keyColumns(plan)
    .map((sql, i) => `k.${keyNames(plan)[i]!} = ${sql === '0' ? sql : `${of}.${sql}`}`)
    .join(' AND ');
}

interface NumberedState {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Columns: the key's number, event_at, visible_at, then the measures; by event time, so that tiles are filled from left to right. */
function tileSql(plan: ViewPlan, relation: string): string {
  const names = plan.measureSql.map((_, i) => `"$m${i}"`);
  const measures = plan.measureSql.map((sql, i) => `${doubleSql(sql)} AS ${names[i]!}`);
  return (
    `SELECT CAST(k.${NUMBER} AS DOUBLE), CAST(event_at AS DOUBLE), CAST(greatest(event_at, available_at) AS DOUBLE), ` +
    `${names.join(', ')} FROM (SELECT event_at, available_at, ${plan.keyColumns.map(quote).join(', ')}, ${measures.join(', ')} ` +
    `FROM ${relation}) e JOIN ${KEYS_TABLE} k ON ${joinKeys(plan, 'e')} ORDER BY k.${NUMBER}, e.event_at`
  );
}

async function* tileStates(
  plan: ViewPlan,
  duckdb: DuckDb,
  sql: string,
  foldAt: Micros,
  counted: Counter,
): AsyncGenerator<NumberedState> {
  const state = createState(plan);
  const row = new Float64Array(plan.measureCount);
  let current = -1;
  // nothing when no key is open, or when no read can see anything of it
  function* finished(): Generator<NumberedState> {
    if (current < 0 || isSpent(plan, state, foldAt)) return;
    yield { number: current, bytes: encodeState(plan, state) };
  }
  for await (const chunk of duckdb.doubles(sql)) {
    counted.read(chunk.rows);
    const [numbers, eventAts, visibleAts, ...measures] = chunk.columns;
    for (let i = 0; i < chunk.rows; i++) {
      if (numbers![i] !== current) {
        yield* finished();
        current = numbers![i]!;
        resetState(state);
        foldTo(plan, state, foldAt);
      }
      for (let m = 0; m < row.length; m++) row[m] = measures[m]![i]!;
      insert(plan, state, eventAts![i]!, visibleAts![i]!, row, 0);
    }
  }
  yield* finished();
}

async function* historyStates(
  plan: HistoryPlan,
  { definition, duckdb, foldAt }: LogStatesRequest,
  relation: string,
  counted: Counter,
): AsyncGenerator<NumberedState> {
  const history = createHistory(plan);
  let current = -1;
  function* finished(): Generator<NumberedState> {
    if (current < 0) return;
    foldHistory(plan, history, foldAt);
    if (!isSpentHistory(plan, history, foldAt)) yield { number: current, bytes: encodeHistory(plan, history) };
  }
  const columns = [...columnsOfView(definition.view)].toSorted();
  const row: Record<string, Datum> = {};
  for await (const { rows, columns: cells } of duckdb.chunks(factsSql(plan, columns, relation))) {
    counted.read(rows);
    for (let i = 0; i < rows; i++) {
      const number = Number(cells[0]![i]);
      if (number !== current) {
        yield* finished();
        current = number;
        resetHistory(history);
      }
      columns.forEach((name, c) => {
        const value = cells[6 + c]![i] as Datum;
        // BIGINT comes as a bigint; a number where that is exact is the one form of data
        row[name] = typeof value === 'bigint' ? toInstant(value) : value;
      });
      const at = {
        kind: OPERATIONS[cells[1]![i] as number]!,
        eventAt: toInstant(cells[2]![i] as bigint),
        availableAt: toInstant(cells[3]![i] as bigint),
        seq: Number(cells[4]![i]),
        identity: cells[5]![i] as string,
      };
      addFact(plan, history, factOf(plan, row, at));
    }
  }
  yield* finished();
}

/** Columns of the source that the view's expressions read. */
/**
 * Key number, op, event_at, available_at, ingest_seq, identity, then those that the view reads.
 * Where rows may move, each key that has an older version of a row elsewhere gets the newer version's mark, as
 * `routeVersion` sends it.
 */
function factsSql(plan: HistoryPlan, columns: readonly string[], relation: string): string {
  const values = columns.map((name, c) => `${quote(name)} AS v${c}`);
  const read = ['op', 'event_at', 'available_at', 'ingest_seq', 'event_id', ...values].join(', ');
  const selected = [
    'CAST("number" AS BIGINT)',
    'CAST(op AS UTINYINT)',
    'event_at',
    'available_at',
    'ingest_seq',
    'CAST(event_id AS VARCHAR)',
    ...columns.map((_, c) => `v${c}`),
  ].join(', ');
  const order = 'ORDER BY "number", event_at, available_at, ingest_seq';
  const join = plan.identity === 'row_id' ? 'LEFT JOIN' : 'JOIN';
  const keyed = `SELECT k.${NUMBER} AS "number", ${read} FROM ${relation} e ${join} ${KEYS_TABLE} k ON ${joinKeys(plan, 'e')}`;
  if (plan.identity !== 'row_id') return `SELECT ${selected} FROM (${keyed}) ${order}`;
  return `
    WITH keyed AS (${keyed}),
    place AS (
      SELECT event_id AS "place id", "number" AS "place", min(row(available_at, ingest_seq)) AS "since"
      FROM keyed WHERE "number" IS NOT NULL AND op <> 2 GROUP BY ALL)
    SELECT ${selected} FROM (
      SELECT * FROM keyed WHERE "number" IS NOT NULL
      UNION ALL BY NAME
      SELECT "place" AS "number", 1 AS op, keyed.* EXCLUDE ("number", op) FROM keyed JOIN place ON event_id = "place id"
      WHERE op <> 2 AND "number" IS DISTINCT FROM "place" AND row(available_at, ingest_seq) > "since"
    ) ${order}`;
}

/** Where the versions of each row are, in the bytes that feeding them one by one gives. */
async function* rowIndexes(
  plan: HistoryPlan,
  duckdb: DuckDb,
  relation: string,
  { part, of }: KeysPart,
  signal?: AbortSignal,
): AsyncGenerator<Entry> {
  const chosen = of === 1 ? '' : ` AND hash(event_id) % ${of} = ${part}`;
  const sql =
    `SELECT CAST(event_id AS VARCHAR), CAST(op AS INTEGER), available_at, ingest_seq, ${keyColumns(plan).join(', ')} ` +
    `FROM ${relation} WHERE op <> 2${chosen} ORDER BY event_id, ingest_seq`;
  let current: string | null = null;
  let index: Uint8Array | null = null;
  for await (const { rows, columns } of duckdb.values(sql)) {
    signal?.throwIfAborted();
    for (let i = 0; i < rows; i++) {
      const identity = columns[0]![i] as string;
      if (identity !== current) {
        if (current !== null) yield { part: 'rows', key: Buffer.from(current, 'utf8'), bytes: index! };
        [current, index] = [identity, null];
      }
      const version: RowVersion = {
        key: encodeKey(
          plan.keyParts,
          plan.keyParts.map((_, c) => columns[4 + c]![i]!),
        ),
        kind: columns[1]![i] === 0 ? 'put' : 'retract',
        availableAt: columns[2]![i] as number,
        seq: columns[3]![i] as number,
      };
      index = routeVersion(index, version).index;
    }
  }
  if (current !== null) yield { part: 'rows', key: Buffer.from(current, 'utf8'), bytes: index! };
}
