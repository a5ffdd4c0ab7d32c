import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TensorSession } from './tensor-session.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';
import { createTreeRunner, edgeRows, type TreeRunner } from './tree-runner.ts';

/** Rows of a warm-up run, the longest it may hold the event loop up at a time, and in all. */
const WARM_UP_ROWS = 8;
const WARM_UP_TURN_MS = 1;
const WARM_UP_MS = 8;

/** Trees evaluated on the event loop, warm: the tables have been read once, and the evaluator is compiled. */
export async function createTreeSession(
  { inputs, outputs, batched }: Pick<TensorSession, 'inputs' | 'outputs' | 'batched'>,
  ensemble: TreeEnsemble,
): Promise<TensorSession> {
  const width = inputs[0]!.shape[1]!;
  const trees = createTreeRunner(ensemble, width);
  const names = outputs.map(({ name }) => name);
  await warmUp(trees, edgeRows(ensemble, width), width, names);
  return {
    inputs,
    outputs,
    batched,
    run(given, asked) {
      const { data, shape } = given[0]!;
      const rows = shape[0]!;
      const results = trees.run(
        data as Float32Array,
        rows,
        asked.map((at) => names[at]!),
      );
      return Promise.resolve(
        asked.map((at, i) => {
          const { datatype, shape: sizes } = outputs[at]!;
          return { datatype, shape: [rows, ...sizes.slice(1)], data: results[i]! };
        }),
      );
    },
    release: () => Promise.resolve(),
  };
}

async function warmUp(trees: TreeRunner, rows: Float32Array, width: number, names: readonly string[]): Promise<void> {
  const batches = Math.floor(rows.length / (WARM_UP_ROWS * width));
  let spentMs = 0;
  for (let next = 0; next < batches && spentMs < WARM_UP_MS;) {
    const startedMs = performance.now();
    while (next < batches && performance.now() - startedMs < WARM_UP_TURN_MS) {
      const from = next++ * WARM_UP_ROWS * width;
      trees.run(rows.subarray(from, from + WARM_UP_ROWS * width), WARM_UP_ROWS, names);
    }
    spentMs += performance.now() - startedMs;
    await nextTurn();
  }
}
