/**
 * The online store on PostgreSQL: tables `online_state` and `online_cursor`.
 *
 * Every writer of a view locks its cursor row first, so writers of a view run one after the other and state rows need no
 * locks of their own. `replaceAll` deletes and inserts in one transaction instead of loading a shadow and renaming it: readers
 * keep their snapshot of the old rows until the commit, and nothing is written twice.
 *
 * State bytes go in as one binary parameter that SQL slices by offsets (an array parameter would be hex text), and come out
 * as hex, which is all that `pg` reads.
 */
import type { Pool, PoolClient } from 'pg';
import { SerinError } from '../../domain/errors.ts';
import type { Micros } from '../../domain/time.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { createState, decodeState, encodeState, foldTo, insert, isSpent } from '../kernel/view-state.ts';
import type {
  ApplyRequest,
  ApplyResult,
  KeyChange,
  OnlineStore,
  ReplaceRequest,
  StateEntry,
  StateRef,
  StatesRead,
  ViewCursor,
} from './online-store.ts';

export interface PostgresStoreOptions {
  readonly pool: Pool;
  /** A read that takes longer fails with ONLINE_STORE_UNAVAILABLE; null waits for ever. */
  readonly readTimeoutMs?: number | null;
}

export function createPostgresStore(pool: Pool, options: Omit<PostgresStoreOptions, 'pool'> = {}): OnlineStore {
  return new PostgresOnlineStore({ pool, ...options });
}

export class PostgresOnlineStore implements OnlineStore {
  readonly #pool: Pool;
  readonly #readTimeoutMs: number | null;

  constructor({ pool, readTimeoutMs = null }: PostgresStoreOptions) {
    this.#pool = pool;
    this.#readTimeoutMs = readTimeoutMs;
  }

  async read(refs: readonly StateRef[]): Promise<StatesRead> {
    if (refs.length === 0) return { states: [], knownSeq: new Map() };
    const { unique, places } = withoutRepeats(refs);
    const values = [unique.map(({ viewId }) => viewId), unique.map(({ key }) => key)];
    const query = { name: 'serin_online_read', text: READ_SQL, values, rowMode: 'array' as const };
    const timeout = this.#readTimeoutMs === null ? {} : { query_timeout: this.#readTimeoutMs };
    const { rows } = await answered(async () =>
      this.#pool.query<[place: number, state: Buffer | null, viewId: string | null, appliedSeq: unknown]>({
        ...query,
        ...timeout,
      }),
    );
    const found: (Uint8Array | null)[] = unique.map(() => null);
    const knownSeq = new Map<string, number>();
    for (const [place, state, viewId, appliedSeq] of rows) {
      if (viewId === null) found[place - 1] = state;
      else knownSeq.set(viewId, Number(appliedSeq));
    }
    return { states: places.map((place) => found[place]!), knownSeq };
  }

  async apply({ plan, fromSeqExclusive, toSeq, foldTo: foldAt, changes }: ApplyRequest): Promise<ApplyResult> {
    return this.#transaction(async (client) => {
      const standing = await lockCursor(client, plan.id, plan.source);
      if (standing.appliedSeq >= toSeq) return { applied: false, cursor: standing };
      if (standing.appliedSeq < fromSeqExclusive) {
        throw new RangeError(
          `${plan.id} has events up to ${standing.appliedSeq}; a batch from ${fromSeqExclusive} on would leave a gap`,
        );
      }
      const cursor: ViewCursor = {
        source: plan.source,
        appliedSeq: toSeq,
        foldedAt: Math.max(standing.foldedAt, foldAt),
      };
      const { changed, spent } = await nextStates(client, plan, standing.appliedSeq, cursor.foldedAt, changes);
      for (const chunk of chunksOf(changed)) await writeStates(client, plan.id, chunk);
      if (spent.length > 0) await client.query(DELETE_SQL, [plan.id, spent]);
      await moveCursor(client, plan.id, cursor);
      return { applied: true, cursor };
    });
  }

  async replaceAll({ viewId, cursor, states }: ReplaceRequest): Promise<number> {
    return this.#transaction(async (client) => {
      await lockCursor(client, viewId, cursor.source);
      await client.query('delete from online_state where view_id = $1', [viewId]);
      let written = 0;
      let chunk: StateEntry[] = [];
      let bytes = 0;
      for await (const entry of states) {
        chunk.push(entry);
        bytes += entry.state.byteLength;
        if (bytes < CHUNK_BYTES && chunk.length < CHUNK_STATES) continue;
        await writeStates(client, viewId, chunk);
        written += chunk.length;
        [chunk, bytes] = [[], 0];
      }
      if (chunk.length > 0) await writeStates(client, viewId, chunk);
      await moveCursor(client, viewId, cursor);
      return written + chunk.length;
    });
  }

  async cursor(viewId: string): Promise<ViewCursor | null> {
    const { rows } = await answered(async () =>
      this.#pool.query<CursorRow>('select source, applied_seq, folded_at from online_cursor where view_id = $1', [
        viewId,
      ]),
    );
    return rows[0] === undefined ? null : cursorOf(rows[0]);
  }

  async #transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return answered(async () => {
      const client = await this.#pool.connect();
      let broken: Error | undefined;
      // a connection that dies between two statements says so by an event, which nobody else listens for
      const onError = (error: Error): void => {
        broken = error;
      };
      client.on('error', onError);
      try {
        await client.query('begin');
        const result = await work(client);
        await client.query('commit');
        return result;
      } catch (error) {
        // a connection that cannot even roll back is not given back to the pool; the server then rolls back by itself
        await client.query('rollback').catch((failure: unknown) => {
          broken = failure instanceof Error ? failure : new Error(String(failure));
        });
        throw error;
      } finally {
        client.off('error', onError);
        client.release(broken);
      }
    });
  }
}

