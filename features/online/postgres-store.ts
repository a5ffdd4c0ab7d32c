/**
 * The online store on PostgreSQL: tables `online_state` and `online_cursor`.
 *
 * Rows lie in slots, numbers that a view's cursor row points to: two views change places by exchanging the numbers. A reader
 * remembers the slots and asks with them; the cursors come in the same statement and say whether they still hold, so that a
 * read is one round trip but for the first after an exchange.
 *
 * A commit is one statement: the cursor row moves if it is at the expected revision, and the rows are written if it moved.
 * State bytes go in as one binary parameter that SQL slices by offsets (an array parameter would be hex text), and come out
 * as hex, which is all that `pg` reads.
 */
import type { Pool, PoolClient, QueryArrayConfig } from 'pg';
import { CHUNK_BYTES, CHUNK_ENTRIES } from './guarded-write.ts';
import { concatenated, GroupedRefs } from './key-list.ts';
import type {
  Change,
  Commit,
  Entry,
  ExchangeGuard,
  OnlineStore,
  PartRef,
  StateRef,
  StatesRead,
  ViewCursor,
  ViewSnapshot,
} from './online-store.ts';
import { boolArray, byteaArray, int4Array } from './postgres-arrays.ts';
import { answered, inTransaction } from './postgres-connection.ts';
import * as SQL from './postgres-sql.ts';

export interface PostgresStoreOptions {
  readonly pool: Pool;
  /** A read that takes longer fails with ONLINE_STORE_UNAVAILABLE; null waits for ever. */
  readonly readTimeoutMs?: number | null;
}

export function createPostgresStore(pool: Pool, options: Omit<PostgresStoreOptions, 'pool'> = {}): OnlineStore {
  return new PostgresOnlineStore({ pool, ...options });
}

interface Slots {
  readonly states: number;
  readonly rows: number;
}

/** No row is in it. */
const NO_SLOT = 0;
const UNKNOWN: Slots = { states: NO_SLOT, rows: NO_SLOT };
const DUMP_PAGE = 1_000;

export class PostgresOnlineStore implements OnlineStore {
  readonly #pool: Pool;
  readonly #readTimeoutMs: number | null;
  /** By number of views. */
  readonly #readStatements: { readonly name: string; readonly text: string }[] = [];
  /** As last seen; proven by each answer. */
  readonly #slots = new Map<string, Slots>();

  constructor({ pool, readTimeoutMs = null }: PostgresStoreOptions) {
    this.#pool = pool;
    this.#readTimeoutMs = readTimeoutMs;
  }

