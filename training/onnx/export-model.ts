import { INPUT_NAME, OUTPUT_NAME } from '../../domain/project/feature-schema.ts';
import type { Tree, TreeEnsemble } from '../gbt/tree-ensemble.ts';
import { type LogisticModel, STANDARD_LIMIT } from '../logistic/logistic-model.ts';
import type { TrainedModel } from '../training-steps.ts';
import {
  ATTRIBUTE_TYPE,
  type Attribute,
  encodeModel,
  FLOAT32,
  type Graph,
  type GraphNode,
  type Tensor,
} from './onnx-messages.ts';
import { METADATA, PRODUCER } from './serin-metadata.ts';

/** Read by every ONNX Runtime of the last years; nothing newer is needed. */
const IR_VERSION = 8;
const OPSET = 15;
const ML_DOMAIN = 'ai.onnx.ml';
const ML_OPSET = 3;

/**
 * Writes a model as an ONNX file: input `features` float32 [N, columns] (NaN is missing), output `score` float32 [N, 1],
 * the probability of class 1. The same model has the same bytes.
 */
export function exportModel(model: TrainedModel, serinVersion: string): Uint8Array {
  const body = model.kind === 'gbt' ? treeGraph(model) : logisticGraph(model);
  const graph: Graph = {
    name: model.kind,
    ...body,
    input: [floatMatrix(INPUT_NAME, model.columns.length)],
    output: [floatMatrix(OUTPUT_NAME, 1)],
  };
  return encodeModel({
    ir_version: IR_VERSION,
    producer_name: PRODUCER,
    producer_version: serinVersion,
    opset_import: [
      { domain: '', version: OPSET },
      { domain: ML_DOMAIN, version: ML_OPSET },
    ],
    graph,
    metadata_props: [
      { key: METADATA.kind, value: model.kind },
      { key: METADATA.columns, value: JSON.stringify(model.columns) },
    ],
  });
}

function logisticGraph({ mean, scale, weight, intercept }: LogisticModel): Pick<Graph, 'node' | 'initializer'> {
  const width = weight.length;
  return {
    initializer: [
      floats('mean', [1, width], mean),
      floats('scale', [1, width], scale),
      floats('low', [], Float32Array.of(-STANDARD_LIMIT)),
      floats('high', [], Float32Array.of(STANDARD_LIMIT)),
      floats('weight', [width, 1], weight),
      floats('intercept', [1], Float32Array.of(intercept)),
    ],
    node: [
      operator('IsNaN', [INPUT_NAME], 'missing'),
      operator('Where', ['missing', 'mean', INPUT_NAME], 'imputed'),
      operator('Sub', ['imputed', 'mean'], 'centred'),
      operator('Div', ['centred', 'scale'], 'standardised'),
      operator('Clip', ['standardised', 'low', 'high'], 'clipped'),
      operator('MatMul', ['clipped', 'weight'], 'weighted'),
      operator('Add', ['weighted', 'intercept'], 'logit'),
      operator('Sigmoid', ['logit'], OUTPUT_NAME),
    ],
  };
}

function treeGraph({ trees, base }: TreeEnsemble): Pick<Graph, 'node' | 'initializer'> {
  const nodes = trees.flatMap((tree, treeId) => listNodes(tree, treeId));
  const leaves = nodes.filter(({ isLeaf }) => isLeaf);
  const regressor: GraphNode = {
    op_type: 'TreeEnsembleRegressor',
    domain: ML_DOMAIN,
    name: 'TreeEnsembleRegressor',
    input: [INPUT_NAME],
    output: ['logit'],
    attribute: [
      { name: 'n_targets', type: ATTRIBUTE_TYPE.INT, i: 1 },
      floatList('base_values', [base]),
      intList('nodes_treeids', nodes, ({ treeId }) => treeId),
      intList('nodes_nodeids', nodes, ({ nodeId }) => nodeId),
      intList('nodes_featureids', nodes, ({ feature }) => feature),
      floatList(
        'nodes_values',
        nodes.map(({ threshold }) => threshold),
      ),
      stringList(
        'nodes_modes',
        nodes.map(({ isLeaf }) => (isLeaf ? 'LEAF' : 'BRANCH_LEQ')),
      ),
      intList('nodes_truenodeids', nodes, ({ left }) => left),
      intList('nodes_falsenodeids', nodes, ({ right }) => right),
      intList('nodes_missing_value_tracks_true', nodes, ({ missingLeft }) => missingLeft),
      intList('target_treeids', leaves, ({ treeId }) => treeId),
      intList('target_nodeids', leaves, ({ nodeId }) => nodeId),
      intList('target_ids', leaves, () => 0),
      floatList(
        'target_weights',
        leaves.map(({ value }) => value),
      ),
    ],
  };
  return { initializer: [], node: [regressor, operator('Sigmoid', ['logit'], OUTPUT_NAME)] };
}

interface ListedNode {
  readonly treeId: number;
  readonly nodeId: number;
  readonly isLeaf: boolean;
  readonly feature: number;
  readonly threshold: number;
  readonly missingLeft: number;
  readonly left: number;
  readonly right: number;
  readonly value: number;
}

function listNodes(tree: Tree, treeId: number): ListedNode[] {
  return Array.from(tree.feature, (feature, nodeId) => ({
    treeId,
    nodeId,
    isLeaf: feature < 0,
    feature: Math.max(feature, 0),
    threshold: tree.threshold[nodeId]!,
    missingLeft: tree.missingLeft[nodeId]!,
    left: tree.left[nodeId]!,
    right: tree.right[nodeId]!,
    value: tree.value[nodeId]!,
  }));
}

function operator(type: string, input: readonly string[], output: string): GraphNode {
  return { op_type: type, name: type, input, output: [output] };
}

function intList(name: string, nodes: readonly ListedNode[], value: (node: ListedNode) => number): Attribute {
  return { name, type: ATTRIBUTE_TYPE.INTS, ints: nodes.map(value) };
}

function floatList(name: string, values: readonly number[]): Attribute {
  return { name, type: ATTRIBUTE_TYPE.FLOATS, floats: values };
}

function stringList(name: string, values: readonly string[]): Attribute {
  const encoder = new TextEncoder();
  return { name, type: ATTRIBUTE_TYPE.STRINGS, strings: values.map((value) => encoder.encode(value)) };
}

function floatMatrix(name: string, width: number): Graph['input'][number] {
  return {
    name,
    type: { tensor_type: { elem_type: FLOAT32, shape: { dim: [{ dim_param: 'N' }, { dim_value: width }] } } },
  };
}

/** Raw tensor values are little-endian whatever the machine. */
function floats(name: string, dims: readonly number[], values: Float32Array): Tensor {
  const view = new DataView(new ArrayBuffer(values.byteLength));
  for (const [index, value] of values.entries()) view.setFloat32(index * 4, value, true);
  return { name, dims, data_type: FLOAT32, raw_data: new Uint8Array(view.buffer) };
}
