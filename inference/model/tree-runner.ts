/**
 * Tree ensembles evaluated in JavaScript instead of by ONNX Runtime, whose fixed cost of a call is several times that of a
 * row. Taken up per model when it is loaded: only where it gives what ONNX Runtime gives on rows that lie on the edges of
 * the splits, and only where it is faster on this machine. One or the other for all batches, so that an answer does not
 * depend on the batch it came in.
 */
import type { TensorData } from '../oip/datatypes.ts';
import type { OnnxGraph } from './onnx-graph.ts';
import { readTreeEnsemble, type TreeEnsemble, type TreeOutput } from './tree-ensemble.ts';
import { createTreeEvaluator, sigmoid, type TreeEvaluator } from './tree-evaluator.ts';

export interface TreeRunner {
  /** @param features rows × width float32; NaN is missing  @returns the data of the named output */
  run(features: Float32Array, rows: number, outputs: readonly string[]): TensorData[];
}

/** ONNX Runtime on the same model; the outputs that are served. */
export type ReferenceRun = (features: Float32Array, rows: number) => Promise<ReadonlyMap<string, TensorData>>;

const CHECKED_ROWS = 512;
/** Largest difference of a probability, and relative to it of a sum: a few units in the last place of float32. */
const TOLERANCE = 1e-6;
/** Sizes whose cost decides: what a busy server's batches look like. */
const TIMED_ROWS = 8;
const TIMED_RUNS = 5;
const TIMED_ROUNDS = 40;
const TIMING_ENDS_MS = 150;

/** Whether the evaluator takes a model; `ensemble` null: ONNX Runtime does. */
export interface TreeVerdict {
  readonly ensemble: TreeEnsemble | null;
  readonly why: string;
}

/**
 * @param width of a row
 * @param handicapMs what a batch of ONNX Runtime costs beyond `reference`: the way to another thread and back
 * @throws what the reference throws
 */
export async function judgeTrees(
  graph: OnnxGraph,
  width: number,
  reference: ReferenceRun,
  handicapMs = 0,
): Promise<TreeVerdict> {
  const ensemble = readTreeEnsemble(graph);
  if (ensemble === null || ensemble.edgeStarts.length - 1 > width)
    return { ensemble: null, why: 'it is not a tree ensemble alone' };
  const evaluator = createTreeEvaluator(ensemble);
  const rows = edgeRows(ensemble, width);
  const expected = await reference(rows, CHECKED_ROWS);
  if (!agrees(ensemble, evaluator, rows, width, expected))
    return { ensemble: null, why: 'its trees in JavaScript do not give the answers of ONNX Runtime' };
  const runner = createTreeRunner(ensemble, width);
  const { own, other } = await time(runner, rows, width, reference, [...expected.keys()]);
  const theirs = other + handicapMs;
  const figures = `${TIMED_ROWS} rows take ${micros(own)} µs in JavaScript, ${micros(theirs)} in ONNX Runtime`;
  return own < theirs
    ? { ensemble, why: `trees that agree with ONNX Runtime on ${CHECKED_ROWS} edge rows; ${figures}` }
    : { ensemble: null, why: figures };
}

export function createTreeRunner(ensemble: TreeEnsemble, width: number): TreeRunner {
  const { outputs, labels } = ensemble;
  const evaluator = createTreeEvaluator(ensemble);
  return {
    run(features, rows, asked) {
      const sums = evaluator.sums(features, rows, width);
      return asked.map((name) => outputOf(outputs.get(name)!, sums, labels));
    },
  };
}

/** Bytes of the tables. */
export function treeBytes({ edges, edgeStarts, nodes, roots, missingSide, leaves }: TreeEnsemble): number {
  return [edges, edgeStarts, nodes, roots, missingSide, leaves].reduce((sum, table) => sum + table.byteLength, 0);
}

/** The memory of the tables, to hand them to another thread; they are gone here then. */
export function treeBuffers({ edges, edgeStarts, nodes, roots, missingSide, leaves }: TreeEnsemble): ArrayBuffer[] {
  return [edges, edgeStarts, nodes, roots, missingSide, leaves].map(({ buffer }) => buffer as ArrayBuffer);
}

