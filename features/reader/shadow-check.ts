/**
 * Holds a shadow against the log before anybody reads it: keys drawn by a seed are read from the shadow as serving reads them,
 * and must be, value and status, what the kernel says of their events in the log with nothing folded, cut off or stored. (Ages
 * are to the end of a tile where an event was folded into one, so they say less of a folded state.)
 */
import type { Instant } from '../../domain/instant.ts';
import type { CompiledView } from '../kernel/compiled-view.ts';
import { type LogStatesRequest, statesOfLog } from '../online/log-states.ts';
import type { Entry, OnlineStore } from '../online/online-store.ts';
import { createViewReader, type ViewReader, type ViewValues } from './view-reader.ts';

export interface ShadowCheckRequest extends Omit<LogStatesRequest, 'keys' | 'onProgress'> {
  readonly store: Pick<OnlineStore, 'read'>;
  readonly shadowId: string;
  /** Keys in the shadow, about: how many parts they are drawn from. */
  readonly keys: number;
  /** How many are looked at, about; all where there are not more. */
  readonly sample: number;
  /** Any whole number: another one draws other keys. */
  readonly seed: number;
}

export interface ShadowDifference {
  readonly key: Uint8Array;
  readonly output: string;
  readonly at: Instant;
  readonly stored: string;
  readonly ofLog: string;
}

export interface ShadowCheck {
  /** Keys that were looked at. */
  readonly keys: number;
  /** At most `DIFFERENCES_MAX`. */
  readonly differences: readonly ShadowDifference[];
}

const DIFFERENCES_MAX = 20;
const BATCH = 500;
/** Before all that can have happened, so that nothing is folded and nothing out of reach. */
const BEGINNING = Number.MIN_SAFE_INTEGER + 1;

export async function checkShadow(request: ShadowCheckRequest): Promise<ShadowCheck> {
  const { view, store, shadowId, keys, sample, seed, signal } = request;
  const of = Math.max(1, Math.ceil(keys / sample));
  const reader = createViewReader(view);
  const instants = instantsOf(request);
  const differences: ShadowDifference[] = [];
  let looked = 0;
  const compare = async (batch: readonly Entry[]): Promise<void> => {
    signal?.throwIfAborted();
    const { states } = await store.read(batch.map(({ key }) => ({ viewId: shadowId, key })));
    batch.forEach(({ key, bytes }, i) => {
      looked++;
      if (differences.length < DIFFERENCES_MAX) {
        differences.push(...differencesOf({ view, reader, key, stored: states[i]!, ofLog: bytes, instants }));
      }
    });
  };
  let batch: Entry[] = [];
  const part = ((seed % of) + of) % of;
  for await (const entry of statesOfLog({ ...request, foldAt: BEGINNING, keys: { part, of } })) {
    if (entry.part !== 'states') continue;
    batch.push(entry);
    if (batch.length < BATCH) continue;
    await compare(batch);
    batch = [];
  }
  await compare(batch);
  return { keys: looked, differences: differences.slice(0, DIFFERENCES_MAX) };
}

/** The fold point, the microsecond after, the newest event, and when windows have moved on from it. */
function instantsOf({ foldAt, logFiles }: ShadowCheckRequest): readonly number[] {
  const newest = logFiles.reduce((latest, file) => Math.max(latest, file.maxEventAt, file.maxAvailableAt), foldAt);
  const hour = 3_600_000_000;
  return [...new Set([foldAt, foldAt + 1, Math.floor((foldAt + newest) / 2), newest, newest + hour])];
}

interface Compared {
  readonly view: CompiledView;
  readonly reader: ViewReader;
  readonly key: Uint8Array;
  readonly stored: Uint8Array | null;
  readonly ofLog: Uint8Array;
  readonly instants: readonly number[];
}

function differencesOf({ view, reader, key, stored, ofLog, instants }: Compared): ShadowDifference[] {
  let states: (ReturnType<ViewReader['decode']> | null)[];
  try {
    states = [stored, ofLog].map((bytes) => (bytes === null ? null : reader.decode(bytes)));
  } catch (error) {
    const first = { key, output: outputsOf(view)[0]!, at: instants[0]! };
    return [{ ...first, stored: `unreadable (${(error as Error).message})`, ofLog: 'a state' }];
  }
  for (const at of instants) {
    const [a, b] = states.map((state) => reader.read(state, at)) as [ViewValues, ViewValues];
    const found = outputsOf(view).flatMap((output, i) => {
      const [mine, theirs] = [shown(a, i), shown(b, i)];
      return mine === theirs ? [] : [{ key, output, at, stored: mine, ofLog: theirs }];
    });
    // what is wrong at one instant is mostly wrong at the others
    if (found.length > 0) return found;
  }
  return [];
}

function outputsOf({ plan }: CompiledView): string[] {
  return plan.outputs.map(({ name }) => name);
}

/** Tells any two values apart: -0 from 0, a bigint from a number. */
function shown({ values, statuses }: ViewValues, output: number): string {
  const value = JSON.stringify(values[output], (_, each: unknown) => {
    if (typeof each === 'bigint') return `${each}n`;
    return Object.is(each, -0) ? '-0' : each;
  });
  return `${value} (${statuses[output]!})`;
}
