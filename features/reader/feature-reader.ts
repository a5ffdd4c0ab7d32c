/**
 * Reads the feature vectors of one feature set: from the online store for serving, or from any states handed to it. What a
 * vector holds is decided by the kernel (views) and by row expressions (derived features), as it is offline.
 */
import { SerinError } from '../../domain/errors.ts';
import { isTimeFault, readTime } from '../../domain/features/time-text.ts';
import type { Row, Value } from '../../domain/project/expression.ts';
import type { ProjectSpec, RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { compileFeatureSet, type FeatureSetPlan, type ViewUsePlan } from '../kernel/feature-set-plan.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { decodeState, FEATURE_STATUSES, read, readMissing, type ViewState } from '../kernel/view-state.ts';
import type { OnlineStore, StateRef } from '../online/online-store.ts';

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

export interface FeatureReader {
  /** `name@version` */
  readonly featureSet: string;
  /** Column i of a vector is `columns[i]`. */
  readonly columns: readonly string[];
  /** What an instance must have; every field may be null. */
  readonly request: readonly RequestField[];
  /** Views behind the vector, each once. */
  readonly views: readonly ViewPlan[];
  /**
   * An instance as JSON has it (times as RFC 3339 text), as a row.
   * @throws INPUT_INVALID naming the field, its value and the rule
   */
  checkRequest(instance: unknown): Row;
  /** The states the rows need: row by row, one for each use of a view whose key has no null part. The store fetches repeated ones once. */
  refsOf(rows: readonly FeatureRow[]): readonly StateRef[];
  /**
   * @param states one per reference of `refsOf(rows)`; null: no state. All null gives the vectors of unknown keys.
   * @returns rows × columns, row by row; NaN is null
   */
  assemble(states: readonly (Uint8Array | null)[], rows: readonly FeatureRow[]): Float64Array;
  /** `assemble`, with how each value came about. */
  assembleVectors(states: readonly (Uint8Array | null)[], rows: readonly FeatureRow[]): FeatureVectors;
  /** `refsOf`, one round trip, `assembleVectors`. */
  read(store: Pick<OnlineStore, 'read'>, rows: readonly FeatureRow[]): Promise<FeaturesRead>;
}

/** @throws REFERENCE_MISSING REFERENCE_CYCLE as `compileFeatureSet` does */
export function compileFeatureReader(project: ProjectSpec, featureSet: string): FeatureReader {
  const plan = compileFeatureSet(project, featureSet);
  const { uses } = plan;
  const views = plan.views.map((view) => {
    if (view.kind === 'tiles') return view.plan;
    throw new RangeError(`${view.plan.id} is kept as history, which is not read here yet`);
  });
  const width = plan.featureNames.length;
  // the kernel writes all outputs of a view here; the set picks from it
  const outputs = views.map((view) => new Float64Array(view.outputs.length));
  const outputStatuses = views.map((view) => new Uint8Array(view.outputs.length));
  const hasKey = (use: ViewUsePlan, request: Row): boolean =>
    use.key.every((field) => (request[field] ?? null) !== null);

  const refsOf = (rows: readonly FeatureRow[]): readonly StateRef[] => {
    const refs: StateRef[] = [];
    for (const { request } of rows) {
      for (const use of uses) {
        const view = views[use.view]!;
        const key = encodeKey(
          view.keyParts,
          use.key.map((field) => request[field] ?? null),
        );
        if (key !== null) refs.push({ viewId: view.id, key });
      }
    }
    return refs;
  };

  const assembleVectors = (states: readonly (Uint8Array | null)[], rows: readonly FeatureRow[]): FeatureVectors => {
    const values = new Float64Array(rows.length * width);
    // what no view fills is derived
    const statuses = new Uint8Array(rows.length * width).fill(DERIVED);
    const readAt = Float64Array.from(rows, ({ asOf }) => asOf);
    const decode = createDecoder();
    const ofRow: (ViewState | null)[] = uses.map(() => null);
    let next = 0;
    for (let row = 0; row < rows.length; row++) {
      const { request, asOf } = rows[row]!;
      const offset = row * width;
      for (let u = 0; u < uses.length; u++) {
        const state = hasKey(uses[u]!, request) ? decode(views[uses[u]!.view]!, states[next++] ?? null) : null;
        ofRow[u] = state;
        if (state !== null && state.foldedAt > readAt[row]!) readAt[row] = state.foldedAt;
      }
      for (let u = 0; u < uses.length; u++) {
        const use = uses[u]!;
        const [view, numbers, kinds, state] = [
          views[use.view]!,
          outputs[use.view]!,
          outputStatuses[use.view]!,
          ofRow[u]!,
        ];
        if (state === null) readMissing(view, numbers, 0, kinds);
        else read(view, state, readAt[row]!, numbers, 0, kinds);
        for (let i = 0; i < use.outputs.length; i++) {
          values[offset + use.features[i]!] = numbers[use.outputs[i]!]!;
          statuses[offset + use.features[i]!] = kinds[use.outputs[i]!]!;
        }
      }
      plan.derive(request, asOf, values, offset);
      for (let i = offset; i < offset + width; i++) {
        if (statuses[i] === DERIVED) statuses[i] = Number.isNaN(values[i]) ? NULL : PRESENT;
      }
    }
    return { values, statuses, readAt };
  };

  return {
    featureSet,
    columns: plan.featureNames,
    request: plan.request,
    views,
    checkRequest: createRequestCheck(plan),
    refsOf,
    assemble: (states, rows) => assembleVectors(states, rows).values,
    assembleVectors,
    async read(store, rows) {
      const { states, knownSeq } = await store.read(refsOf(rows));
      return { ...assembleVectors(states, rows), knownSeq };
    },
  };
}

/** Bytes that many rows share (a busy key) are decoded once; the store hands out the same bytes for the same key. */
function createDecoder(): (view: ViewPlan, bytes: Uint8Array | null) => ViewState | null {
  const decoded = new Map<Uint8Array, ViewState>();
  return (view, bytes) => {
    if (bytes === null) return null;
    let state = decoded.get(bytes);
    if (state === undefined) decoded.set(bytes, (state = decodeState(view, bytes)));
    return state;
  };
}

const PRESENT = FEATURE_STATUSES.indexOf('present');
const NULL = FEATURE_STATUSES.indexOf('null');
/** Not one of `FEATURE_STATUSES`: a mark that no caller sees. */
const DERIVED = 255;

function createRequestCheck({ id, request }: FeatureSetPlan): FeatureReader['checkRequest'] {
  const checks = request.map((field) => ({ name: field.name, read: fieldReader(field) }));
  const names = new Set(request.map(({ name }) => name));
  const allowed = `the fields are ${[...names].join(', ')}`;
  return (instance) => {
    if (typeof instance !== 'object' || instance === null || Array.isArray(instance)) {
      throw inputInvalid(id, '', instance, `an instance is an object; ${allowed}`);
    }
    const given = instance as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(given)) if (!names.has(name)) throw inputInvalid(id, name, given[name], allowed);
    const row: Record<string, Value> = {};
    for (const { name, read: readField } of checks) {
      if (!Object.hasOwn(given, name) || given[name] === undefined) {
        throw inputInvalid(id, name, undefined, 'the field is required (null says that it is not known)');
      }
      row[name] = given[name] === null ? null : readField(id, given[name]);
    }
    return row;
  };
}

