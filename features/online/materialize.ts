/** Fills the online store: a whole view from the log, and batches of pushed events as they come. */
import type { BlobStore } from '../../domain/blob.ts';
import { SerinError } from '../../domain/errors.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import { quoteIdentifier, type Row } from '../../domain/project/expression.ts';
import { MICROS_PER_HOUR, type Micros } from '../../domain/time.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { encodeState, foldTo, insert, isSpent, resetState, createState } from '../kernel/view-state.ts';
import { type DuckDb, doubleSql, fileListSql } from '../offline/duckdb.ts';
import type { KeyChange, KeyEvent, OnlineStore, StateEntry, ViewCursor } from './online-store.ts';

/**
 * How far the fold point stays behind the clock of the events. A request whose `asOf` is older than the fold point of a state
 * cannot be answered exactly; requests in flight and clocks that disagree stay well within this.
 */
export const FOLD_LAG_MICROS = MICROS_PER_HOUR;

export interface MaterializeRequest {
  readonly plan: ViewPlan;
  /** The whole log of the view's source: pushed events are written to it before. */
  readonly logFiles: readonly LogFile[];
  /** Events up to here, and no later ones, will be in the store; the cursor says so. */
  readonly upToSeq: number;
  /** The fold point of every state: reads must be at or after it. */
  readonly foldAt: Micros;
  readonly blobs: BlobStore;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
  readonly store: OnlineStore;
  readonly onProgress?: (progress: { readonly events: number; readonly keys: number }) => void;
  readonly signal?: AbortSignal;
}

export interface Materialized {
  /** Events that some window can still reach. */
  readonly events: number;
  readonly keys: number;
}

/**
 * Builds the state of every key from the log and puts them in place of what the view had. Running it twice leaves the same
 * rows. @throws CANCELLED ONLINE_STORE_UNAVAILABLE, and whatever the blob store throws
 */
export async function materializeView(request: MaterializeRequest): Promise<Materialized> {
  const { plan, upToSeq, foldAt, duckdb, store, signal } = request;
  const cursor: ViewCursor = { source: plan.source, appliedSeq: upToSeq, foldedAt: foldAt };
  const progress: Progress = { events: 0, keys: 0 };
  const relation = await eventsSql(request);
  const interrupt = (): void => duckdb.interrupt();
  signal?.addEventListener('abort', interrupt);
  try {
    const states = relation === null ? [] : statesOf(request, relation, progress);
    const keys = await store.replaceAll({ viewId: plan.id, cursor, states });
    return { ...progress, keys };
  } catch (cause) {
    if (signal?.aborted === true) {
      throw new SerinError('CANCELLED', `the materialization of ${plan.id} was cancelled; the view is as it was`, {
        cause,
      });
    }
    throw cause;
  } finally {
    signal?.removeEventListener('abort', interrupt);
    await duckdb.run(`DROP TABLE IF EXISTS ${KEYS_TABLE}`);
  }
}

const KEYS_TABLE = 'serin_view_key';
/** No column of a source has such a name. */
const NUMBER = '"$number"';

/** SQL of the events that matter: known by `upToSeq`, with a whole key, in reach of a window at or after `foldAt`. Null: no file has any. */
async function eventsSql({ plan, logFiles, upToSeq, foldAt, blobs }: MaterializeRequest): Promise<string | null> {
  const reachAt = foldAt - plan.horizonMicros;
  const files = logFiles.filter((file) => file.firstSeq <= upToSeq && file.maxEventAt > reachAt);
  if (files.length === 0) return null;
  const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
  const wholeKey = plan.keyColumns.map((name) => ` AND ${quoteIdentifier(name)} IS NOT NULL`).join('');
  return `(SELECT * FROM read_parquet(${fileListSql(paths)}) WHERE ingest_seq <= ${upToSeq} AND event_at > ${reachAt}${wholeKey})`;
}

/**
 * Replays the events key by key. Keys are numbered in a table, so that the long query has only numbers in it; by event time,
 * so that tiles are filled from left to right.
 */
async function* statesOf(
  { plan, foldAt, duckdb, onProgress, signal }: MaterializeRequest,
  relation: string,
  progress: Progress,
): AsyncGenerator<StateEntry> {
  const keys = await numberKeys(plan, duckdb, relation);
  const state = createState(plan);
  const row = new Float64Array(plan.measureCount);
  let current = -1;
  // nothing when no key is open, or when no read can see anything of it
  function* finished(): Generator<StateEntry> {
    if (current < 0 || isSpent(plan, state, foldAt)) return;
    progress.keys++;
    yield { key: keys[current]!, state: encodeState(plan, state), foldedAt: foldAt };
  }
  for await (const chunk of duckdb.doubles(replaySql(plan, relation))) {
    if (signal?.aborted === true) throw signal.reason;
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
    progress.events += chunk.rows;
    onProgress?.({ ...progress });
  }
  yield* finished();
}

