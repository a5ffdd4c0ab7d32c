/** How a batch of reads becomes answers: by the product's feature reader, or with parts of it that a planted fault has bent. */
import type { Row, Value } from '../../../domain/project/expression.ts';
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import type { OutputValue } from '../../../features/history/plan.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../../features/kernel/key-encoding.ts';
import type { FeatureStatus } from '../../../features/kernel/view-state.ts';
import type { OnlineStore, StateRef } from '../../../features/online/online-store.ts';
import { compileFeatureReader } from '../../../features/reader/feature-reader.ts';
import { createViewReader, type DecodedState } from '../../../features/reader/view-reader.ts';
import type { SkewRead } from './aim.ts';
import { EVERYTHING, type ReadKeys } from './definitions.ts';
import type { ViewAnswer } from './read-log.ts';
import { keyOfRead } from './witness.ts';

export interface PathRead {
  /** Per row, one answer per view. */
  readonly answers: readonly (readonly ViewAnswer[])[];
  readonly readAt: readonly Micros[];
  readonly knownSeq: ReadonlyMap<string, number>;
}

export interface ReadPath {
  read(store: Pick<OnlineStore, 'read'>, reads: readonly SkewRead[]): Promise<PathRead>;
}

/** The one that serves: a feature set that has every output of every view. */
export function servingPath(project: ProjectSpec): ReadPath {
  const set = project.featureSets.find(({ name }) => name === EVERYTHING)!;
  const reader = compileFeatureReader(project, `${set.name}@${set.version}`);
  const names = project.views.map(({ name }) =>
    set.features.flatMap((feature) => (feature.kind === 'view' && feature.alias === name ? [feature.name] : [])),
  );
  return {
    async read(store, reads) {
      const asked = reads.map(({ rider, city, sku, device, asOf }) => ({
        request: { rider, city, sku, device },
        asOf,
      }));
      const { rows, knownSeq } = await reader.readRows(store, asked);
      return {
        answers: rows.map(({ values, statuses }) =>
          names.map((of) =>
            answerOf(
              of.map((name) => values[name]!),
              of.map((name) => statuses[name]!),
            ),
          ),
        ),
        readAt: rows.map(({ readAt }) => readAt),
        knownSeq,
      };
    },
  };
}

/** The same by hand, so that the plans and the keys may be others than the project's. */
export function bentPath(
  project: ProjectSpec,
  views: readonly CompiledView[],
  bendKeys: (keys: ReadKeys, view: string) => ReadKeys = (keys) => keys,
): ReadPath {
  const readers = views.map((view, i) => {
    const spec = project.views[i]!;
    const entity = project.entities.find(({ name }) => name === spec.entity)!;
    const keyOf = (read: SkewRead): Uint8Array | null =>
      encodeKey(view.plan.keyParts, keyOfRead(entity, bendKeys(read, spec.name)) as Value[]);
    return { viewId: view.plan.id, keyOf, ...createViewReader(view) };
  });
  return {
    async read(store, reads) {
      const refs: StateRef[] = [];
      const places = reads.map((read) =>
        readers.map(({ viewId, keyOf }) => {
          const key = keyOf(read);
          return key === null ? -1 : refs.push({ viewId, key }) - 1;
        }),
      );
      const { states, knownSeq, foldedAt } = await store.read(refs);
      const decoded = new Map<Uint8Array, DecodedState>();
      const rows = places.map((of, row) => {
        const open = readers.map((reader, view) => {
          const bytes = of[view]! < 0 ? null : (states[of[view]!] ?? null);
          if (bytes === null) return null;
          let state = decoded.get(bytes);
          if (state === undefined) decoded.set(bytes, (state = reader.decode(bytes)));
          return state;
        });
        const exactFrom = open.map((state, view) => {
          if (of[view]! < 0) return -Infinity;
          return Number((state === null ? foldedAt.get(readers[view]!.viewId) : state.foldedAt) ?? -Infinity);
        });
        const readAt = Math.max(reads[row]!.asOf, ...exactFrom);
        return {
          readAt,
          answers: readers.map((reader, view) => {
            const { values, statuses } = reader.read(open[view]!, readAt);
            return answerOf(values, statuses);
          }),
        };
      });
      return { answers: rows.map(({ answers }) => answers), readAt: rows.map(({ readAt }) => readAt), knownSeq };
    },
  };
}

/** That a default stands in for a null is said of the status; the normative text keeps it. */
function answerOf(values: readonly OutputValue[], statuses: readonly FeatureStatus[]): ViewAnswer {
  return { values, statuses: statuses.map((status) => (status === 'defaulted' ? 'null' : status)) };
}

/** Whether a row has the whole key of a view. */
export function hasKey(project: ProjectSpec, view: number): (keys: ReadKeys) => boolean {
  const entity = project.entities.find(({ name }) => name === project.views[view]!.entity)!;
  return (keys) => entity.keys.every(({ name }) => (keys as unknown as Row)[name] !== null);
}
