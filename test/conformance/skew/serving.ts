/** The serving side: one round trip per batch for all views, values out of stored bytes, what was known with them. */
import { SerinError } from '../../../domain/errors.ts';
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import type { OnlineStore, StateRef } from '../../../features/online/online-store.ts';
import type { OpenStore } from '../../../features/online/open-store.ts';
import type { SkewRead } from './aim.ts';
import type { Moment } from './coverage.ts';
import type { ReadKeys } from './definitions.ts';
import type { ReadRecord, ViewAnswer } from './read-log.ts';
import { createViewReader, type ViewReader } from './view-reader.ts';

/** A batch asked while the store is away is asked again this often; the wait between is the store's own. */
const ATTEMPTS = 200;

export const NOT_ASKED = -1;

export class Serving {
  readonly #open: () => OpenStore;
  readonly #wrap: (store: OnlineStore) => OnlineStore;
  readonly #readers: readonly ViewReader[];
  readonly #keyOf: readonly ((keys: ReadKeys) => Uint8Array | null)[];
  #standing: OpenStore;
  #store: OnlineStore;

  /**
   * @param open  a connection to the store
   * @param wrap  what a planted fault makes of it
   * @param bendKeys  what a planted fault takes for a read's key
   */
  constructor(
    project: ProjectSpec,
    views: readonly CompiledView[],
    open: () => OpenStore,
    wrap: (store: OnlineStore) => OnlineStore = (store) => store,
    bendKeys: (keys: ReadKeys, view: string) => ReadKeys = (keys) => keys,
  ) {
    this.#open = open;
    this.#wrap = wrap;
    this.#readers = views.map((view, i) => createViewReader(view, project.views[i]!, project));
    this.#keyOf = this.#readers.map(
      ({ keyOf }, i) =>
        (keys) =>
          keyOf(bendKeys(keys, project.views[i]!.name)),
    );
    this.#standing = open();
    this.#store = wrap(this.#standing.store);
  }

  /** Closes the connections and opens others, as a restarted server does. */
  async reconnect(): Promise<void> {
    await this.#standing.close();
    this.#standing = this.#open();
    this.#store = this.#wrap(this.#standing.store);
  }

  async close(): Promise<void> {
    await this.#standing.close();
  }

  async read(reads: readonly SkewRead[], moments: readonly Moment[]): Promise<ReadRecord[]> {
    const refs: StateRef[] = [];
    const places = reads.map((read) =>
      this.#readers.map(({ viewId }, view) => {
        const key = this.#keyOf[view]!(read);
        return key === null ? -1 : refs.push({ viewId, key }) - 1;
      }),
    );
    const { states, knownSeq } = await this.#ask(refs);
    // what was in the snapshot that the states are of; a view that none of the rows has a key for was not asked
    const known = this.#readers.map(({ viewId }, view) =>
      places.some((of) => of[view]! >= 0) ? (knownSeq.get(viewId) ?? 0) : NOT_ASKED,
    );
    const decode = this.#readers.map((reader) => reader.decoder());
    return reads.map((read, row): ReadRecord => {
      const open = this.#readers.map((_, view) => {
        const place = places[row]![view]!;
        return decode[view]!(place < 0 ? null : (states[place] ?? null));
      });
      const readAt = Math.max(read.asOf, ...open.map(({ foldedAt }) => foldedAt ?? -Infinity));
      const answers: ViewAnswer[] = open.map((state) => state.answer(readAt));
      return { read, readAt, knownSeq: known, answers, batch: reads.length, moments };
    });
  }

  async #ask(refs: readonly StateRef[]): ReturnType<OnlineStore['read']> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#store.read(refs);
      } catch (error) {
        if (attempt === ATTEMPTS || !(error instanceof SerinError) || !error.retryable) throw error;
      }
    }
  }
}