/** @returns the keys by number */
async function numberKeys(plan: ViewPlan, duckdb: DuckDb, relation: string): Promise<Uint8Array[]> {
  const columns = plan.keyColumns.map(quoteIdentifier).join(', ');
  await duckdb.run(
    `CREATE OR REPLACE TEMP TABLE ${KEYS_TABLE} AS SELECT row_number() OVER (ORDER BY ${columns}) - 1 AS ${NUMBER}, ${columns} ` +
      `FROM (SELECT DISTINCT ${columns} FROM ${relation})`,
  );
  const keys: Uint8Array[] = [];
  for await (const chunk of duckdb.values(`SELECT ${columns} FROM ${KEYS_TABLE} ORDER BY ${NUMBER}`)) {
    for (let i = 0; i < chunk.rows; i++) {
      const key = encodeKey(
        plan.keyParts,
        chunk.columns.map((column) => column[i]!),
      );
      if (key === null) throw new RangeError(`${plan.id}: a null key came out of a query that leaves them out`);
      keys.push(key);
    }
  }
  return keys;
}

/** Columns: the key's number, event_at, visible_at, then the measures. */
function replaySql(plan: ViewPlan, relation: string): string {
  const columns = plan.keyColumns.map(quoteIdentifier).join(', ');
  const measures = plan.measureSql.map((sql, i) => `${doubleSql(sql)} AS "$m${i}"`).join(', ');
  return (
    `SELECT CAST(k.${NUMBER} AS DOUBLE), CAST(event_at AS DOUBLE), CAST(greatest(event_at, available_at) AS DOUBLE), ` +
    `${plan.measureSql.map((_, i) => `"$m${i}"`).join(', ')} ` +
    `FROM (SELECT event_at, available_at, ${columns}, ${measures} FROM ${relation}) e ` +
    `JOIN ${KEYS_TABLE} k USING (${columns}) ORDER BY k.${NUMBER}, e.event_at`
  );
}

interface Progress {
  events: number;
  keys: number;
}

function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

/** A pushed event as the buffer holds it. */
export interface PushedEvent {
  readonly seq: number;
  readonly eventAt: Micros;
  readonly availableAt: Micros;
  /** The sender's clock at the push; the fold point follows the latest of them. */
  readonly clockAt: Micros;
  readonly row: Row;
}

export interface ApplyBufferedRequest {
  /** Views of one source. No cursor of them lies before `fromSeqExclusive`. */
  readonly plans: readonly ViewPlan[];
  /** Every buffered event of that source in (fromSeqExclusive, toSeq]; not empty. */
  readonly events: readonly PushedEvent[];
  readonly fromSeqExclusive: number;
  readonly toSeq: number;
  readonly store: OnlineStore;
}

/** Feeds a batch of pushed events to each view. Running it again changes nothing. @returns the cursors, by view */
export async function applyBuffered(request: ApplyBufferedRequest): Promise<ReadonlyMap<string, ViewCursor>> {
  const { plans, events, fromSeqExclusive, toSeq, store } = request;
  const foldAt = Math.max(...events.map(({ clockAt }) => clockAt)) - FOLD_LAG_MICROS;
  const cursors = new Map<string, ViewCursor>();
  for (const plan of plans) {
    const changes = changesOf(plan, events);
    const { cursor } = await store.apply({ plan, fromSeqExclusive, toSeq, foldTo: foldAt, changes });
    cursors.set(plan.id, cursor);
  }
  return cursors;
}

/** Events by key; those with a null key part belong to no entity. */
export function changesOf(plan: ViewPlan, events: readonly PushedEvent[]): KeyChange[] {
  const changes = new Map<string, { key: Uint8Array; events: KeyEvent[] }>();
  for (const { seq, eventAt, availableAt, row } of events) {
    const key = encodeKey(
      plan.keyParts,
      plan.keyColumns.map((name) => row[name] ?? null),
    );
    if (key === null) continue;
    const measures = new Float64Array(plan.measureCount);
    plan.measureRow(row, measures, 0);
    const text = keyText(key);
    let change = changes.get(text);
    if (change === undefined) changes.set(text, (change = { key, events: [] }));
    change.events.push({ seq, eventAt, visibleAt: Math.max(eventAt, availableAt), measures });
  }
  return [...changes.values()];
}
