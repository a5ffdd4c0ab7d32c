import type { GbtSpec } from '../../domain/training/trainer-spec.ts';
import { holdOutLatest } from '../holdout.ts';
import type { TrainingMatrix } from '../matrix.ts';
import { CHUNK_ROWS, type StepMetrics, type SteppableTraining } from '../training-steps.ts';
import { binRows, findEdges } from './binning.ts';
import { addTreeToScores, thresholdOf, TreeGrower } from './grow-tree.ts';
import { gradientRounding } from './histogram.ts';
import type { Tree, TreeEnsemble } from './tree-ensemble.ts';

type SavedTree = { readonly [Part in Exclude<keyof Tree, 'threshold'>]: readonly number[] };

export interface GbtState {
  readonly trees: readonly SavedTree[];
  readonly metrics: readonly StepMetrics[];
  readonly done: boolean;
}

/** The least probability a loss is taken of, as in the metrics. */
const EPSILON = 1e-15;
/** Probabilities are multiplied up to here before a logarithm is taken of their product. */
const SMALLEST_PRODUCT = 1e-200;

/** Boosts trees on the logistic loss; one step is one tree. */
export function trainGbt(spec: GbtSpec, matrix: TrainingMatrix, seed: number, saved?: GbtState): SteppableTraining {
  const { fit, validation } = holdOutLatest(matrix.asOf, spec.validationFraction);
  const edges = findEdges(matrix, fit, spec.maxBins, seed);
  const binned = binRows(matrix, fit, edges);
  const binnedValidation = binRows(matrix, validation, edges);
  const labels = Uint8Array.from(fit, (row) => matrix.y[row]!);
  const validationLabels = Uint8Array.from(validation, (row) => matrix.y[row]!);
  const base = Math.fround(logOdds(labels));
  const grower = new TreeGrower(binned, edges, spec);
  const derivatives = new Float64Array(2 * fit.length);
  const rounding = gradientRounding(fit.length);

  const trees: Tree[] = (saved?.trees ?? []).map((tree) => reviveTree(tree, edges));
  const metrics: StepMetrics[] = [...(saved?.metrics ?? [])];
  let done = saved?.done ?? false;
  const scores = new Float64Array(fit.length).fill(base);
  const validationScores = new Float64Array(validation.length).fill(base);
  // Replaying the trees adds the same numbers in the same order as growing them did.
  for (const tree of trees) {
    addTreeToScores(tree, binned, scores);
    addTreeToScores(tree, binnedValidation, validationScores);
  }
  updateDerivatives(scores, labels, rounding, derivatives);

  return {
    metrics,
    get done() {
      return done;
    },
    advance() {
      const tree = grower.grow(derivatives, scores);
      trees.push(tree);
      addTreeToScores(tree, binnedValidation, validationScores);
      const step: StepMetrics = {
        step: trees.length,
        steps: spec.trees,
        trainLogLoss: updateDerivatives(scores, labels, rounding, derivatives),
        validationLogLoss: validation.length === 0 ? null : meanLogLoss(validationScores, validationLabels),
      };
      metrics.push(step);
      const nothingLearnt = tree.feature.length === 1;
      const stalled = spec.earlyStoppingTrees > 0 && trees.length - bestStep(metrics) >= spec.earlyStoppingTrees;
      done = trees.length >= spec.trees || nothingLearnt || stalled;
      return step;
    },
    state: (): GbtState => ({ trees: trees.map(saveTree), metrics, done }),
    model: (): TreeEnsemble => ({
      kind: 'gbt',
      columns: matrix.columns,
      base,
      trees: spec.earlyStoppingTrees > 0 ? trees.slice(0, bestStep(metrics)) : trees,
    }),
  };
}

/** The step with the lowest validation loss, the earliest of equals; the last where nothing is held out. */
function bestStep(metrics: readonly StepMetrics[]): number {
  let best = metrics.length;
  let lowest = Number.POSITIVE_INFINITY;
  for (const { step, validationLogLoss } of metrics)
    if (validationLogLoss !== null && validationLogLoss < lowest) {
      lowest = validationLogLoss;
      best = step;
    }
  return best;
}

/**
 * First and second derivatives of the log loss by the score: p − y and p·(1 − p), rounded so that their sums are exact.
 * @returns mean log loss
 */
function updateDerivatives(
  scores: Float64Array,
  labels: Uint8Array,
  rounding: number,
  derivatives: Float64Array,
): number {
  let total = 0;
  for (let begin = 0; begin < scores.length; begin += CHUNK_ROWS) {
    const end = Math.min(begin + CHUNK_ROWS, scores.length);
    let logs = 0;
    let product = 1;
    for (let row = begin; row < end; row++) {
      const p = 1 / (1 + Math.exp(-scores[row]!));
      const label = labels[row]!;
      derivatives[2 * row] = p - label + rounding - rounding;
      derivatives[2 * row + 1] = p * (1 - p) + rounding - rounding;
      product *= Math.max(label === 1 ? p : 1 - p, EPSILON);
      if (product < SMALLEST_PRODUCT) {
        logs += Math.log(product);
        product = 1;
      }
    }
    total -= logs + Math.log(product);
  }
  return total / scores.length;
}

function meanLogLoss(scores: Float64Array, labels: Uint8Array): number {
  let total = 0;
  for (let row = 0; row < scores.length; row++) {
    const p = 1 / (1 + Math.exp(-scores[row]!));
    total -= Math.log(Math.max(labels[row] === 1 ? p : 1 - p, EPSILON));
  }
  return total / scores.length;
}

function logOdds(labels: Uint8Array): number {
  let positives = 0;
  for (const label of labels) positives += label;
  return Math.log(positives / (labels.length - positives));
}

function saveTree({ feature, bin, missingLeft, left, right, value, gain }: Tree): SavedTree {
  return {
    feature: [...feature],
    bin: [...bin],
    missingLeft: [...missingLeft],
    left: [...left],
    right: [...right],
    value: [...value],
    gain: [...gain],
  };
}

/** Thresholds come from the bins: an infinite one has no JSON. */
function reviveTree(saved: SavedTree, edges: readonly Float32Array[]): Tree {
  return {
    feature: Int32Array.from(saved.feature),
    threshold: Float32Array.from(saved.feature, (feature, node) => thresholdOf(edges, feature, saved.bin[node]!)),
    bin: Uint8Array.from(saved.bin),
    missingLeft: Uint8Array.from(saved.missingLeft),
    left: Int32Array.from(saved.left),
    right: Int32Array.from(saved.right),
    value: Float32Array.from(saved.value),
    gain: Float64Array.from(saved.gain),
  };
}
