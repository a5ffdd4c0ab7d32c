/** Lists of keys, as stores send them. */
import type { StateRef } from './online-store.ts';

/** A text per key, for maps; no two keys share one. */
export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

export interface UniqueRefs {
  readonly unique: readonly StateRef[];
  /** `unique[places[i]]` is reference i. */
  readonly places: readonly number[];
  readonly viewIds: readonly string[];
}

export function withoutRepeats(refs: readonly StateRef[]): UniqueRefs {
  const unique: StateRef[] = [];
  const known = new Map<string, Map<string, number>>();
  const places = refs.map((ref) => {
    let keys = known.get(ref.viewId);
    if (keys === undefined) known.set(ref.viewId, (keys = new Map()));
    const text = keyText(ref.key);
    let place = keys.get(text);
    if (place === undefined) keys.set(text, (place = unique.push(ref) - 1));
    return place;
  });
  return { unique, places, viewIds: [...known.keys()] };
}

export interface Concatenated {
  readonly bytes: Buffer;
  /** From 1, as SQL's substring counts. */
  readonly starts: readonly number[];
  readonly lengths: readonly number[];
}

export function concatenated(parts: readonly Uint8Array[]): Concatenated {
  const starts: number[] = [];
  let start = 1;
  for (const part of parts) {
    starts.push(start);
    start += part.byteLength;
  }
  return { bytes: Buffer.concat(parts), starts, lengths: parts.map((part) => part.byteLength) };
}