  async read(refs: readonly StateRef[]): Promise<StatesRead> {
    if (refs.length === 0) return { states: [], knownSeq: new Map(), foldedAt: new Map() };
    const grouped = new GroupedRefs(refs);
    const { viewIds, keys, viewOf, placeOf } = grouped;
    const arrays = keys.map(byteaArray);
    for (;;) {
      const asked = viewIds.map((viewId) => (this.#slots.get(viewId) ?? UNKNOWN).states);
      const found = keys.map((own) => new Array<Uint8Array | null>(own.length).fill(null));
      const knownSeq = new Map<string, number>();
      const foldedAt = new Map<string, number>();
      let stale = false;
      for (const [number, isCursor, text] of await this.#readText(viewIds, asked, arrays)) {
        if (text === null) continue;
        const view = Number(number);
        const bytes = Buffer.from(text.slice(2), 'hex');
        if (isCursor === 'f') {
          eachState(bytes, (key, state) => {
            found[view]![grouped.find(view, key)] = state;
          });
          continue;
        }
        const viewId = viewIds[view]!;
        const appliedSeq = Number(bytes.readBigInt64BE(0));
        if (appliedSeq !== SQL.NEVER_FED) knownSeq.set(viewId, appliedSeq);
        const folded = Number(bytes.readBigInt64BE(16));
        if (folded !== SQL.NEVER_FOLDED) foldedAt.set(viewId, folded);
        const slots = { states: bytes.readInt32BE(8), rows: bytes.readInt32BE(12) };
        stale = this.#learn(viewId, slots, asked[view]!) || stale;
      }
      if (stale) continue;
      const states = new Array<Uint8Array | null>(refs.length);
      for (let i = 0; i < refs.length; i++) states[i] = found[viewOf[i]!]![placeOf[i]!]!;
      return { states, knownSeq, foldedAt };
    }
  }

  async #readText(
    viewIds: readonly string[],
    slots: readonly number[],
    keys: readonly Buffer[],
  ): Promise<readonly SQL.ReadRow[]> {
    const values: unknown[] = [viewIds];
    for (let v = 0; v < viewIds.length; v++) values.push(slots[v], keys[v]);
    let statement = this.#readStatements[viewIds.length];
    if (statement === undefined) {
      statement = { name: `serin_online_read_${viewIds.length}`, text: SQL.readSql(viewIds.length) };
      this.#readStatements[viewIds.length] = statement;
    }
    const query = {
      ...statement,
      values,
      rowMode: 'array' as const,
      // bytes are hex text either way, which is decoded here in one piece
      types: AS_TEXT,
      ...(this.#readTimeoutMs === null ? {} : { query_timeout: this.#readTimeoutMs }),
    };
    return answered(async () => (await this.#pool.query(query)).rows as unknown as SQL.ReadRow[]);
  }

  async cursors(viewIds: readonly string[]): Promise<ReadonlyMap<string, ViewCursor>> {
    const rows = await this.#ask<SQL.CursorRow>('cursors', SQL.CURSORS, [viewIds]);
    const cursors = new Map<string, ViewCursor>();
    for (const row of rows) {
      const cursor = cursorOf(row);
      if (cursor !== null) cursors.set(row[0], cursor);
    }
    return cursors;
  }

  async snapshot(viewId: string, refs: readonly PartRef[]): Promise<ViewSnapshot> {
    const keys = byteaArray(refs.map(({ key }) => key));
    for (;;) {
      const slots = this.#slots.get(viewId) ?? UNKNOWN;
      const rows = await this.#ask<SQL.SnapshotRow>('snapshot', SQL.SNAPSHOT, [
        int4Array(refs.map(({ part }) => slots[part])),
        keys,
        viewId,
      ]);
      const bytes: (Uint8Array | null)[] = refs.map(() => null);
      let snapshot: ViewSnapshot = { revision: 0, cursor: null, bytes };
      let stale = false;
      for (const [place, state, ...row] of rows) {
        if (place > 0) {
          bytes[place - 1] = state;
          continue;
        }
        const [, , , , revision, states, rowsSlot] = row;
        snapshot = { revision: Number(revision), cursor: cursorOf(row), bytes };
        stale = this.#learn(viewId, { states, rows: rowsSlot }, slots.states) && refs.length > 0;
      }
      if (!stale) return snapshot;
    }
  }

  async commit({ viewId, revision, cursor, changes }: Commit): Promise<boolean> {
    const guard = [viewId, cursor?.source ?? null, cursor?.appliedSeq ?? null, cursor?.foldedAt ?? null, revision];
    const gone = changes.filter(({ bytes }) => bytes === null);
    const chunks = [...piecesOf(changes)];
    const [first = [], ...more] = chunks;
    const text = SQL.commitSql({ isNew: revision === 0, deletes: gone.length > 0 });
    const name = `commit_${revision === 0 ? 'new' : 'next'}${gone.length > 0 ? '_gone' : ''}`;
    const values = [
      ...(revision === 0 ? guard.slice(0, 4) : guard),
      ...putParameters(first),
      ...(gone.length > 0 ? [boolArray(gone.map(isRow)), byteaArray(gone.map(({ key }) => key))] : []),
    ];
    if (more.length === 0) return (await this.#ask<SQL.MovedRow>(name, text, values)).length === 1;
    return inTransaction(this.#pool, async (client) => {
      const [moved] = await ask<SQL.MovedRow>(client, name, text, values);
      if (moved === undefined) return false;
      for (const piece of more) await ask(client, 'put', SQL.PUT, [...moved, ...putParameters(piece)]);
      return true;
    });
  }

  async exchange(viewId: string, otherId: string, guard?: ExchangeGuard): Promise<boolean> {
    return inTransaction(this.#pool, async (client) => {
      await client.query(SQL.OPEN_CURSORS, [[viewId, otherId]]);
      await client.query(SQL.LOCK_CURSORS, [[viewId, otherId]]);
      const conditions = [guard?.notBehind ?? false, guard?.otherRevision ?? null];
      const { rowCount } = await client.query(SQL.EXCHANGE, [viewId, otherId, ...conditions]);
      return rowCount === 2;
    });
  }

  async drop(viewId: string, limit: number): Promise<number> {
    return inTransaction(this.#pool, async (client) => {
      const { rowCount } = await client.query(SQL.DROP_ROWS, [viewId, limit]);
      const dropped = rowCount ?? 0;
      if (dropped < limit) await client.query(SQL.DROP_CURSOR, [viewId]);
      return dropped;
    });
  }

