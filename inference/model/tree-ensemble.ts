/**
 * Trees of an ONNX `TreeEnsembleRegressor` or `TreeEnsembleClassifier`, laid out for the evaluator: comparisons of float32
 * thresholds become comparisons of small whole numbers (the rank of the threshold among those of its feature), which give
 * the very same path without a branch that the processor has to guess.
 */
import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxTensor } from './onnx-graph.ts';

/** What an output of the graph is: the sum of the leaves, its sigmoid, both classes' probabilities, or the class. */
export type TreeOutput = 'sum' | 'sigmoid' | 'probabilities' | 'label';

export interface TreeEnsemble {
  readonly inputName: string;
  readonly outputs: ReadonlyMap<string, TreeOutput>;
  /** Ascending distinct thresholds of each feature, one after the other; feature f's are `edgeStarts[f] … edgeStarts[f + 1]`. */
  readonly edges: Float32Array;
  readonly edgeStarts: Int32Array;
  /**
   * Two numbers a node. Inner: `feature << 16 | rank`, then the first of its two children (the one for `x ≤ threshold`).
   * Leaf: −1, then its position in `leaves`.
   */
  readonly nodes: Int32Array;
  readonly roots: Int32Array;
  /** By node: where a missing value goes, 0 to the first child and 1 to the second. */
  readonly missingSide: Uint8Array;
  readonly leaves: Float32Array;
  readonly base: number;
  /** Labels of the two classes. */
  readonly labels: readonly [number, number];
}

const LEAF = Buffer.from('LEAF');
const BRANCH = Buffer.from('BRANCH_LEQ');
const MAX_RANK = 0xffff;
const MAX_FEATURES = 0x7fff;

/** The ensemble of a model that is nothing else; null for every other model. */
export function readTreeEnsemble({ node: nodes, initializer, input, output }: OnnxGraph): TreeEnsemble | null {
  const trees = nodes.filter(({ op_type }) => op_type.startsWith('TreeEnsemble'));
  const [tree] = trees;
  if (trees.length !== 1 || tree === undefined || tree.domain !== 'ai.onnx.ml') return null;
  const inputs = input.filter(({ name }) => !initializer.some((each) => each.name === name));
  if (inputs.length !== 1 || tree.input[0] !== inputs[0]!.name) return null;
  const ensemble = layOut(tree);
  if (ensemble === null) return null;
  const meanings = follow(tree, nodes, initializer);
  if (meanings === null) return null;
  const outputs = new Map<string, TreeOutput>();
  for (const { name } of output) {
    const meaning = meanings.get(name);
    if (meaning === undefined) return null;
    outputs.set(name, meaning);
  }
  return { inputName: inputs[0]!.name, outputs, ...ensemble };
}

/** What each tensor of the graph is; null when some node does more than pass on what the trees say. */
function follow(
  tree: OnnxNode,
  nodes: readonly OnnxNode[],
  initializer: readonly OnnxTensor[],
): Map<string, TreeOutput> | null {
  const meanings = new Map<string, TreeOutput>();
  if (tree.op_type === 'TreeEnsembleRegressor') meanings.set(tree.output[0]!, 'sum');
  else {
    if (tree.output[0]) meanings.set(tree.output[0], 'label');
    if (tree.output[1]) meanings.set(tree.output[1], 'probabilities');
  }
  for (const node of nodes) {
    if (node === tree) continue;
    const [from, by] = node.input;
    const meaning = meanings.get(from!);
    const to = node.output[0]!;
    if (meaning === undefined) return null;
    if (node.op_type === 'Identity') meanings.set(to, meaning);
    else if (node.op_type === 'Sigmoid' && meaning === 'sum') meanings.set(to, 'sigmoid');
    else if (node.op_type === 'Cast' && meaning === 'label' && attributeOf(node, 'to')?.i === INT64)
      meanings.set(to, meaning);
    else if (node.op_type === 'Mul' && isOne(initializer.find(({ name }) => name === by))) meanings.set(to, meaning);
    else return null;
  }
  return meanings;
}

const INT64 = 7;
const FLOAT = 1;

function isOne(tensor: OnnxTensor | undefined): boolean {
  if (tensor === undefined || tensor.data_type !== FLOAT) return false;
  if (tensor.float_data.length > 0) return tensor.float_data.length === 1 && tensor.float_data[0] === 1;
  const { raw_data: raw } = tensor;
  return raw.length === 4 && new DataView(raw.buffer, raw.byteOffset).getFloat32(0, true) === 1;
}

function attributeOf(node: OnnxNode, name: string): OnnxAttribute | undefined {
  return node.attribute.find((each) => each.name === name);
}

