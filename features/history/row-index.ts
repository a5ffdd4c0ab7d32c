/**
 * Where the versions of one row are, for sources whose corrections may move a row to another key or time (`row_id`). A
 * key's history sees only what is sent to it, so a row that is elsewhere by its newest version must be marked as gone:
 *
 *   the version itself goes to its key;
 *   its mark (a retract known when the version is) goes to every other key that has an older version of the row;
 *   marks of all newer versions go with it to its own key.
 *
 * In whatever order versions come, each key ends with the same facts, and its history alone is right. A mark of a newer
 * version in the same key is no loss (the version itself, where it still is, wins) and is what lets histories forget rows
 * that are over.
 */
import { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Fact, FactKind } from './fact.ts';
import { toInstant, type Instant } from '../../domain/instant.ts';
import { compareKnowledge } from './order.ts';

export interface RowVersion {
  /** Null: a row with a null key part belongs to no key. */
  readonly key: Uint8Array | null;
  readonly availableAt: Instant;
  readonly seq: number;
  readonly kind: Exclude<FactKind, 'tombstone'>;
}

/** The mark of a version that is elsewhere; `markerOf` makes it a fact. */
export type RowMarker = { readonly kind: 'retract' } & Pick<Fact, 'availableAt' | 'seq'>;

export interface RowAddition {
  readonly key: Uint8Array;
  readonly fact: 'self' | RowMarker;
}

export interface RowRouting {
  /** The row's index with this version. */
  readonly index: Uint8Array;
  readonly additions: RowAddition[];
}

const INDEX_FORMAT = 1;

/** Takes in one version of a row. A version that is known already gives the same index and the same additions again. */
export function routeVersion(indexBytes: Uint8Array | null, version: RowVersion): RowRouting {
  const versions = indexBytes === null ? [] : decodeRowIndex(indexBytes);
  const isKnown = versions.some(({ seq }) => seq === version.seq);
  const additions: RowAddition[] = [];
  const { key } = version;
  const mark: RowMarker = { kind: 'retract', availableAt: toInstant(version.availableAt), seq: version.seq };
  const marked: Uint8Array[] = [];
  if (key !== null) additions.push({ key, fact: 'self' });
  for (const other of versions) {
    if (other.seq === version.seq) continue;
    if (compareKnowledge(other, version) > 0) {
      if (key === null) continue;
      additions.push({ key, fact: { kind: 'retract', availableAt: other.availableAt, seq: other.seq } });
    } else if (other.key !== null && !sameKey(other.key, key) && !marked.some((each) => sameKey(each, other.key))) {
      marked.push(other.key);
      additions.push({ key: other.key, fact: mark });
    }
  }
  if (isKnown) return { index: indexBytes!, additions };
  return { index: encodeRowIndex([...versions, version].toSorted(compareKnowledge)), additions };
}

/** Versions by (availableAt, seq). @throws RangeError for bytes of another format */
export function decodeRowIndex(bytes: Uint8Array): RowVersion[] {
  const from = new ByteReader(bytes);
  const format = from.byte();
  if (format !== INDEX_FORMAT) throw new RangeError(`a row index of format ${format}, not ${INDEX_FORMAT}`);
  const keys = Array.from({ length: from.unsigned() }, () => from.raw(from.unsigned()));
  return Array.from({ length: from.unsigned() }, () => {
    const place = from.unsigned();
    return {
      key: place === 0 ? null : keys[place - 1]!,
      kind: from.byte() === 0 ? 'put' : 'retract',
      availableAt: from.whole(),
      seq: Number(from.whole()),
    };
  });
}

/** @param versions by (availableAt, seq) */
function encodeRowIndex(versions: readonly RowVersion[]): Uint8Array {
  const keys: Uint8Array[] = [];
  const places = versions.map(({ key }) => {
    if (key === null) return 0;
    const known = keys.findIndex((each) => sameKey(each, key));
    return known >= 0 ? known + 1 : keys.push(key);
  });
  const out = new ByteWriter();
  out.byte(INDEX_FORMAT);
  out.unsigned(keys.length);
  for (const key of keys) {
    out.unsigned(key.length);
    out.raw(key);
  }
  out.unsigned(versions.length);
  versions.forEach(({ kind, availableAt, seq }, i) => {
    out.unsigned(places[i]!);
    out.byte(kind === 'put' ? 0 : 1);
    out.whole(availableAt);
    out.whole(seq);
  });
  return out.finish();
}

function sameKey(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null || a.length !== b.length) return false;
  return a.every((byte, i) => byte === b[i]);
}