function outputOf(meaning: TreeOutput, sums: Float32Array, labels: readonly [number, number]): TensorData {
  switch (meaning) {
    case 'sum':
      return sums;
    case 'sigmoid':
      return sums.map(sigmoid);
    case 'probabilities': {
      const both = new Float32Array(sums.length * 2);
      for (let i = 0; i < sums.length; i++) {
        const positive = sigmoid(sums[i]!);
        both[i * 2] = 1 - positive;
        both[i * 2 + 1] = positive;
      }
      return both;
    }
    case 'label': {
      const chosen = new BigInt64Array(sums.length);
      const [negative, positive] = [BigInt(labels[0]), BigInt(labels[1])];
      for (let i = 0; i < sums.length; i++) chosen[i] = sums[i]! > 0 ? positive : negative;
      return chosen;
    }
  }
}

function agrees(
  { outputs, labels }: TreeEnsemble,
  evaluator: TreeEvaluator,
  rows: Float32Array,
  width: number,
  expected: ReadonlyMap<string, TensorData>,
): boolean {
  const sums = evaluator.sums(rows, CHECKED_ROWS, width);
  for (const [name, meaning] of outputs) {
    const right = expected.get(name);
    // an output that nobody fetches
    if (right === undefined) continue;
    const given = outputOf(meaning, sums, labels);
    if (given.length !== right.length) return false;
    for (let i = 0; i < given.length; i++) {
      if (meaning === 'label') {
        if (given[i] !== right[i] && Math.abs(sums[i]!) > TOLERANCE) return false;
      } else {
        const [a, b] = [given[i] as number, right[i] as number];
        const scale = meaning === 'sum' ? 1 + Math.abs(b) : 1;
        if (!(Math.abs(a - b) <= TOLERANCE * scale)) return false;
      }
    }
  }
  return true;
}

/** 512 rows of values on a threshold of their feature, a unit in the last place below and above; now and then none at all. Always the same rows. */
export function edgeRows({ edges, edgeStarts }: TreeEnsemble, width: number): Float32Array {
  const rows = new Float32Array(CHECKED_ROWS * width);
  const bits = new Int32Array(rows.buffer);
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  for (let i = 0; i < rows.length; i++) {
    const feature = i % width;
    const [from, to] = [edgeStarts[feature] ?? 0, edgeStarts[feature + 1] ?? 0];
    if (random(50) === 0) rows[i] = NaN;
    else if (to > from) {
      rows[i] = edges[from + random(to - from)]!;
      // for a float32 that is not 0 the next ones are the next whole numbers of its bits
      if (rows[i] !== 0) bits[i]! += random(3) - 1;
    }
  }
  return rows;
}

/** Milliseconds of a batch of `TIMED_ROWS`, never the same rows twice in a row: ONNX Runtime's branches would be guessed. */
async function time(
  runner: TreeRunner,
  rows: Float32Array,
  width: number,
  reference: ReferenceRun,
  outputs: readonly string[],
): Promise<{ own: number; other: number }> {
  let [own, other] = [Infinity, Infinity];
  const batches = Array.from({ length: CHECKED_ROWS / TIMED_ROWS }, (_, i) =>
    rows.slice(i * TIMED_ROWS * width, (i + 1) * TIMED_ROWS * width),
  );
  const batchOf = (round: number, i: number): Float32Array => batches[(round * TIMED_RUNS + i) % batches.length]!;
  const endMs = performance.now() + TIMING_ENDS_MS;
  // the quickest of many short rounds: what else the machine does only adds
  for (let round = 0; round < TIMED_ROUNDS && (round < 3 || performance.now() < endMs); round++) {
    let startedMs = performance.now();
    for (let i = 0; i < TIMED_RUNS; i++) runner.run(batchOf(round, i), TIMED_ROWS, outputs);
    own = Math.min(own, performance.now() - startedMs);
    startedMs = performance.now();
    for (let i = 0; i < TIMED_RUNS; i++) await reference(batchOf(round, i), TIMED_ROWS);
    other = Math.min(other, performance.now() - startedMs);
  }
  return { own: own / TIMED_RUNS, other: other / TIMED_RUNS };
}

function micros(ms: number): string {
  return (ms * 1_000).toFixed(0);
}