function layOut(node: OnnxNode): Omit<TreeEnsemble, 'inputName' | 'outputs'> | null {
  const ints = (name: string): readonly number[] => attributeOf(node, name)?.ints ?? [];
  const floats = (name: string): readonly number[] => attributeOf(node, name)?.floats ?? [];
  const text = (name: string): string => Buffer.from(attributeOf(node, name)?.s ?? []).toString();
  const classifier = node.op_type === 'TreeEnsembleClassifier';
  const side = classifier ? 'class' : 'target';
  const transform = text('post_transform') || 'NONE';
  if (transform !== (classifier ? 'LOGISTIC' : 'NONE')) return null;
  if ((text('aggregate_function') || 'SUM') !== 'SUM') return null;
  // one column of leaf values: both classes of a classifier follow from it
  if (new Set(ints(`${side}_ids`)).size > 1) return null;
  const labels = classifier ? ints('classlabels_int64s') : [0, 1];
  if (labels.length !== 2 || (!classifier && attributeOf(node, 'n_targets')?.i !== 1)) return null;
  const base = floats('base_values');
  if (base.length > 1) return null;

  const [treeIds, nodeIds] = [ints('nodes_treeids'), ints('nodes_nodeids')];
  const [features, thresholds] = [ints('nodes_featureids'), floats('nodes_values')];
  const [whenTrue, whenFalse] = [ints('nodes_truenodeids'), ints('nodes_falsenodeids')];
  const missing = ints('nodes_missing_value_tracks_true');
  const modes = attributeOf(node, 'nodes_modes')?.strings ?? [];
  const isLeaf = Uint8Array.from(modes, (mode) => (LEAF.equals(mode) ? 1 : 0));
  if (!modes.every((mode, i) => isLeaf[i] === 1 || BRANCH.equals(mode))) return null;

  const featureCount = isLeaf.reduce((most, leaf, i) => (leaf === 1 ? most : Math.max(most, features[i]! + 1)), 0);
  if (featureCount > MAX_FEATURES) return null;
  const { edges, edgeStarts, rankOf } = ranksOf(isLeaf, features, thresholds, featureCount);
  if (rankOf === null) return null;

  const byTree = new Map<number, Map<number, number>>();
  treeIds.forEach((tree, i) => {
    const ids = byTree.get(tree);
    if (ids) ids.set(nodeIds[i]!, i);
    else byTree.set(tree, new Map([[nodeIds[i]!, i]]));
  });
  const at = (tree: number, id: number): number | undefined => byTree.get(tree)?.get(id);
  const leafValues = new Float32Array(modes.length);
  const weights = floats(`${side}_weights`);
  const leafNodes = ints(`${side}_nodeids`);
  const leafTrees = ints(`${side}_treeids`);
  for (let i = 0; i < leafTrees.length; i++) {
    const leaf = at(leafTrees[i]!, leafNodes[i]!);
    if (leaf === undefined) return null;
    leafValues[leaf]! += weights[i]!;
  }

  const nodes = new Int32Array(modes.length * 2);
  const missingSide = new Uint8Array(modes.length);
  const leaves: number[] = [];
  const roots: number[] = [];
  let next = 0;
  const place = (source: number, to: number): void => {
    if (isLeaf[source] === 1) {
      nodes[to * 2] = -1;
      nodes[to * 2 + 1] = leaves.push(leafValues[source]!) - 1;
      return;
    }
    const children = next;
    next += 2;
    nodes[to * 2] = (features[source]! << 16) | rankOf(source);
    nodes[to * 2 + 1] = children;
    missingSide[to] = missing[source] === 1 ? 0 : 1;
    const child = (id: number): number => at(treeIds[source]!, id)!;
    place(child(whenTrue[source]!), children);
    place(child(whenFalse[source]!), children + 1);
  };
  const isChild = new Uint8Array(modes.length);
  for (let i = 0; i < modes.length; i++) {
    if (isLeaf[i] === 1) continue;
    for (const id of [whenTrue[i]!, whenFalse[i]!]) {
      const child = at(treeIds[i]!, id);
      if (child === undefined) return null;
      isChild[child] = 1;
    }
  }
  for (let i = 0; i < modes.length; i++) {
    if (isChild[i] === 1) continue;
    const root = next++;
    roots.push(root);
    place(i, root);
  }
  if (next !== modes.length) return null;
  return {
    edges,
    edgeStarts,
    nodes,
    roots: Int32Array.from(roots),
    missingSide,
    leaves: Float32Array.from(leaves),
    base: Math.fround(base[0] ?? 0),
    labels: [labels[0]!, labels[1]!],
  };
}

function ranksOf(
  isLeaf: Uint8Array,
  features: readonly number[],
  thresholds: readonly number[],
  featureCount: number,
): { edges: Float32Array; edgeStarts: Int32Array; rankOf: ((node: number) => number) | null } {
  const byFeature = Array.from({ length: featureCount }, () => new Set<number>());
  // −0 and 0 are one threshold
  isLeaf.forEach((leaf, i) => leaf === 0 && byFeature[features[i]!]!.add(Math.fround(thresholds[i]!) + 0));
  const sorted = byFeature.map((values) => Float32Array.from(values).sort());
  const edgeStarts = new Int32Array(featureCount + 1);
  sorted.forEach((values, f) => (edgeStarts[f + 1] = edgeStarts[f]! + values.length));
  const edges = new Float32Array(edgeStarts[featureCount]!);
  sorted.forEach((values, f) => edges.set(values, edgeStarts[f]));
  const fits = sorted.every((values) => values.length <= MAX_RANK && !values.some(Number.isNaN));
  const ranks = sorted.map((values) => new Map(Array.from(values, (value, rank) => [value, rank])));
  return {
    edges,
    edgeStarts,
    rankOf: fits ? (i) => ranks[features[i]!]!.get(Math.fround(thresholds[i]!) + 0)! : null,
  };
}
