import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createTreeBlockEvaluator } from './tree-block.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';
import { createTreeEvaluator } from './tree-evaluator.ts';

type Tree = number | readonly [feature: number, rank: number, missingSide: 0 | 1, below: Tree, above: Tree];

const FEATURES = 5;

/** Feature f has the edges f, f + 0.5, f + 1, …; the rank of a node counts them. */
function anEnsemble(trees: readonly Tree[], edgesEach = 6): TreeEnsemble {
  const nodes: number[] = [];
  const missingSide: number[] = [];
  const leaves: number[] = [];
  const place = (tree: Tree, at: number): void => {
    if (typeof tree === 'number') {
      nodes[at * 2] = -1;
      nodes[at * 2 + 1] = leaves.push(tree) - 1;
      missingSide[at] = 0;
      return;
    }
    const [feature, rank, side, below, above] = tree;
    const children = missingSide.length;
    missingSide.push(0, 0);
    nodes[at * 2] = (feature << 16) | rank;
    nodes[at * 2 + 1] = children;
    missingSide[at] = side;
    place(below, children);
    place(above, children + 1);
  };
  const roots = trees.map((tree) => {
    const root = missingSide.push(0) - 1;
    place(tree, root);
    return root;
  });
  const edges = Array.from({ length: FEATURES * edgesEach }, (_, i) => Math.floor(i / edgesEach) + (i % edgesEach) / 2);
  return {
    inputName: 'features',
    outputs: new Map([['score', 'sum']]),
    edges: Float32Array.from(edges),
    edgeStarts: Int32Array.from({ length: FEATURES + 1 }, (_, f) => f * edgesEach),
    nodes: Int32Array.from(nodes),
    roots: Int32Array.from(roots),
    missingSide: Uint8Array.from(missingSide),
    leaves: Float32Array.from(leaves),
    base: Math.fround(0.1),
    labels: [0, 1],
  };
}

/** @param edges of a feature */
function trees(edges: number, depth: number): fc.Arbitrary<Tree> {
  const leaf = fc.float({ min: -4, max: 4, noNaN: true });
  if (depth === 0) return leaf;
  const inner = fc.tuple(
    fc.nat(FEATURES - 1),
    fc.nat(edges - 1),
    fc.constantFrom(0 as const, 1 as const),
    trees(edges, depth - 1),
    trees(edges, depth - 1),
  );
  return fc.oneof({ weight: 1, arbitrary: leaf }, { weight: 4, arbitrary: inner });
}

/** On an edge, a unit in the last place beside it, anywhere, or missing. */
const values = fc.oneof(
  fc.integer({ min: -2, max: 12 }).map((half) => half / 2),
  fc.tuple(fc.integer({ min: 1, max: 12 }), fc.constantFrom(-1, 1)).map(([half, ulp]) => {
    const bits = new Int32Array(Float32Array.of(half / 2).buffer);
    bits[0]! += ulp;
    return new Float32Array(bits.buffer)[0]!;
  }),
  fc.double({ min: -3, max: 9, noNaN: true }),
  fc.constantFrom(NaN, Infinity, -Infinity, -0),
);

function expectSameSums(ensemble: TreeEnsemble, rows: readonly (readonly number[])[]): void {
  const expected = createTreeEvaluator(ensemble).sums(Float32Array.from(rows.flat()), rows.length, FEATURES);
  const columns = Array.from({ length: FEATURES }, (_, f) => Float64Array.from(rows, (row) => row[f]!));
  const given = new Float32Array(rows.length);
  createTreeBlockEvaluator(ensemble)!.sums(columns, rows.length, given);
  expect([...new Int32Array(given.buffer)]).toEqual([...new Int32Array(expected.buffer)]);
}

test('the sums are those of the row-at-a-time evaluator, bit for bit, on edges and beside them and with values missing', () => {
  const row = fc.tuple(values, values, values, values, values);
  fc.assert(
    fc.property(
      fc.array(trees(6, 6), { minLength: 1, maxLength: 6 }),
      fc.array(row, { minLength: 1, maxLength: 40 }),
      (given, rows) => expectSameSums(anEnsemble(given), rows),
    ),
  );
});

test('more rows than are binned at once, and trees with leaves in many planes', () => {
  const full = (depth: number, at: number): Tree =>
    depth === 0
      ? at / 7
      : [at % FEATURES, at % 6, (at & 1) as 0 | 1, full(depth - 1, at * 2 + 1), full(depth - 1, at * 2 + 2)];
  const rows = Array.from({ length: 1_300 }, (_, i) =>
    Array.from({ length: FEATURES }, (_, f) => ((i * 31 + f * 17) % 23) / 4 + (i % 50 === f ? NaN : 0)),
  );
  expectSameSums(anEnsemble([full(8, 0), 0.25, full(3, 2)]), rows);
});

test('an ensemble with more edges or leaves than fit into bytes is left to the other evaluator', () => {
  const chain = (leaves: number): Tree => (leaves === 1 ? 1 : [0, 0, 0, chain(leaves - 1), leaves]);
  expect(createTreeBlockEvaluator(anEnsemble([chain(256)]))).not.toBeNull();
  expect(createTreeBlockEvaluator(anEnsemble([chain(257)]))).toBeNull();
  expect(createTreeBlockEvaluator(anEnsemble([[0, 254, 0, 1, 2]], 255))).not.toBeNull();
  expect(createTreeBlockEvaluator(anEnsemble([[0, 255, 0, 1, 2]], 256))).toBeNull();
});
