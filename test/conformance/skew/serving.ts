/** The serving side: a connection to the store that may break or be closed at any time, and what it answers. */
import { SerinError } from '../../../domain/errors.ts';
import { versioned, type ProjectSpec } from '../../../domain/project/spec.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import type { OpenStore } from '../../../features/online/open-store.ts';
import type { SkewRead } from './aim.ts';
import type { Moment } from './coverage.ts';
import type { ReadRecord } from './read-log.ts';
import { hasKey, type PathRead, type ReadPath } from './read-path.ts';

/** A batch asked while the store is away is asked again this often; the wait between is the store's own. */
const ATTEMPTS = 200;

export const NOT_ASKED = -1;

export interface ServingOptions {
  readonly project: ProjectSpec;
  readonly path: ReadPath;
  readonly open: () => OpenStore;
  /** What a planted fault makes of the store. */
  readonly wrap?: (store: OnlineStore) => OnlineStore;
}

export class Serving {
  readonly #options: ServingOptions;
  readonly #views: readonly { readonly id: string; readonly hasKey: (read: SkewRead) => boolean }[];
  #standing: OpenStore;
  #store: OnlineStore;

  constructor(options: ServingOptions) {
    const { project } = options;
    this.#options = options;
    this.#views = project.views.map((view, i) => ({ id: versioned(view), hasKey: hasKey(project, i) }));
    this.#standing = options.open();
    this.#store = this.#wrapped();
  }

  /** Closes the connections and opens others, as a restarted server does. */
  async reconnect(): Promise<void> {
    await this.#standing.close();
    this.#standing = this.#options.open();
    this.#store = this.#wrapped();
  }

  async close(): Promise<void> {
    await this.#standing.close();
  }

  async read(reads: readonly SkewRead[], moments: readonly Moment[]): Promise<ReadRecord[]> {
    const { answers, readAt, knownSeq } = await this.#ask(reads);
    // what was in the snapshot that the states are of; a view that none of the rows has a key for was not asked
    const known = this.#views.map(({ id, hasKey: isAsked }) =>
      reads.some(isAsked) ? (knownSeq.get(id) ?? 0) : NOT_ASKED,
    );
    return reads.map((read, row): ReadRecord => ({
      read,
      readAt: readAt[row]!,
      knownSeq: known,
      answers: answers[row]!,
      batch: reads.length,
      moments,
    }));
  }

  #wrapped(): OnlineStore {
    const { store } = this.#standing;
    return this.#options.wrap?.(store) ?? store;
  }

  async #ask(reads: readonly SkewRead[]): Promise<PathRead> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#options.path.read(this.#store, reads);
      } catch (error) {
        if (attempt === ATTEMPTS || !(error instanceof SerinError) || !error.retryable) throw error;
      }
    }
  }
}
