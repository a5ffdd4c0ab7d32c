/**
 * The online store on Redis: per view one hash of states, with the cursor in it as one more field, and one hash of the row
 * index. So one HMGET reads states and cursor from one snapshot, RENAME exchanges views, and UNLINK takes one away.
 *
 * A commit is one script: it compares the revision, then writes. Redis may lose its last writes with its process; states and
 * cursor are lost together then, and events are applied again from the cursor.
 *
 * Field names are keys as Latin-1 text (in UTF-8 on the wire, which is as unique): the client writes texts in one piece and
 * every buffer by itself.
 */
import { GroupedRefs, keyText } from './key-list.ts';
import {
  type Commit,
  type Entry,
  type ExchangeGuard,
  type OnlineStore,
  type Part,
  type PartRef,
  type StateRef,
  type StatesRead,
  type ViewCursor,
  viewOfShadow,
  type ViewSnapshot,
} from './online-store.ts';
import type { RedisConnection } from './redis-connection.ts';
import { COMMIT_SCRIPT, EXCHANGE_SCRIPT } from './redis-scripts.ts';

export interface RedisStoreOptions {
  readonly connection: RedisConnection;
  /** Before every key of this store. */
  readonly namespace?: string;
}

/** The field of the cursor; keys of entities never begin with a zero byte. */
const CURSOR = '\0cursor';
const DUMP_PAGE = 1_000;
/** Names that are remembered. */
const HASHES_MAX = 10_000;

export class RedisOnlineStore implements OnlineStore {
  readonly #connection: RedisConnection;
  readonly #namespace: string;
  readonly #hashes = new Map<string, Readonly<Record<Part, string>>>();

  constructor({ connection, namespace = 'serin' }: RedisStoreOptions) {
    this.#connection = connection;
    this.#namespace = namespace;
  }

