/** The third witness: the brute-force oracle of the conformance suite, asked about one read over the rows of the world. */
import type { EntitySpec, FeatureViewSpec, ProjectSpec, SourceSpec, WindowSpec } from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import type { Datum } from '../../../features/history/fact.ts';
import type { OutputValue } from '../../../features/history/plan.ts';
import type { OracleAggregate, OracleRow } from '../pit/oracle-terms.ts';
import { aggregate, latest, live } from '../pit/oracle.ts';
import type { ReadKeys } from './definitions.ts';
import { eventIdentities } from './log.ts';
import type { ViewAnswer } from './read-log.ts';
import type { WorldRow } from './world.ts';

export interface Witness {
  /** What the answer must be, from the first `knownSeq` rows of the source alone. */
  readonly answer: (keys: ReadKeys, readAt: Micros, knownSeq: number) => ViewAnswer;
  /** The rows that can matter to a key: its own, and all versions of those. */
  readonly rowsOf: (keys: ReadKeys) => readonly WorldRow[];
}

export function createWitness(project: ProjectSpec, view: FeatureViewSpec, world: readonly WorldRow[]): Witness {
  const source = project.sources.find(({ name }) => name === view.source)!;
  const entity = project.entities.find(({ name }) => name === view.entity)!;
  const rows = indexRows(view, source, world);
  const reach = reachOf(view);
  return {
    rowsOf: (keys) => rows.of(keyOfRead(entity, keys)).map(({ row }) => row),
    answer(keys, readAt, knownSeq) {
      const key = keyOfRead(entity, keys);
      const known = rows.of(key).flatMap(({ row, oracle }) => (row.seq <= knownSeq ? [oracle] : []));
      const cut = BigInt(view.boundary === 'exclusive' ? readAt - 1 : readAt);
      const alive = live(known, key, cut);
      const isInReach = alive.rows.some(({ eventAt }) => reach === null || BigInt(eventAt) > cut - reach);
      const values: OutputValue[] = [];
      const statuses: string[] = [];
      for (const feature of view.features) {
        const { fn, where, by, of, nulls = 'keep' } = feature;
        const asked: OracleAggregate = {
          fn: fn === 'share' ? 'mean' : fn,
          column: of === null ? null : columnName(of),
          holds: (v) => where === null || v[columnName(where)] === true,
          bucket: by === undefined ? null : columnName(by),
          nulls,
          unit: 1n,
          whole: source.columns.some(({ name, type }) => of !== null && name === columnName(of) && type !== 'f64'),
        };
        const push = (value: OutputValue, status: string): void => {
          values.push(value ?? feature.default);
          statuses.push(status);
        };
        if (fn === 'latest') {
          const [value, status] = latest(
            alive,
            asked,
            BigInt(readAt),
            view.ttlMicros === undefined ? null : BigInt(view.ttlMicros),
          );
          push(value, status.toLowerCase());
        }
        for (const window of feature.windows) {
          const value = aggregate(alive.rows, asked, { from: startOf(window, cut), to: cut });
          push(value as OutputValue, !isInReach ? 'not_found' : value === null ? 'null' : 'present');
        }
      }
      return { values, statuses };
    },
  };
}

/** Aggregates of a key without a live row this long before the cut are `not_found`; null: without any live row. */
function reachOf({ features }: FeatureViewSpec): bigint | null {
  const reaches = features.flatMap(({ windows }) =>
    windows.map(({ lengthMicros, hopMicros }) => (lengthMicros === null ? Infinity : lengthMicros + (hopMicros ?? 0))),
  );
  const longest = Math.max(0, ...reaches);
  return longest === Infinity ? null : BigInt(longest);
}

/** The start of `(start, cut]`, moved down to a multiple of the hop. */
function startOf({ lengthMicros, hopMicros }: WindowSpec, cut: bigint): bigint | null {
  if (lengthMicros === null) return null;
  const start = cut - BigInt(lengthMicros);
  // instants of a world are after 1970
  return hopMicros === null ? start : start - (start % BigInt(hopMicros));
}

function columnName(expression: { readonly op: string; readonly name?: string }): string {
  if (expression.op !== 'column') throw new TypeError('the views of the skew check read plain columns');
  return expression.name!;
}

export function keyOfRead({ keys }: EntitySpec, read: ReadKeys): Datum[] {
  return keys.map(({ name }) => read[name as keyof ReadKeys]);
}

interface IndexedRow {
  readonly row: WorldRow;
  readonly oracle: OracleRow;
}

function indexRows(
  view: FeatureViewSpec,
  source: SourceSpec,
  world: readonly WorldRow[],
): { of(key: readonly Datum[]): readonly IndexedRow[] } {
  const versions = source.revisions === 'versions';
  const identityOf = eventIdentities(source);
  const byId = new Map<string, IndexedRow[]>();
  const idsByKey = new Map<string, Set<string>>();
  for (const row of world) {
    if (row.source !== source.name) continue;
    // a tombstone is no version of anything
    const id = versions && row.kind !== 'tombstone' ? identityOf(row) : `#${row.seq}`;
    const key = view.key.map((name) => row.row[name] ?? null);
    const { kind, eventAt, availableAt, seq } = row;
    const indexed = { row, oracle: { kind, key, eventAt, availableAt, seq, id, v: row.row } };
    const known = byId.get(id);
    if (known === undefined) byId.set(id, [indexed]);
    else known.push(indexed);
    const text = JSON.stringify(key);
    const ids = idsByKey.get(text);
    if (ids === undefined) idsByKey.set(text, new Set([id]));
    else ids.add(id);
  }
  const cached = new Map<string, IndexedRow[]>();
  return {
    of(key) {
      const text = JSON.stringify(key);
      let rows = cached.get(text);
      if (rows === undefined) {
        rows = [...(idsByKey.get(text) ?? [])].flatMap((id) => byId.get(id)!);
        cached.set(
          text,
          rows.toSorted((a, b) => a.row.seq - b.row.seq),
        );
      }
      return cached.get(text)!;
    },
  };
}
