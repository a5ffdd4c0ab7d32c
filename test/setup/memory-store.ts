import { keyText } from '../../features/online/key-list.ts';
import type {
  Commit,
  Entry,
  ExchangeGuard,
  OnlineStore,
  PartRef,
  StateRef,
  StatesRead,
  ViewCursor,
  ViewSnapshot,
} from '../../features/online/online-store.ts';

interface MemoryView {
  revision: number;
  cursor: ViewCursor | null;
  readonly entries: Map<string, Entry>;
}

/**
 * An online store in memory: the least that the interface asks for, and the example of docs/guides/another-online-store.md.
 * Nothing here awaits, so every method is atomic.
 */
export class MemoryStore implements OnlineStore {
  readonly #views = new Map<string, MemoryView>();
  /** Round trips, had there been any. */
  reads = 0;

  async read(refs: readonly StateRef[]): Promise<StatesRead> {
    this.reads++;
    const knownSeq = new Map<string, number>();
    const foldedAt = new Map<string, number>();
    const states = refs.map(({ viewId, key }) => {
      const view = this.#views.get(viewId);
      if (view?.cursor) {
        knownSeq.set(viewId, view.cursor.appliedSeq);
        if (view.cursor.foldedAt !== null) foldedAt.set(viewId, view.cursor.foldedAt);
      }
      return view?.entries.get(entryName({ part: 'states', key }))?.bytes ?? null;
    });
    return { states, knownSeq, foldedAt };
  }

  async cursors(viewIds: readonly string[]): Promise<ReadonlyMap<string, ViewCursor>> {
    return new Map(
      viewIds.flatMap((id) => {
        const cursor = this.#views.get(id)?.cursor ?? null;
        return cursor === null ? [] : [[id, cursor] as const];
      }),
    );
  }

  async snapshot(viewId: string, refs: readonly PartRef[]): Promise<ViewSnapshot> {
    const view = this.#views.get(viewId);
    const bytes = refs.map((ref) => view?.entries.get(entryName(ref))?.bytes ?? null);
    return { revision: view?.revision ?? 0, cursor: view?.cursor ?? null, bytes };
  }

  async commit({ viewId, revision, cursor, changes }: Commit): Promise<boolean> {
    const view = this.#views.get(viewId) ?? { revision: 0, cursor: null, entries: new Map<string, Entry>() };
    if (view.revision !== revision) return false;
    for (const { part, key, bytes } of changes) {
      if (bytes === null) view.entries.delete(entryName({ part, key }));
      else view.entries.set(entryName({ part, key }), { part, key: key.slice(), bytes: bytes.slice() });
    }
    view.revision++;
    view.cursor = cursor;
    this.#views.set(viewId, view);
    return true;
  }

  async exchange(viewId: string, otherId: string, guard?: ExchangeGuard): Promise<boolean> {
    const nothing = (): MemoryView => ({ revision: 0, cursor: null, entries: new Map() });
    const [view, other] = [this.#views.get(viewId) ?? nothing(), this.#views.get(otherId) ?? nothing()];
    if (guard?.notBehind === true && (view.cursor?.appliedSeq ?? -1) > (other.cursor?.appliedSeq ?? -1)) return false;
    if (guard?.otherRevision !== undefined && guard.otherRevision !== other.revision) return false;
    view.revision = other.revision = Math.max(view.revision, other.revision) + 1;
    this.#views.set(viewId, other);
    this.#views.set(otherId, view);
    return true;
  }

  async drop(viewId: string, limit: number): Promise<number> {
    const entries = this.#views.get(viewId)?.entries ?? new Map<string, Entry>();
    const names = [...entries.keys()].slice(0, limit);
    for (const name of names) entries.delete(name);
    if (names.length < limit) this.#views.delete(viewId);
    return names.length;
  }

  async *dump(viewId: string): AsyncGenerator<Entry> {
    // a copy: what is written meanwhile may be in it or not
    const entries = Array.from(this.#views.get(viewId)?.entries.values() ?? []);
    yield* entries;
  }
}

function entryName({ part, key }: PartRef): string {
  return `${part} ${keyText(key)}`;
}
