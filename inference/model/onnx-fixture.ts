/** A hand-written ONNX file for tests: the few protobuf messages it takes, and nothing of the trainer. */

export interface LinearModel {
  readonly weights: readonly number[];
  readonly bias: number;
  readonly inputName?: string;
  readonly outputName?: string;
  /** 1 is float32, 11 is float64 (onnx.proto, TensorProto.DataType) */
  readonly elementType?: number;
}

const FLOAT = 1;
const OPSET = 13;

/** `score = features · weights + bias`, float32 [N, F] → [N, 1]. Exact where all values are small multiples of a power of two. */
export function linearOnnx({
  weights,
  bias,
  inputName = 'features',
  outputName = 'score',
  elementType = FLOAT,
}: LinearModel): Uint8Array {
  const graph = [
    message(1, node('MatMul', [inputName, 'weights'], 'product')),
    message(1, node('Add', ['product', 'bias'], outputName)),
    text(2, 'linear'),
    message(5, floats('weights', [weights.length, 1], weights)),
    message(5, floats('bias', [1], [bias])),
    message(11, matrix(inputName, weights.length, elementType)),
    message(12, matrix(outputName, 1, elementType)),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

/** The same with its weights as int8, a 127th of the largest apart, as quantisers write them: the float weights are made of them again. */
export function quantisedLinearOnnx({ weights, bias }: Pick<LinearModel, 'weights' | 'bias'>): Uint8Array {
  const scale = Math.max(...weights.map(Math.abs)) / 127;
  const int8 = Int8Array.from(weights, (weight) => Math.round(weight / scale));
  const graph = [
    message(1, node('DequantizeLinear', ['quantised', 'scale'], 'weights')),
    message(1, node('MatMul', ['features', 'weights'], 'product')),
    message(1, node('Add', ['product', 'bias'], 'score')),
    text(2, 'quantised'),
    message(5, [
      integer(1, weights.length),
      integer(1, 1),
      integer(2, 3),
      text(8, 'quantised'),
      bytes(9, Buffer.from(int8.buffer)),
    ]),
    message(5, floats('scale', [], [scale])),
    message(5, floats('bias', [1], [bias])),
    message(11, matrix('features', weights.length, FLOAT)),
    message(12, matrix('score', 1, FLOAT)),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

export interface AveragingModel {
  readonly features: number;
  readonly width: number;
  readonly steps: number;
}

/** `score = mean(features)`, float32 [N, F] → [N, 1], by way of `steps` products with a width × width matrix: a model that takes its time. */
export function averagingOnnx({ features, width, steps }: AveragingModel): Uint8Array {
  const filled = (rows: number, columns: number) => new Array<number>(rows * columns).fill(1 / rows);
  const graph = [
    message(1, node('MatMul', ['features', 'first'], 'step0')),
    ...Array.from({ length: steps }, (_, i) => message(1, node('MatMul', [`step${i}`, 'again'], `step${i + 1}`))),
    message(1, node('MatMul', [`step${steps}`, 'last'], 'score')),
    text(2, 'averaging'),
    message(5, floats('first', [features, width], filled(features, width))),
    message(5, floats('again', [width, width], filled(width, width))),
    message(5, floats('last', [width, 1], filled(width, 1))),
    message(11, matrix('features', features, FLOAT)),
    message(12, matrix('score', 1, FLOAT)),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

/**
 * `score = ½ · width`, float32 [N, width] → [N, 1], where every value is between −2 and 1; any other is a place beyond a table of one
 * entry, so that ONNX Runtime itself fails when it runs.
 */
export function fussyOnnx({ width }: { readonly width: number }): Uint8Array {
  const toInt64 = message(5, [text(1, 'to'), integer(3, 7), integer(20, 2)]);
  const graph = [
    message(1, [...node('Cast', ['features'], 'places'), toInt64]),
    message(1, node('Gather', ['table', 'places'], 'found')),
    message(1, node('MatMul', ['found', 'ones'], 'score')),
    text(2, 'fussy'),
    message(5, floats('table', [1], [0.5])),
    message(5, floats('ones', [width, 1], new Array<number>(width).fill(1))),
    message(11, matrix('features', width, FLOAT)),
    message(12, matrix('score', 1, FLOAT)),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

export interface IdentityModel {
  /** One output `out<i>` per input `in<i>`; element types as in onnx.proto (1 float32, 7 int64, 8 string, 9 bool, 10 float16, 11 float64). */
  readonly elementTypes: readonly number[];
  /** null: any width. */
  readonly width: number | null;
}

/** Gives back what it is given, tensor by tensor: [N, width] of each type. */
export function identityOnnx({ elementTypes, width }: IdentityModel): Uint8Array {
  const graph = [
    ...elementTypes.map((_, i) => message(1, node('Identity', [`in${i}`], `out${i}`))),
    text(2, 'identity'),
    ...elementTypes.map((type, i) => message(11, matrix(`in${i}`, width, type))),
    ...elementTypes.map((type, i) => message(12, matrix(`out${i}`, width, type))),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

export interface DenseModel {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  /** A file beside the model's that holds the weights, `denseBytes` of them, one layer after the other; left out: in the model. */
  readonly weightsFile?: string;
}

/** Weights without end: float32 [N, width] → (MatMul, Relu) per layer → [N, 1]. Those in the model are small and positive. */
export function denseOnnx({ width, hidden, layers, weightsFile }: DenseModel): Uint8Array {
  const shapes = denseShapes({ width, hidden, layers });
  let offset = 0;
  const tensors = shapes.map((shape, i) => {
    const size = 4 * shape[0] * shape[1];
    const dims = shape.map((each) => integer(1, each));
    const head = [...dims, integer(2, FLOAT), text(8, `w${i}`)];
    if (weightsFile === undefined) {
      const weights = new Float32Array(shape[0] * shape[1]).map((_, at) => ((at * 7919) % 13) / (13 * shape[0]));
      return message(5, [...head, bytes(9, Buffer.from(weights.buffer))]);
    }
    const entries = { location: weightsFile, offset: String(offset), length: String(size) };
    offset += size;
    const external = Object.entries(entries).map(([key, value]) => message(13, [text(1, key), text(2, value)]));
    return message(5, [...head, ...external, integer(14, 1)]);
  });
  const graph = [
    ...shapes.flatMap((_, i) => [
      message(1, node('MatMul', [i === 0 ? 'features' : `r${i - 1}`, `w${i}`], `p${i}`)),
      message(1, node('Relu', [`p${i}`], i === layers ? 'score' : `r${i}`)),
    ]),
    text(2, 'dense'),
    ...tensors,
    message(11, matrix('features', width, FLOAT)),
    message(12, matrix('score', 1, FLOAT)),
  ];
  return Buffer.concat([integer(1, 8), message(7, graph), message(8, [text(1, ''), integer(2, OPSET)])]);
}

/** Bytes of the weights. */
export function denseBytes(model: DenseModel): number {
  return denseShapes(model).reduce((sum, [rows, columns]) => sum + 4 * rows * columns, 0);
}

function denseShapes({ width, hidden, layers }: DenseModel): (readonly [number, number])[] {
  return Array.from({ length: layers + 1 }, (_, i) => [i === 0 ? width : hidden, i === layers ? 1 : hidden] as const);
}

export interface StumpForest {
  /** Per tree: the feature, its threshold, what a value at or below it and above it adds, and whether a missing one is below. */
  readonly stumps: readonly (readonly [
    feature: number,
    threshold: number,
    below: number,
    above: number,
    missingBelow: boolean,
  ])[];
  readonly width: number;
}

/** `score = sigmoid(sum over trees of one split)`, float32 [N, width] → [N, 1]. */
export function stumpsOnnx({ stumps, width }: StumpForest): Uint8Array {
  const nodes = stumps.flatMap(([feature, threshold, , , missingBelow], tree) => [
    { tree, id: 0, feature, threshold, mode: 'BRANCH_LEQ', missing: missingBelow ? 1 : 0, low: 1, high: 2 },
    { tree, id: 1, feature: 0, threshold: 0, mode: 'LEAF', missing: 0, low: 0, high: 0 },
    { tree, id: 2, feature: 0, threshold: 0, mode: 'LEAF', missing: 0, low: 0, high: 0 },
  ]);
  const leaves = stumps.flatMap(([, , below, above], tree) => [
    { tree, id: 1, value: below },
    { tree, id: 2, value: above },
  ]);
  const attributes = [text(1, 'n_targets'), integer(3, 1), integer(20, 2)];
  const trees = [
    text(1, 'features'),
    text(2, 'sum'),
    text(4, 'TreeEnsembleRegressor'),
    message(5, attributes),
    ints(
      'nodes_treeids',
      nodes.map(({ tree }) => tree),
    ),
    ints(
      'nodes_nodeids',
      nodes.map(({ id }) => id),
    ),
    ints(
      'nodes_featureids',
      nodes.map(({ feature }) => feature),
    ),
    singles(
      'nodes_values',
      nodes.map(({ threshold }) => threshold),
    ),
    texts(
      'nodes_modes',
      nodes.map(({ mode }) => mode),
    ),
    ints(
      'nodes_truenodeids',
      nodes.map(({ low }) => low),
    ),
    ints(
      'nodes_falsenodeids',
      nodes.map(({ high }) => high),
    ),
    ints(
      'nodes_missing_value_tracks_true',
      nodes.map(({ missing }) => missing),
    ),
    ints(
      'target_treeids',
      leaves.map(({ tree }) => tree),
    ),
    ints(
      'target_nodeids',
      leaves.map(({ id }) => id),
    ),
    ints(
      'target_ids',
      leaves.map(() => 0),
    ),
    singles(
      'target_weights',
      leaves.map(({ value }) => value),
    ),
    text(7, 'ai.onnx.ml'),
  ];
  const graph = [
    message(1, trees),
    message(1, node('Sigmoid', ['sum'], 'score')),
    text(2, 'stumps'),
    message(11, matrix('features', width, FLOAT)),
    message(12, matrix('score', 1, FLOAT)),
  ];
  return Buffer.concat([
    integer(1, 8),
    message(7, graph),
    message(8, [text(1, ''), integer(2, OPSET)]),
    message(8, [text(1, 'ai.onnx.ml'), integer(2, 3)]),
  ]);
}

function ints(name: string, values: readonly number[]): Buffer {
  return message(5, [text(1, name), ...values.map((value) => integer(8, value)), integer(20, 7)]);
}

function singles(name: string, values: readonly number[]): Buffer {
  const floats32 = values.map((value) => {
    const bits = Buffer.alloc(4);
    bits.writeFloatLE(value);
    return Buffer.concat([varint(7 * 8 + 5), bits]);
  });
  return message(5, [text(1, name), ...floats32, integer(20, 6)]);
}

function texts(name: string, values: readonly string[]): Buffer {
  return message(5, [text(1, name), ...values.map((value) => text(9, value)), integer(20, 8)]);
}

function node(operator: string, inputs: readonly string[], output: string): Buffer[] {
  return [...inputs.map((input) => text(1, input)), text(2, output), text(4, operator)];
}

function floats(name: string, shape: readonly number[], values: readonly number[]): Buffer[] {
  return [
    ...shape.map((size) => integer(1, size)),
    integer(2, FLOAT),
    text(8, name),
    bytes(9, Buffer.from(Float32Array.from(values).buffer)),
  ];
}

function matrix(name: string, width: number | null, elementType: number): Buffer[] {
  const shape = [message(1, [text(2, 'N')]), message(1, [width === null ? text(2, 'W') : integer(1, width)])];
  return [text(1, name), message(2, [message(1, [integer(1, elementType), message(2, shape)])])];
}

function message(field: number, parts: readonly Buffer[]): Buffer {
  return bytes(field, Buffer.concat(parts));
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

function bytes(field: number, value: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
}

function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
  return Buffer.from(out);
}
