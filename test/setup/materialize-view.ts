/** Fills a view of the online store from the log at once, for tests that are about something else than how views are built. */
import { SerinError } from '../../domain/errors.ts';
import { replaceAll } from '../../features/online/guarded-write.ts';
import { type LogStatesProgress, type LogStatesRequest, statesOfLog } from '../../features/online/log-states.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';

export interface MaterializeRequest extends Omit<LogStatesRequest, 'keys'> {
  readonly store: OnlineStore;
}

/**
 * Builds the state of every key from the log and puts them in place of what the view had. Running it twice leaves the same
 * rows. @throws CANCELLED ONLINE_STORE_UNAVAILABLE, and whatever the blob store throws
 */
export async function materializeView(request: MaterializeRequest): Promise<LogStatesProgress> {
  const { view, upToSeq, foldAt, store, signal, onProgress } = request;
  const { id: viewId, source } = view.plan;
  let progress: LogStatesProgress = { events: 0, keys: 0 };
  let keys = 0;
  async function* counted(): ReturnType<typeof statesOfLog> {
    const watched = (now: LogStatesProgress): void => {
      progress = now;
      onProgress?.(now);
    };
    for await (const entry of statesOfLog({ ...request, onProgress: watched })) {
      if (entry.part === 'states') keys++;
      yield entry;
    }
  }
  try {
    const cursor = { source, appliedSeq: upToSeq, foldedAt: foldAt };
    await replaceAll(store, { viewId, cursor, entries: counted(), label: 'materialize' });
    return { events: progress.events, keys };
  } catch (cause) {
    if (signal?.aborted === true) {
      throw new SerinError('CANCELLED', `the materialization of ${viewId} was cancelled; the view is as it was`, {
        cause,
      });
    }
    throw cause;
  }
}