  async read(refs: readonly StateRef[]): Promise<StatesRead> {
    if (refs.length === 0) return { states: [], knownSeq: new Map(), foldedAt: new Map() };
    const { viewIds, keys, viewOf, placeOf } = new GroupedRefs(refs);
    const commands = viewIds.map((viewId, v) => {
      const command = ['HMGET', this.#hash(viewId, 'states'), CURSOR];
      for (const key of keys[v]!) command.push(keyText(key));
      return command;
    });
    // commands of one turn leave in one piece
    const replies = (await this.#connection.ask(commands)) as readonly (readonly (Buffer | null)[])[];
    const knownSeq = new Map<string, number>();
    const foldedAt = new Map<string, number>();
    for (let v = 0; v < viewIds.length; v++) {
      const cursor = replies[v]![0] ?? null;
      const known = cursor === null ? null : parseCursor(cursor).cursor;
      if (known === null) continue;
      knownSeq.set(viewIds[v]!, known.appliedSeq);
      if (known.foldedAt !== null) foldedAt.set(viewIds[v]!, known.foldedAt);
    }
    const states = new Array<Uint8Array | null>(refs.length);
    for (let i = 0; i < refs.length; i++) states[i] = replies[viewOf[i]!]![placeOf[i]! + 1] ?? null;
    return { states, knownSeq, foldedAt };
  }

  async cursors(viewIds: readonly string[]): Promise<ReadonlyMap<string, ViewCursor>> {
    const replies = await this.#connection.ask(viewIds.map((id) => ['HGET', this.#hash(id, 'states'), CURSOR]));
    const cursors = new Map<string, ViewCursor>();
    replies.forEach((reply, i) => {
      const cursor = reply === null ? null : parseCursor(reply as Buffer).cursor;
      if (cursor !== null) cursors.set(viewIds[i]!, cursor);
    });
    return cursors;
  }

  async snapshot(viewId: string, refs: readonly PartRef[]): Promise<ViewSnapshot> {
    const fields: Record<Part, string[]> = { states: [], rows: [] };
    const at = refs.map(({ part, key }) => fields[part].push(keyText(key)) - 1);
    const commands = [['HMGET', this.#hash(viewId, 'states'), CURSOR, ...fields.states]];
    if (fields.rows.length > 0) commands.push(['HMGET', this.#hash(viewId, 'rows'), ...fields.rows]);
    const [states, rows = []] = (await this.#connection.ask(commands)) as (readonly (Buffer | null)[])[];
    const bytes = refs.map(({ part }, i) => (part === 'rows' ? rows[at[i]!]! : states![at[i]! + 1]!));
    const cursor = states![0] ?? null;
    return cursor === null ? { revision: 0, cursor: null, bytes } : { ...parseCursor(cursor), bytes };
  }

  async commit({ viewId, revision, cursor, changes }: Commit): Promise<boolean> {
    const puts: Record<Part, (string | Buffer)[]> = { states: [], rows: [] };
    const gone: Record<Part, string[]> = { states: [], rows: [] };
    for (const { part, key, bytes } of changes) {
      if (bytes === null) gone[part].push(keyText(key));
      else puts[part].push(keyText(key), asBuffer(bytes));
    }
    const reply = await this.#connection.run(
      COMMIT_SCRIPT,
      [this.#hash(viewId, 'states'), this.#hash(viewId, 'rows')],
      [
        CURSOR,
        String(revision),
        formatCursor({ revision: revision + 1, cursor }),
        ...[puts.states, gone.states, puts.rows, gone.rows].map((list) => String(list.length)),
        ...puts.states,
        ...gone.states,
        ...puts.rows,
        ...gone.rows,
      ],
    );
    return reply === 1;
  }

  async exchange(viewId: string, otherId: string, guard?: ExchangeGuard): Promise<boolean> {
    const hashes = [viewId, otherId].flatMap((id) => [this.#hash(id, 'states'), this.#hash(id, 'rows')]);
    const conditions = [guard?.notBehind === true ? '1' : '0', String(guard?.otherRevision ?? '-')];
    const reply = await this.#connection.run(EXCHANGE_SCRIPT, hashes, [CURSOR, ...conditions]);
    return reply === 1;
  }

  async drop(viewId: string, limit: number): Promise<number> {
    // the memory is given back in the background: no need of pieces
    const [states, rows] = [this.#hash(viewId, 'states'), this.#hash(viewId, 'rows')];
    const [all, cursor, index] = await this.#connection.ask([
      ['HLEN', states],
      ['HEXISTS', states, CURSOR],
      ['HLEN', rows],
      ['UNLINK', states, rows],
    ]);
    return Math.min(limit - 1, Number(all) - Number(cursor) + Number(index));
  }

  async *dump(viewId: string): AsyncGenerator<Entry> {
    for (const part of ['states', 'rows'] as const) {
      let cursor = '0';
      do {
        const command = ['HSCAN', this.#hash(viewId, part), cursor, 'COUNT', String(DUMP_PAGE)];
        const [next, pairs] = (await this.#connection.ask([command]))[0] as [Buffer, Buffer[]];
        for (let i = 0; i < pairs.length; i += 2) {
          const field = pairs[i]!.toString('utf8');
          if (field !== CURSOR) yield { part, key: Buffer.from(field, 'latin1'), bytes: pairs[i + 1]! };
        }
        cursor = next.toString('latin1');
      } while (cursor !== '0');
    }
  }

  /** The tag in braces keeps what belongs to a view, shadows too, on one node of a cluster. */
  #hash(viewId: string, part: Part): string {
    const known = this.#hashes.get(viewId);
    if (known !== undefined) return known[part];
    const view = viewOfShadow(viewId);
    const states = `${this.#namespace}:{${view}}${viewId.slice(view.length)}`;
    const hashes = { states, rows: `${states}:rows` };
    if (this.#hashes.size < HASHES_MAX) this.#hashes.set(viewId, hashes);
    return hashes[part];
  }
}

/** `<revision>`, or `<revision> <appliedSeq> <foldedAt or -> <source>` */
function formatCursor({ revision, cursor }: Pick<ViewSnapshot, 'revision' | 'cursor'>): string {
  if (cursor === null) return String(revision);
  return `${revision} ${cursor.appliedSeq} ${cursor.foldedAt ?? '-'} ${cursor.source}`;
}

function parseCursor(bytes: Buffer): Pick<ViewSnapshot, 'revision' | 'cursor'> {
  const text = bytes.toString('utf8');
  const [revision, appliedSeq, foldedAt, ...source] = text.split(' ');
  if (appliedSeq === undefined) return { revision: Number(revision), cursor: null };
  return {
    revision: Number(revision),
    cursor: {
      source: source.join(' '),
      appliedSeq: Number(appliedSeq),
      foldedAt: foldedAt === '-' ? null : Number(foldedAt),
    },
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