/** `lateral` with a limit: one index probe per key, whatever the planner thinks of the table's size. */
const READ_SQL = `
  select r.place::int4, s.state, null::text as view_id, null::int8 as applied_seq
  from unnest($1::text[], $2::bytea[]) with ordinality as r (view_id, key, place)
  cross join lateral (
    select state from online_state o where o.view_id = r.view_id and o.key = r.key limit 1
  ) s
  union all
  select 0, null, c.view_id, c.applied_seq from online_cursor c where c.view_id = any($1)`;

const WRITE_SQL = `
  insert into online_state (view_id, key, state, folded_at)
  select $1, substring($2::bytea from e.key_at for e.key_bytes), substring($3::bytea from e.state_at for e.state_bytes), e.folded_at
  from unnest($4::int4[], $5::int4[], $6::int4[], $7::int4[], $8::int8[]) as e (key_at, key_bytes, state_at, state_bytes, folded_at)
  on conflict (view_id, key) do update set state = excluded.state, folded_at = excluded.folded_at`;

const DELETE_SQL = 'delete from online_state where view_id = $1 and key = any($2::bytea[])';

/** Of a cursor before its first batch: nothing is folded. */
const NEVER_FOLDED: Micros = -Number.MAX_SAFE_INTEGER;
const CHUNK_STATES = 5_000;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** `unique[places[i]]` is reference i. */
function withoutRepeats(refs: readonly StateRef[]): { readonly unique: StateRef[]; readonly places: number[] } {
  const unique: StateRef[] = [];
  const known = new Map<string, number>();
  const places = refs.map((ref) => {
    const text = `${ref.viewId} ${keyText(ref.key)}`;
    let place = known.get(text);
    if (place === undefined) known.set(text, (place = unique.push(ref) - 1));
    return place;
  });
  return { unique, places };
}

/** A text per key, for maps. */
function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

interface CursorRow {
  readonly source: string;
  readonly applied_seq: unknown;
  readonly folded_at: unknown;
}

function cursorOf({ source, applied_seq, folded_at }: CursorRow): ViewCursor {
  return { source, appliedSeq: Number(applied_seq), foldedAt: Number(folded_at) };
}

async function lockCursor(client: PoolClient, viewId: string, source: string): Promise<ViewCursor> {
  await client.query(
    'insert into online_cursor (view_id, source, applied_seq, folded_at) values ($1, $2, 0, $3) on conflict (view_id) do nothing',
    [viewId, source, NEVER_FOLDED],
  );
  const { rows } = await client.query<CursorRow>(
    'select source, applied_seq, folded_at from online_cursor where view_id = $1 for update',
    [viewId],
  );
  return cursorOf(rows[0]!);
}

