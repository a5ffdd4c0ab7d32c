/**
 * Reads the feature vectors of one feature set: from the online store for serving, or from any states handed to it. What a
 * vector holds is decided by the kernel (views) and by row expressions (derived features), as it is offline.
 */
import type { Row } from '../../domain/project/expression.ts';
import { personalDataOf } from '../../domain/project/personal-data.ts';
import type { ProjectSpec, RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { compileFeatureSet, type ViewUsePlan } from '../kernel/feature-set-plan.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { CompiledView } from '../kernel/compiled-view.ts';
import { FEATURE_STATUSES, type FeatureStatus } from '../kernel/view-state.ts';
import type { OutputValue } from '../history/plan.ts';
import type { Instant } from '../../domain/instant.ts';
import type { OnlineStore, StateRef, StatesRead } from '../online/online-store.ts';
import { createRequestCheck } from './request-check.ts';
import { createViewReader, type DecodedState, type ViewReader } from './view-reader.ts';

export interface FeatureRow {
  /** The request fields, as `checkRequest` returns them. */
  readonly request: Row;
  readonly asOf: Micros;
}

export interface FeatureVectors {
  /** rows × columns, row by row; NaN is null. */
  readonly values: Float64Array;
  /** Of each value, a position in `FEATURE_STATUSES`. */
  readonly statuses: Uint8Array;
  /**
   * Per row, the instant at which the values of its views hold: its `asOf`, or the fold point of a state where that is
   * later (a request from further back than the store can go).
   */
  readonly readAt: Float64Array;
}

export interface FeaturesRead extends FeatureVectors {
  /** Per view (`name@version`), the last ingest sequence that is in the values; views never fed are absent. */
  readonly knownSeq: ReadonlyMap<string, number>;
}

/** One row, by feature. */
export interface TypedRow {
  readonly values: Readonly<Record<string, OutputValue>>;
  readonly statuses: Readonly<Record<string, FeatureStatus>>;
  /** µs from `readAt` back to the event behind a value; null where there is none, and for derived features. */
  readonly ages: Readonly<Record<string, Instant | null>>;
  /** As `FeatureVectors.readAt`. */
  readonly readAt: Micros;
}

export interface RowsRead {
  readonly rows: readonly TypedRow[];
  readonly knownSeq: ReadonlyMap<string, number>;
}

type States = readonly (Uint8Array | null)[];
/** Of views, by their ids. */
type FoldPoints = StatesRead['foldedAt'];
const NOT_FOLDED: FoldPoints = new Map();

export interface FeatureReader {
  /** `name@version` */
  readonly featureSet: string;
  /** Column i of a vector is `columns[i]`. */
  readonly columns: readonly string[];
  /** What an instance must have; every field may be null. */
  readonly request: readonly RequestField[];
  /** Views behind the vector, each once. */
  readonly views: readonly CompiledView[];
  /**
   * An instance as JSON has it (times as RFC 3339 text), as a row.
   * @throws INPUT_INVALID naming the field, its value and the rule
   */
  checkRequest(instance: unknown): Row;
  /** The states the rows need: row by row, one for each use of a view whose key has no null part. The store fetches repeated ones once. */
  refsOf(rows: readonly FeatureRow[]): readonly StateRef[];
  /**
   * @param states   one per reference of `refsOf(rows)`; null: no state. All null gives the vectors of unknown keys.
   * @param foldedAt as the store says it with the states
   */
  assembleVectors(states: States, rows: readonly FeatureRow[], foldedAt?: FoldPoints): FeatureVectors;
  /** `refsOf`, one round trip, `assembleVectors`. */
  read(store: Pick<OnlineStore, 'read'>, rows: readonly FeatureRow[]): Promise<FeaturesRead>;
  /** The same with every value as it is: text, truth values, lists, whole numbers of any size. */
  readRows(store: Pick<OnlineStore, 'read'>, rows: readonly FeatureRow[]): Promise<RowsRead>;
}

/** @throws REFERENCE_MISSING REFERENCE_CYCLE as `compileFeatureSet` does */
export function compileFeatureReader(project: ProjectSpec, featureSet: string): FeatureReader {
  const plan = compileFeatureSet(project, featureSet);
  const { views, uses } = plan;
  const width = plan.featureNames.length;
  const readers = views.map(createViewReader);
  // the kernel writes all outputs of a view here; the set picks from it
  const outputs = views.map((view) => new Float64Array(view.plan.outputs.length));
  const outputStatuses = views.map((view) => new Uint8Array(view.plan.outputs.length));

  const keyOf = (use: ViewUsePlan, request: Row): Uint8Array | null =>
    encodeKey(
      views[use.view]!.plan.keyParts,
      use.key.map((field) => request[field] ?? null),
    );
  const hasKey = (use: ViewUsePlan, request: Row): boolean =>
    use.key.every((field) => (request[field] ?? null) !== null);

  const refsOf = (rows: readonly FeatureRow[]): readonly StateRef[] => {
    const refs: StateRef[] = [];
    for (const { request } of rows) {
      for (const use of uses) {
        const key = keyOf(use, request);
        if (key !== null) refs.push({ viewId: views[use.view]!.plan.id, key });
      }
    }
    return refs;
  };

  /** Hands each row its states, one per use, and the instant at which they can be read. */
  function eachRow(
    states: States,
    rows: readonly FeatureRow[],
    foldedAt: FoldPoints,
    visit: (row: number, ofRow: readonly (DecodedState | null)[], readAt: Micros) => void,
  ): void {
    const decode = createDecoder();
    const ofRow: (DecodedState | null)[] = uses.map(() => null);
    let next = 0;
    for (let row = 0; row < rows.length; row++) {
      const { request, asOf } = rows[row]!;
      let readAt = asOf;
      for (let u = 0; u < uses.length; u++) {
        const use = uses[u]!;
        const isKey = hasKey(use, request);
        const state = isKey ? decode(readers[use.view]!, states[next++] ?? null) : null;
        ofRow[u] = state;
        // a key without a state may have had one: that it is gone is told of the view's fold point
        const exactFrom = state === null ? (foldedAt.get(views[use.view]!.plan.id) ?? null) : state.foldedAt;
        if (isKey && exactFrom !== null && exactFrom > readAt) readAt = Number(exactFrom);
      }
      visit(row, ofRow, readAt);
    }
  }

  const assembleVectors = (states: States, rows: readonly FeatureRow[], foldedAt = NOT_FOLDED): FeatureVectors => {
    const values = new Float64Array(rows.length * width);
    // what no view fills is derived
    const statuses = new Uint8Array(rows.length * width).fill(DERIVED);
    const readAts = new Float64Array(rows.length);
    eachRow(states, rows, foldedAt, (row, ofRow, readAt) => {
      const { request, asOf } = rows[row]!;
      const offset = row * width;
      readAts[row] = readAt;
      for (let u = 0; u < uses.length; u++) {
        const { view, outputs: picked, features } = uses[u]!;
        const [numbers, kinds] = [outputs[view]!, outputStatuses[view]!];
        readers[view]!.readNumbers(ofRow[u]!, readAt, numbers, kinds);
        for (let i = 0; i < picked.length; i++) {
          values[offset + features[i]!] = numbers[picked[i]!]!;
          statuses[offset + features[i]!] = kinds[picked[i]!]!;
        }
      }
      plan.derive(request, asOf, values, offset);
      for (let i = offset; i < offset + width; i++) {
        if (statuses[i] === DERIVED) statuses[i] = Number.isNaN(values[i]) ? NULL : PRESENT;
      }
    });
    return { values, statuses, readAt: readAts };
  };

  const assembleRows = (states: States, rows: readonly FeatureRow[], foldedAt: FoldPoints): TypedRow[] => {
    const typed: TypedRow[] = [];
    eachRow(states, rows, foldedAt, (row, ofRow, readAt) => {
      const { request, asOf } = rows[row]!;
      const values: Record<string, OutputValue> = {};
      const statuses: Record<string, FeatureStatus> = {};
      const ages: Record<string, Instant | null> = {};
      uses.forEach(({ view, outputs: picked, features }, u) => {
        const read = readers[view]!.read(ofRow[u]!, readAt);
        picked.forEach((output, i) => {
          const name = plan.featureNames[features[i]!]!;
          values[name] = read.values[output]!;
          statuses[name] = read.statuses[output]!;
          ages[name] = read.ages[output]!;
        });
      });
      for (const [name, value] of plan.deriveRow(request, asOf, values)) {
        values[name] = value;
        statuses[name] = value === null ? 'null' : 'present';
        ages[name] = null;
      }
      typed.push({ values, statuses, ages, readAt });
    });
    return typed;
  };

  return {
    featureSet,
    columns: plan.featureNames,
    request: plan.request,
    views,
    checkRequest: createRequestCheck(plan, personalDataOf(project, featureSet).fields),
    refsOf,
    assembleVectors,
    async read(store, rows) {
      const { states, knownSeq, foldedAt } = await store.read(refsOf(rows));
      return { ...assembleVectors(states, rows, foldedAt), knownSeq };
    },
    async readRows(store, rows) {
      const { states, knownSeq, foldedAt } = await store.read(refsOf(rows));
      return { rows: assembleRows(states, rows, foldedAt), knownSeq };
    },
  };
}

/** Bytes that many rows share (a busy key) are decoded once; the store hands out the same bytes for the same key. */
function createDecoder(): (reader: ViewReader, bytes: Uint8Array | null) => DecodedState | null {
  const decoded = new Map<Uint8Array, DecodedState>();
  return (reader, bytes) => {
    if (bytes === null) return null;
    let state = decoded.get(bytes);
    if (state === undefined) decoded.set(bytes, (state = reader.decode(bytes)));
    return state;
  };
}

const PRESENT = FEATURE_STATUSES.indexOf('present');
const NULL = FEATURE_STATUSES.indexOf('null');
/** Not one of `FEATURE_STATUSES`: a mark that no caller sees. */
const DERIVED = 255;