  async *dump(viewId: string): AsyncGenerator<Entry> {
    const { rows } = await answered(async () =>
      this.#pool.query<{ states_slot: number; rows_slot: number }>(SQL.SLOTS, [viewId]),
    );
    if (rows[0] === undefined) return;
    for (const [part, slot] of [
      ['states', rows[0].states_slot],
      ['rows', rows[0].rows_slot],
    ] as const) {
      let after: Uint8Array | null = null;
      for (;;) {
        const page: SQL.DumpRow[] = await this.#ask<SQL.DumpRow>('dump', SQL.DUMP, [slot, after, DUMP_PAGE]);
        for (const [key, bytes] of page) yield { part, key, bytes };
        if (page.length < DUMP_PAGE) break;
        after = page.at(-1)![0];
      }
    }
  }

  /** @returns whether the slot that was asked is not the view's */
  #learn(viewId: string, slots: Slots, asked: number): boolean {
    if (slots.states === asked) return false;
    this.#slots.set(viewId, slots);
    return true;
  }

  async #ask<Row extends readonly unknown[]>(name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
    return answered(async () => ask<Row>(this.#pool, name, text, values, this.#readTimeoutMs));
  }
}

const AS_TEXT = { getTypeParser: () => (value: string) => value };

/** As `readSql` packs them. */
function eachState(bytes: Buffer, visit: (key: Uint8Array, state: Uint8Array) => void): void {
  for (let at = 0; at < bytes.length;) {
    const key = bytes.subarray(at + 4, at + 4 + bytes.readInt32BE(at));
    at += 4 + key.length;
    const state = bytes.subarray(at + 4, at + 4 + bytes.readInt32BE(at));
    at += 4 + state.length;
    visit(key, state);
  }
}

async function ask<Row extends readonly unknown[]>(
  on: Pick<PoolClient, 'query'>,
  name: string,
  text: string,
  values: readonly unknown[],
  timeoutMs: number | null = null,
): Promise<Row[]> {
  const query: QueryArrayConfig = { name: `serin_online_${name}`, text, values: [...values], rowMode: 'array' };
  const timeout = timeoutMs === null ? {} : { query_timeout: timeoutMs };
  const { rows } = await on.query<unknown[]>({ ...query, ...timeout });
  return rows as unknown as Row[];
}

function cursorOf([, source, appliedSeq, foldedAt]: SQL.CursorRow): ViewCursor | null {
  if (source === null) return null;
  const folded = foldedAt === null || Number(foldedAt) === SQL.NEVER_FOLDED ? null : Number(foldedAt);
  return { source, appliedSeq: Number(appliedSeq), foldedAt: folded };
}

function isRow({ part }: PartRef): boolean {
  return part === 'rows';
}

function putParameters(entries: readonly Entry[]): unknown[] {
  const keys = concatenated(entries.map(({ key }) => key));
  const states = concatenated(entries.map(({ bytes }) => bytes));
  return [
    keys.bytes,
    states.bytes,
    boolArray(entries.map(isRow)),
    ...[keys.starts, keys.lengths, states.starts, states.lengths].map(int4Array),
  ];
}

/** What is to be written, in pieces that one parameter carries well. */
function* piecesOf(changes: readonly Change[]): Generator<Entry[]> {
  let piece: Entry[] = [];
  let size = 0;
  for (const change of changes) {
    if (change.bytes === null) continue;
    piece.push(change as Entry);
    size += change.bytes.byteLength;
    if (size < CHUNK_BYTES && piece.length < CHUNK_ENTRIES) continue;
    yield piece;
    [piece, size] = [[], 0];
  }
  if (piece.length > 0) yield piece;
}