function fieldReader({ name, type }: RequestField): (featureSet: string, value: unknown) => Exclude<Value, null> {
  switch (type) {
    case 'i64':
      return (featureSet, value) => {
        if (Number.isSafeInteger(value)) return (value as number) + 0;
        throw inputInvalid(featureSet, name, value, 'a whole number within ±(2^53 − 1)');
      };
    case 'f64':
      return (featureSet, value) => {
        if (Number.isFinite(value)) return (value as number) + 0;
        throw inputInvalid(featureSet, name, value, 'a finite number');
      };
    case 'bool':
      return (featureSet, value) => {
        if (typeof value === 'boolean') return value;
        throw inputInvalid(featureSet, name, value, 'true or false');
      };
    case 'str':
      return (featureSet, value) => {
        if (typeof value === 'string' && !/\p{Surrogate}/u.test(value)) return value;
        throw inputInvalid(featureSet, name, value, 'text of well-formed Unicode');
      };
    case 'ts':
      return (featureSet, value) => {
        if (typeof value !== 'string') throw inputInvalid(featureSet, name, value, 'RFC 3339 text with an offset');
        const time = readTime(value, null);
        if (!isTimeFault(time)) return time;
        throw inputInvalid(featureSet, name, value, time.rule);
      };
  }
}

function inputInvalid(featureSet: string, field: string, value: unknown, rule: string): SerinError {
  const shown = value === undefined ? 'missing' : (JSON.stringify(value) ?? typeof value).slice(0, 100);
  const detail = field === '' ? `${shown} is refused: ${rule}` : `the field "${field}" is ${shown}: ${rule}`;
  return new SerinError('INPUT_INVALID', `${detail} (feature set ${featureSet})`, {
    fields: { field, value: shown, rule },
  });
}
