/**
 * Reads the feature vectors of one feature set: from the online store for serving, or from any states handed to it. What a
 * vector holds is decided by the kernel (views) and by row expressions (derived features), as it is offline.
 */
import { SerinError } from '../../domain/errors.ts';
import { isTimeFault, readTime } from '../../domain/features/time-text.ts';
import type { Row, Value } from '../../domain/project/expression.ts';
import type { ProjectSpec, RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { compileFeatureSet, type FeatureSetPlan } from '../kernel/feature-set-plan.ts';
import { encodeKey } from '../kernel/key-encoding.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { decodeState, FEATURE_STATUSES, read, readMissing, type ViewState } from '../kernel/view-state.ts';
import type { OnlineStore, StateRef } from '../online/online-store.ts';

/** The states a batch of instances needs, each once. */
export interface ReferencePlan {
  readonly refs: readonly StateRef[];
  /** Per instance and use of a view (row by row): the position in `refs`, or −1 for a key with a null part. */
  readonly places: Int32Array;
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
  /** @param instances as `checkRequest` returns them */
  refsOf(instances: readonly Row[]): ReferencePlan;
  /** @param states one per reference; null: no state. All null gives the vectors of unknown keys. */
  assemble(
    plan: ReferencePlan,
    states: readonly (Uint8Array | null)[],
    instances: readonly Row[],
    asOf: readonly Micros[],
  ): FeatureVectors;
  /** `refsOf`, one round trip, `assemble`. */
  read(store: Pick<OnlineStore, 'read'>, instances: readonly Row[], asOf: readonly Micros[]): Promise<FeaturesRead>;
}

/** @throws REFERENCE_MISSING REFERENCE_CYCLE as `compileFeatureSet` does */
export function compileFeatureReader(project: ProjectSpec, featureSet: string): FeatureReader {
  const plan = compileFeatureSet(project, featureSet);
  const { views, uses } = plan;
  const width = plan.featureNames.length;
  const viewIndexes = new Map(views.map(({ id }, view) => [id, view]));
  // the kernel writes all outputs of a view here; the set picks from it
  const outputs = views.map((view) => new Float64Array(view.outputs.length));
  const outputStatuses = views.map((view) => new Uint8Array(view.outputs.length));

  const refsOf = (instances: readonly Row[]): ReferencePlan => {
    const refs: StateRef[] = [];
    const places = new Int32Array(instances.length * uses.length);
    const known = new Map<string, number>();
    let at = 0;
    for (const instance of instances) {
      for (const use of uses) places[at++] = placeOf(views[use.view]!, use.key, instance, refs, known);
    }
    return { refs, places };
  };

  const assemble: FeatureReader['assemble'] = ({ refs, places }, states, instances, asOf) => {
    const values = new Float64Array(instances.length * width);
    // what no view fills is derived
    const statuses = new Uint8Array(instances.length * width).fill(DERIVED);
    const readAt = Float64Array.from(asOf);
    const decoded = refs.map(({ viewId }, i): ViewState | null => {
      const bytes = states[i] ?? null;
      return bytes === null ? null : decodeState(views[viewIndexes.get(viewId)!]!, bytes);
    });
    const stateOf = (row: number, use: number): ViewState | null => {
      const place = places[row * uses.length + use]!;
      return place < 0 ? null : decoded[place]!;
    };
    for (let row = 0; row < instances.length; row++) {
      const offset = row * width;
      for (let u = 0; u < uses.length; u++) {
        const foldedAt = stateOf(row, u)?.foldedAt ?? -Infinity;
        if (foldedAt > readAt[row]!) readAt[row] = foldedAt;
      }
      for (let u = 0; u < uses.length; u++) {
        const use = uses[u]!;
        const [view, numbers, kinds, state] = [
          views[use.view]!,
          outputs[use.view]!,
          outputStatuses[use.view]!,
          stateOf(row, u),
        ];
        if (state === null) readMissing(view, numbers, 0, kinds);
        else read(view, state, readAt[row]!, numbers, 0, kinds);
        for (let i = 0; i < use.outputs.length; i++) {
          values[offset + use.features[i]!] = numbers[use.outputs[i]!]!;
          statuses[offset + use.features[i]!] = kinds[use.outputs[i]!]!;
        }
      }
      plan.derive(instances[row]!, asOf[row]!, values, offset);
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
    assemble,
    async read(store, instances, asOf) {
      const references = refsOf(instances);
      const { states, knownSeq } = await store.read(references.refs);
      return { ...assemble(references, states, instances, asOf), knownSeq };
    },
  };
}

function placeOf(
  view: ViewPlan,
  key: readonly string[],
  instance: Row,
  refs: StateRef[],
  known: Map<string, number>,
): number {
  const bytes = encodeKey(
    view.keyParts,
    key.map((field) => instance[field] ?? null),
  );
  if (bytes === null) return -1;
  const text = `${view.id} ${bytes.toString('latin1')}`;
  let place = known.get(text);
  if (place === undefined) known.set(text, (place = refs.push({ viewId: view.id, key: bytes }) - 1));
  return place;
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
