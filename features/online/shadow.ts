/**
 * A view built anew beside the one that is in use: filled from the log in steps, brought up to the newest pushed events, and
 * put in place when it lacks none that the other has.
 */
import type { CompiledView } from '../kernel/compiled-view.ts';
import { applyToView } from './apply-events.ts';
import { CHUNK_ENTRIES, chunksOf, putEntries } from './guarded-write.ts';
import { type LogStatesRequest, statesOfLog } from './log-states.ts';
import type { OnlineStore, ViewCursor } from './online-store.ts';
import type { PushedEvent } from './pushed-event.ts';

export interface FillProgress {
  /** Parts that are whole in the shadow. */
  readonly parts: number;
  readonly keys: number;
  readonly events: number;
}

export interface FillShadowRequest extends Omit<LogStatesRequest, 'keys' | 'onProgress'> {
  readonly store: OnlineStore;
  readonly shadowId: string;
  /** The keys are built in so many parts, each with one walk of the log. */
  readonly parts: number;
  /** What an earlier attempt reported last; it goes on there. */
  readonly from: FillProgress;
  /** After each write; the next one waits for it. */
  readonly onWritten: (keys: number) => Promise<void> | void;
  readonly onPart: (progress: FillProgress) => Promise<void> | void;
  /** Most entries of a write. */
  readonly entriesMax?: number;
}

/** Writing a part again leaves the same rows. @throws the signal's reason, ONLINE_STORE_UNAVAILABLE, and whatever the blob store throws */
export async function fillShadow(request: FillShadowRequest): Promise<FillProgress> {
  const { view, store, shadowId, upToSeq, foldAt, parts, from, onWritten, onPart, entriesMax } = request;
  const cursor: ViewCursor = { source: view.plan.source, appliedSeq: upToSeq, foldedAt: foldAt };
  if (from.parts === 0) await putEntries(store, shadowId, [], cursor);
  let [keys, events] = [from.keys, from.events];
  for (let part = from.parts; part < parts; part++) {
    let read = 0;
    const states = statesOfLog({
      ...request,
      keys: { part, of: parts },
      onProgress: (progress) => (read = progress.events),
    });
    for await (const chunk of chunksOf(states, entriesMax ?? CHUNK_ENTRIES)) {
      await putEntries(store, shadowId, chunk, cursor);
      const written = chunk.filter((entry) => entry.part === 'states').length;
      keys += written;
      await onWritten(written);
    }
    events += read;
    await onPart({ parts: part + 1, keys, events });
  }
  return { parts, keys, events };
}

export interface CatchUpRequest {
  readonly view: CompiledView;
  readonly store: OnlineStore;
  readonly shadowId: string;
  /** Every event of the source after `afterSeq`, the next ones first; none: there are no more. */
  readonly readEvents: (afterSeq: number) => Promise<readonly PushedEvent[]>;
  readonly withhold?: (key: Uint8Array) => boolean;
  readonly signal?: AbortSignal;
}

/** Feeds the shadow what was pushed since its log was read. @returns its cursor  @throws RangeError for a shadow that was never filled */
export async function catchUpShadow(request: CatchUpRequest): Promise<ViewCursor> {
  const { view, store, shadowId, readEvents, withhold, signal } = request;
  let cursor = (await store.cursors([shadowId])).get(shadowId);
  if (cursor === undefined) throw new RangeError(`the shadow ${shadowId} was never filled`);
  for (;;) {
    signal?.throwIfAborted();
    const fromSeqExclusive = cursor.appliedSeq;
    const events = await readEvents(fromSeqExclusive);
    if (events.length === 0) return cursor;
    const batch = { view, events, fromSeqExclusive, toSeq: events.at(-1)!.seq, store, viewId: shadowId };
    ({ cursor } = await applyToView({ ...batch, ...(withhold === undefined ? {} : { withhold }) }));
  }
}
