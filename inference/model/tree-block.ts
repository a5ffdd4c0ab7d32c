/**
 * Tree ensembles over columns of many rows, for batch scoring: the same sums as the row-at-a-time evaluator, bit for bit, at
 * a part of its cost.
 */
import { BLOCK_ROWS, createTreeBlockKernel, PLANE_LEAVES } from './tree-block-kernel.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';

export interface TreeBlockEvaluator {
  /**
   * The sums of the leaves of each row, in float32 and in the order of the trees, as `TreeEvaluator.sums` gives them.
   * @param columns by feature of the ensemble, at least `rows` values each; NaN is missing
   * @param into gets `rows` sums
   */
  sums(columns: readonly Float64Array[], rows: number, into: Float32Array): void;
}

/** Counts of edges below a value, and ranks of edges, are bytes. */
const EDGES_MAX = 255;
const LEAVES_MAX = 256;
/** Positions of columns are 16 bits. */
const COLUMNS_MAX = 0xffff / BLOCK_ROWS;
/** Blocks that are binned together: few enough to stay in the cache, so that a column is walked in long stretches. */
const BLOCKS = 32;

/** Goes to the left, or to the right, at every node. */
const MISSING_LEFT = 0;
const MISSING_RIGHT = 255;

/** A feature as nodes see it that send a missing value the same way. */
interface BinColumn {
  readonly feature: number;
  readonly missing: number;
}

interface Step {
  readonly column: number;
  readonly rank: number;
  /** Leaves `from … to − 1` are lost by a row that goes to the right. */
  readonly from: number;
  readonly to: number;
}

/** @returns null for an ensemble with too many edges of a feature, leaves of a tree, or features */
export function createTreeBlockEvaluator(ensemble: TreeEnsemble): TreeBlockEvaluator | null {
  const { edges, edgeStarts, roots, base } = ensemble;
  const columns: BinColumn[] = [];
  const trees = Array.from(roots, (root) => readTree(ensemble, root, columns));
  for (let f = 0; f + 1 < edgeStarts.length; f++) if (edgeStarts[f + 1]! - edgeStarts[f]! > EDGES_MAX) return null;
  if (trees.some(({ leaves }) => leaves.length > LEAVES_MAX) || columns.length > COLUMNS_MAX) return null;

  const program = Uint8Array.from(trees.flatMap(({ steps, leaves }) => programOf(steps, leaves.length)));
  const leaves = Float32Array.from(
    trees.flatMap(({ leaves }) => [
      ...leaves,
      ...Array<number>(planesOf(leaves.length) * PLANE_LEAVES - leaves.length).fill(0),
    ]),
  );
  const stride = columns.length * BLOCK_ROWS;
  const at = { bins: 0, sums: BLOCKS * stride, leaves: 0, program: 0, end: 0 };
  at.leaves = at.sums + BLOCKS * BLOCK_ROWS * 4;
  at.program = at.leaves + leaves.byteLength;
  at.end = at.program + program.byteLength;
  const { memory, add } = createTreeBlockKernel(at.end);
  memory.set(program, at.program);
  memory.set(new Uint8Array(leaves.buffer), at.leaves);
  const bins = memory.subarray(0, at.sums);
  const sums = new Float32Array(memory.buffer, at.sums, BLOCKS * BLOCK_ROWS);
  const tables = Array.from(columns, ({ feature }) =>
    paddedEdges(edges.subarray(edgeStarts[feature], edgeStarts[feature + 1])),
  );

  return {
    sums(values, rows, into) {
      for (let from = 0; from < rows; from += BLOCKS * BLOCK_ROWS) {
        const count = Math.min(BLOCKS * BLOCK_ROWS, rows - from);
        // what an earlier call left behind the last row is scored too and not looked at
        for (const [c, { feature, missing }] of columns.entries())
          bin(values[feature]!, from, count, tables[c]!, missing, bins, c * BLOCK_ROWS, stride);
        sums.fill(base);
        for (let block = 0; block * BLOCK_ROWS < count; block++)
          add(block * stride, at.program, at.end, at.leaves, at.sums + block * BLOCK_ROWS * 4);
        into.set(count === sums.length ? sums : sums.subarray(0, count), from);
      }
    },
  };
}

/** The nodes of a tree, its leaves numbered from the left. Columns that it is the first to need are added to `columns`. */
function readTree(
  { nodes, missingSide, leaves: values }: TreeEnsemble,
  root: number,
  columns: BinColumn[],
): { steps: Step[]; leaves: number[] } {
  const steps: Step[] = [];
  const leaves: number[] = [];
  const visit = (node: number): void => {
    const test = nodes[node * 2]!;
    const next = nodes[node * 2 + 1]!;
    if (test < 0) {
      leaves.push(values[next]!);
      return;
    }
    const from = leaves.length;
    visit(next);
    const to = leaves.length;
    visit(next + 1);
    const feature = test >> 16;
    const missing = missingSide[node] === 0 ? MISSING_LEFT : MISSING_RIGHT;
    let column = columns.findIndex((each) => each.feature === feature && each.missing === missing);
    if (column === -1) column = columns.push({ feature, missing }) - 1;
    steps.push({ column, rank: test & 0xffff, from, to });
  };
  visit(root);
  return { steps, leaves };
}

/** A tree in the kernel's form. */
function programOf(steps: readonly Step[], leaves: number): number[] {
  const planes = planesOf(leaves);
  const program = [...int32(planes)];
  for (let plane = 0; plane < planes; plane++) {
    const first = plane * PLANE_LEAVES;
    const own: number[] = [];
    for (const { column, rank, from, to } of steps) {
      const [low, high] = [Math.max(from - first, 0), Math.min(to - first, PLANE_LEAVES)];
      if (low >= high) continue;
      const position = column * BLOCK_ROWS;
      own.push(position & 0xff, position >> 8, rank, (1 << high) - (1 << low));
    }
    if (own.length === 0) own.push(0, 0, 0, 0);
    program.push(...int32(own.length), ...own);
  }
  return program;
}

function planesOf(leaves: number): number {
  return Math.ceil(leaves / PLANE_LEAVES);
}

function int32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
}

/** Edges of a feature and as many infinities as bring them to a power of two less one, so that a search has no odd ends. */
function paddedEdges(edges: Float32Array): Float32Array {
  let size = 1;
  while (size <= edges.length) size *= 2;
  const padded = new Float32Array(size - 1).fill(Infinity);
  padded.set(edges);
  return padded;
}

/** By row of a column the number of edges below its value; without a branch for the processor to guess. */
function bin(
  values: Float64Array,
  from: number,
  count: number,
  edges: Float32Array,
  missing: number,
  into: Uint8Array,
  at: number,
  stride: number,
): void {
  const half = (edges.length + 1) >>> 1;
  for (let i = 0; i < count; i++) {
    const x = Math.fround(values[from + i]!);
    let below = 0;
    for (let width = half; width > 0; width >>>= 1) below += Number(edges[below + width - 1]! < x) * width;
    into[at + (i >>> 4) * stride + (i & 15)] = x === x ? below : missing;
  }
}