async function moveCursor(
  client: PoolClient,
  viewId: string,
  { source, appliedSeq, foldedAt }: ViewCursor,
): Promise<void> {
  await client.query('update online_cursor set source = $2, applied_seq = $3, folded_at = $4 where view_id = $1', [
    viewId,
    source,
    appliedSeq,
    foldedAt,
  ]);
}

/** The touched states with the events after `appliedSeq` in them, folded; `spent`: keys that no later read can see. */
async function nextStates(
  client: PoolClient,
  plan: ViewPlan,
  appliedSeq: number,
  foldAt: Micros,
  changes: readonly KeyChange[],
): Promise<{ readonly changed: StateEntry[]; readonly spent: Uint8Array[] }> {
  const { rows } = await client.query<{ key: Buffer; state: Buffer }>(
    'select key, state from online_state where view_id = $1 and key = any($2::bytea[])',
    [plan.id, changes.map(({ key }) => key)],
  );
  const stored = new Map(rows.map(({ key, state }) => [keyText(key), state]));
  const changed: StateEntry[] = [];
  const spent: Uint8Array[] = [];
  for (const { key, events } of changes) {
    const bytes = stored.get(keyText(key));
    const state = bytes === undefined ? createState(plan) : decodeState(plan, bytes);
    for (const { seq, eventAt, visibleAt, measures } of events) {
      if (seq > appliedSeq) insert(plan, state, eventAt, visibleAt, measures, 0);
    }
    foldTo(plan, state, foldAt);
    if (isSpent(plan, state, foldAt)) spent.push(key);
    else changed.push({ key, state: encodeState(plan, state), foldedAt: state.foldedAt });
  }
  return { changed, spent };
}

function* chunksOf(entries: readonly StateEntry[]): Generator<StateEntry[]> {
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    bytes += entries[i]!.state.byteLength;
    if (bytes < CHUNK_BYTES && i + 1 - from < CHUNK_STATES && i + 1 < entries.length) continue;
    yield entries.slice(from, i + 1);
    [from, bytes] = [i + 1, 0];
  }
}

async function writeStates(client: PoolClient, viewId: string, entries: readonly StateEntry[]): Promise<void> {
  const keys = concatenated(entries.map(({ key }) => key));
  const states = concatenated(entries.map(({ state }) => state));
  await client.query({
    name: 'serin_online_write',
    text: WRITE_SQL,
    values: [
      viewId,
      keys.bytes,
      states.bytes,
      keys.starts,
      keys.lengths,
      states.starts,
      states.lengths,
      entries.map(({ foldedAt }) => foldedAt),
    ],
  });
}

/** Starts count from 1, as SQL's substring does. */
function concatenated(parts: readonly Uint8Array[]): { bytes: Buffer; starts: number[]; lengths: number[] } {
  const starts: number[] = [];
  let start = 1;
  for (const part of parts) {
    starts.push(start);
    start += part.byteLength;
  }
  return { bytes: Buffer.concat(parts), starts, lengths: parts.map((part) => part.byteLength) };
}

/** SQLSTATE classes 08 (connection), 53 (resources), 57P (shutdown, recovery), idle-in-transaction timeout; sockets; DNS. */
const UNREACHABLE_CODE = /^(08|53|57P|25P03|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_)/;
/** What `pg` throws without a code. */
const UNREACHABLE_MESSAGE =
  /^(connection terminated|timeout exceeded when trying to connect|query read timeout|client has encountered a connection error)/i;

/** Failures to reach PostgreSQL (and its own shutdown, recovery or lack of resources) become one retryable error. */
async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const isUnreachable =
      typeof code === 'string' ? UNREACHABLE_CODE.test(code) : UNREACHABLE_MESSAGE.test(String(message));
    if (!isUnreachable) throw error;
    const reason = [code, message].filter((part) => typeof part === 'string' && part !== '').join(', ');
    throw new SerinError('ONLINE_STORE_UNAVAILABLE', `the online store does not answer (${reason})`, { cause: error });
  }
}
