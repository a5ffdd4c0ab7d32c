/** A model as the routed tier serves it: 12 features of 3 views of one customer, two versions of 100 trees of 31 leaves, a rule. */
import type { ModelSpec, ProjectSpec } from '../../domain/project/spec.ts';
import { trainGbt } from '../../training/gbt/gbt-training.ts';
import { scoreTrees, type TreeEnsemble } from '../../training/gbt/tree-ensemble.ts';
import { exportModel } from '../../training/onnx/export-model.ts';
import { readingProject, valueOf } from '../online/reading-project.ts';

export const MODEL = 'scored';
export const CUSTOMERS = 1_000;
const VIEWS = 3;
const FEATURES_PER_VIEW = 4;
const TRAINING_ROWS = 5_000;
/** What the rule says, as no version does. */
export const RULE_SCORE = 0.125;

export interface ScoredOptions {
  /** False: the features come with the request, nothing is read. */
  readonly stored: boolean;
  readonly logSampleRate: number;
}

export function scoredProject({ stored, logSampleRate }: ScoredOptions): ProjectSpec {
  const reading = readingProject(VIEWS, FEATURES_PER_VIEW);
  const [set] = reading.featureSets as [ProjectSpec['featureSets'][number]];
  const featureSet = stored
    ? set
    : {
        ...set,
        request: featureNames().map((name) => ({ name: `given_${name}`, type: 'f64' as const, description: '' })),
        views: [],
        features: featureNames().map((name) => ({
          kind: 'derived' as const,
          name,
          expression: { op: 'column' as const, name: `given_${name}` },
          description: '',
        })),
      };
  const model = {
    name: MODEL,
    description: '',
    threshold: 0.5,
    latencyBudgetMsP99: 1_000,
    rule: { featureSet: 'all@1', expression: { op: 'literal', value: RULE_SCORE, type: 'f64' } },
    logSampleRate,
  };
  return {
    ...reading,
    name: 'scoring',
    featureSets: [featureSet],
    // what training and rollouts would need is left out: nothing here trains or rolls out
    models: [model as unknown as ModelSpec],
  };
}

export function featureNames(): string[] {
  return Array.from(
    { length: VIEWS * FEATURES_PER_VIEW },
    (_, i) => `view${Math.floor(i / FEATURES_PER_VIEW)}__f${i % FEATURES_PER_VIEW}`,
  );
}

/** A predict body for a customer. */
export function requestOf(customer: number, { stored }: Pick<ScoredOptions, 'stored'>): Record<string, number> {
  if (stored) return { customer };
  return Object.fromEntries(featureNames().map((name, i) => [`given_${name}`, featuresOf(customer)[i]!]));
}

/** The features of a customer, as stored. */
export function featuresOf(customer: number): number[] {
  return Array.from({ length: VIEWS * FEATURES_PER_VIEW }, (_, i) =>
    valueOf(Math.floor(i / FEATURES_PER_VIEW), i % FEATURES_PER_VIEW, customer),
  );
}

export interface TrainedVersion {
  readonly version: number;
  readonly onnx: Uint8Array;
  /** By customer. */
  readonly golden: Float32Array;
}

/** Versions that differ by more than rounding for each customer. */
export function trainVersions(count: number): TrainedVersion[] {
  const columns = featureNames();
  const x = new Float32Array(TRAINING_ROWS * columns.length);
  const y = new Uint8Array(TRAINING_ROWS);
  let state = 7;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x7fffffff;
  };
  for (let row = 0; row < TRAINING_ROWS; row++) {
    const customer = Math.floor(random() * CUSTOMERS);
    // each column sees another customer's value now and then, so that no one column tells all
    columns.forEach((_, i) => {
      x[row * columns.length + i] = featuresOf(random() < 0.5 ? customer : Math.floor(random() * CUSTOMERS))[i]!;
    });
    y[row] = Math.sin(customer / 40) + random() - 0.5 > 0 ? 1 : 0;
  }
  const matrix = {
    rows: TRAINING_ROWS,
    columns,
    x,
    y,
    rowIds: Float64Array.from(y, (_, row) => row),
    asOf: Float64Array.from(y, (_, row) => row * 1_000_000),
  };
  return Array.from({ length: count }, (_, i) => {
    const training = trainGbt(
      {
        kind: 'gbt',
        trees: 100,
        leaves: 31,
        learningRate: 0.1 + 0.02 * i,
        minRowsPerLeaf: 5,
        minHessianPerLeaf: 1e-3,
        minGain: 0,
        l2: 1,
        maxBins: 255,
        validationFraction: 0,
        earlyStoppingTrees: 0,
      },
      matrix,
      i + 1,
    );
    while (!training.done) training.advance();
    const model = training.model() as TreeEnsemble;
    const rows = Float32Array.from(Array.from({ length: CUSTOMERS }, (_, customer) => featuresOf(customer)).flat());
    return { version: i + 1, onnx: exportModel(model, '0.0.0'), golden: scoreTrees(model, rows) };
  });
}
