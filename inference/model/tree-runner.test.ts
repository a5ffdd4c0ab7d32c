import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readOnnxGraph } from './onnx-graph.ts';
import { linearOnnx, stumpsOnnx, type StumpForest } from './onnx-fixture.ts';
import { readTreeEnsemble } from './tree-ensemble.ts';
import { createTreeEvaluator, sigmoid } from './tree-evaluator.ts';
import { createTreeRunner, judgeTrees } from './tree-runner.ts';

const WIDTH = 3;

/** The definition: every tree in turn, in float32. */
function sumOf({ stumps }: StumpForest, row: Float32Array): number {
  return stumps.reduce((sum, [feature, threshold, below, above, missingBelow]) => {
    const x = row[feature]!;
    const isBelow = Number.isNaN(x) ? missingBelow : x <= Math.fround(threshold);
    return Math.fround(sum + Math.fround(isBelow ? below : above));
  }, 0);
}

const graphOf = (bytes: Uint8Array) => readOnnxGraph(bytes)!;
const single = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 });
const stump = fc.tuple(fc.nat(WIDTH - 1), fc.oneof(single, fc.constantFrom(0, -0, 1)), single, single, fc.boolean());
const forest = fc.array(stump, { minLength: 1, maxLength: 12 }).map((stumps) => ({ stumps, width: WIDTH }));

test('a row goes down each tree as the definition says, on thresholds, beside them, and where a value is missing', () => {
  fc.assert(
    fc.property(
      forest,
      fc.array(
        fc.array(fc.oneof(single, fc.constantFrom(NaN, Infinity, -Infinity, 0, -0)), {
          minLength: WIDTH,
          maxLength: WIDTH,
        }),
        { minLength: 1, maxLength: 8 },
      ),
      (trees, drawn) => {
        const edges = trees.stumps.map(([feature, threshold]) => [0, 1, 2].map((f) => (f === feature ? threshold : 1)));
        const rows = [...drawn, ...edges].map((row) => Float32Array.from(row));
        const features = Float32Array.from(rows.flatMap((row) => [...row]));
        const ensemble = readTreeEnsemble(graphOf(stumpsOnnx(trees)))!;
        expect([...createTreeEvaluator(ensemble).sums(features, rows.length, WIDTH)]).toEqual(
          rows.map((row) => sumOf(trees, row)),
        );
      },
    ),
  );
});

const TREES: StumpForest = {
  stumps: [
    [0, 0.5, 1, -1, true],
    [2, -0.25, 0.125, 2, false],
  ],
  width: WIDTH,
};
const rightly = (features: Float32Array, rows: number) =>
  Promise.resolve(
    new Map([
      [
        'score',
        Float32Array.from({ length: rows }, (_, i) =>
          sigmoid(sumOf(TREES, features.subarray(i * WIDTH, (i + 1) * WIDTH))),
        ),
      ],
    ]),
  );
/** So slow that JavaScript is faster. */
async function slowly(features: Float32Array, rows: number) {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  return rightly(features, rows);
}

test('trees are taken up where they agree with the reference and are faster', async () => {
  const { ensemble, why } = await judgeTrees(graphOf(stumpsOnnx(TREES)), WIDTH, slowly);
  expect(why).toMatch(/^trees that agree with ONNX Runtime on 512 edge rows; 8 rows take \d+ µs in JavaScript, \d+ in/);
  const runner = createTreeRunner(ensemble!, WIDTH);
  expect(runner.run(Float32Array.of(0, 0, 0), 1, ['score'])).toEqual([Float32Array.of(sigmoid(3))]);
});

test('one wrong side of an edge is enough to leave a model to ONNX Runtime', async () => {
  const shifted: StumpForest = { ...TREES, stumps: [[0, 0.5 + 2 ** -24, 1, -1, true], TREES.stumps[1]!] };
  expect(await judgeTrees(graphOf(stumpsOnnx(shifted)), WIDTH, slowly)).toEqual({
    ensemble: null,
    why: 'its trees in JavaScript do not give the answers of ONNX Runtime',
  });
});

test('what is not a tree ensemble alone is left to ONNX Runtime', async () => {
  expect(readTreeEnsemble(graphOf(linearOnnx({ weights: [1], bias: 0 })))).toBeNull();
});
