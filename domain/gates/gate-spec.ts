import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';

/** Quality metrics that gates know; of these `auc` is better when larger, the others when smaller. */
export const GATE_METRICS = ['auc', 'log_loss', 'brier', 'ece'] as const;
export type GateMetric = (typeof GATE_METRICS)[number];

export function isBetterWhenLarger(metric: GateMetric): boolean {
  return metric === 'auc';
}

/** A rule on the evidence of one training run. Plain JSON. */
export type GateSpec =
  /** The model's input and output are those of its feature set. */
  | { readonly kind: 'schema' }
  /** No feature knows what could not be known at the moment of prediction. */
  | { readonly kind: 'leakage' }
  /** At least `min`, at most `max`; one of the two is given. */
  | { readonly kind: 'threshold'; readonly metric: GateMetric; readonly min?: number; readonly max?: number }
  /**
   * Against the champion on the same rows: the one-sided bound of the paired difference, at `confidence`, shows at most
   * `maxHarm` harm (auc lower, log loss higher). Without a champion to compare with it is insufficient.
   */
  | {
      readonly kind: 'regression';
      readonly metric: 'auc' | 'log_loss';
      readonly maxHarm: number;
      readonly confidence: number;
    }
  /** Every value of the slicing column with at least `minRows` rows reaches `min` (auc) or stays below `max` (log loss). */
  | {
      readonly kind: 'slices';
      readonly slice: string;
      readonly metric: 'auc' | 'log_loss';
      readonly min?: number;
      readonly max?: number;
      readonly minRows: number;
    }
  | { readonly kind: 'calibration'; readonly maxEce: number }
  /** Of single requests against the loaded model, measured through the serving path. */
  | { readonly kind: 'latency'; readonly p99Ms: number }
  /** Between the served scores and those of the evaluation, over the same rows. */
  | { readonly kind: 'parity'; readonly maxAbsDifference: number }
  /** Resident memory of the serving process with the model loaded. */
  | { readonly kind: 'memory'; readonly maxMiB: number };

export type GateKind = GateSpec['kind'];

export const GATE_KINDS: readonly GateKind[] = [
  'schema',
  'leakage',
  'threshold',
  'regression',
  'slices',
  'calibration',
  'latency',
  'parity',
  'memory',
];

/** One short name per gate, as in `threshold auc ≥ 0.65`: what reports and the CLI list. */
export function gateName(spec: GateSpec): string {
  switch (spec.kind) {
    case 'schema':
    case 'leakage':
      return spec.kind;
    case 'threshold':
      return `threshold ${spec.metric} ${limitText(spec)}`;
    case 'regression':
      return `regression ${spec.metric} at most ${spec.maxHarm} worse`;
    case 'slices':
      return `slices of ${spec.slice}: ${spec.metric} ${limitText(spec)}`;
    case 'calibration':
      return `calibration ece ≤ ${spec.maxEce}`;
    case 'latency':
      return `latency p99 ≤ ${spec.p99Ms} ms`;
    case 'parity':
      return `parity ≤ ${spec.maxAbsDifference}`;
    case 'memory':
      return `memory ≤ ${spec.maxMiB} MiB`;
  }
}

export function limitText({ min, max }: { readonly min?: number; readonly max?: number }): string {
  return [min === undefined ? '' : `≥ ${min}`, max === undefined ? '' : `≤ ${max}`]
    .filter((part) => part !== '')
    .join(' and ');
}

/**
 * The typed gates of a model; throws SPEC_INVALID naming field, value and rule. An empty list is refused: a version without a
 * single gate would pass unseen.
 * @param path how errors name the list, for example `models.late-arrival.gates`
 */
export function checkGateSpecs(value: unknown, path: string): readonly GateSpec[] {
  if (!Array.isArray(value) || value.length === 0)
    throw specInvalid(path, value, 'it must be a list of at least one gate');
  const gates = value.map((entry, index) => checkGateSpec(entry, `${path}[${index}]`));
  const names = gates.map(gateName);
  const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
  if (twice >= 0) throw specInvalid(`${path}[${twice}]`, names[twice], 'the same gate is listed twice');
  return gates;
}

function checkGateSpec(value: unknown, path: string): GateSpec {
  const kind = new CheckedFields(value, path, Object.keys(value ?? {})).oneOf('kind', GATE_KINDS);
  const fields = new CheckedFields(value, path, ['kind', ...FIELDS[kind]]);
  switch (kind) {
    case 'schema':
    case 'leakage':
      return { kind };
    case 'threshold': {
      const metric = fields.oneOf('metric', GATE_METRICS);
      return { kind, metric, ...limits(fields, metric) };
    }
    case 'regression':
      return {
        kind,
        metric: fields.oneOf('metric', ['auc', 'log_loss']),
        maxHarm: fields.number('maxHarm', { min: 0, max: 1 }),
        confidence: fields.number('confidence', { min: 0.5, max: 1, exclusive: true }),
      };
    case 'slices': {
      const metric = fields.oneOf('metric', ['auc', 'log_loss']);
      return {
        kind,
        slice: fields.text('slice'),
        metric,
        ...limits(fields, metric),
        minRows: fields.count('minRows', 1),
      };
    }
    case 'calibration':
      return { kind, maxEce: fields.number('maxEce', { min: 0, max: 1 }) };
    case 'latency':
      return { kind, p99Ms: fields.number('p99Ms', { min: 0, max: Infinity, exclusive: true }) };
    case 'parity':
      return { kind, maxAbsDifference: fields.number('maxAbsDifference', { min: 0, max: 1 }) };
    case 'memory':
      return { kind, maxMiB: fields.number('maxMiB', { min: 0, max: Infinity, exclusive: true }) };
  }
}

const FIELDS: Record<GateKind, readonly string[]> = {
  schema: [],
  leakage: [],
  threshold: ['metric', 'min', 'max'],
  regression: ['metric', 'maxHarm', 'confidence'],
  slices: ['slice', 'metric', 'min', 'max', 'minRows'],
  calibration: ['maxEce'],
  latency: ['p99Ms'],
  parity: ['maxAbsDifference'],
  memory: ['maxMiB'],
};

/** The limit on the side that matters must be there: an auc with only a maximum would let every bad model pass. */
function limits(fields: CheckedFields, metric: GateMetric): { min?: number; max?: number } {
  const side = isBetterWhenLarger(metric) ? 'min' : 'max';
  if (!fields.has(side)) throw specInvalid(fields.at(side), undefined, `a gate on ${metric} needs "${side}"`);
  const range = { min: 0, max: metric === 'log_loss' ? Infinity : 1 };
  return {
    ...(fields.has('min') ? { min: fields.number('min', range) } : {}),
    ...(fields.has('max') ? { max: fields.number('max', range) } : {}),
  };
}
