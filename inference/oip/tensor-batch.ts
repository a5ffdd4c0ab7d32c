import { SerinError } from '../../domain/errors.ts';
import type { QueuedWork } from '../batching/micro-batcher.ts';
import { joinBatch, partOfBatch, type TensorSession } from '../model/tensor-session.ts';
import type { Tensor } from './model.ts';
import type { ModelStatistics } from './statistics.ts';

/** A request for one model, waiting for its batch. */
export interface TensorWork extends QueuedWork {
  readonly session: TensorSession;
  readonly statistics: ModelStatistics;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly number[];
  readonly submittedMs: number;
  resolve(tensors: readonly Tensor[]): void;
}

/** Requests for one model and of one shape are computed together; one that fails fails alone. */
export async function runTensorBatch(works: readonly TensorWork[]): Promise<void> {
  for (const together of groupsOf(works)) await runTogether(together);
}

async function runTogether(works: readonly TensorWork[]): Promise<void> {
  const [{ session, statistics, outputs }] = works as [TensorWork];
  const startedMs = performance.now();
  const rows = works.reduce((sum, work) => sum + work.rows, 0);
  try {
    const inputs = joinBatch(works.map((work) => work.inputs));
    const joinedMs = performance.now();
    const results = await session.run(inputs, outputs);
    const ranMs = performance.now();
    if (works.length > 1) checkBatch(results, rows);
    let from = 0;
    for (const work of works) {
      work.resolve(works.length === 1 ? results : partOfBatch(results, from, work.rows));
      from += work.rows;
    }
    const doneMs = performance.now();
    statistics.executed(rows, joinedMs - startedMs, ranMs - joinedMs, doneMs - ranMs);
    for (const work of works) statistics.answered(work.rows, doneMs - work.submittedMs, startedMs - work.submittedMs);
  } catch (error) {
    if (works.length > 1) {
      for (const work of works) await runTogether([work]);
      return;
    }
    statistics.failed(performance.now() - works[0]!.submittedMs);
    works[0]!.reject(error);
  }
}

/** A model whose declared batch dimension is not one would cross the answers. */
function checkBatch(results: readonly Tensor[], rows: number): void {
  for (const { shape } of results) {
    if (shape[0] !== rows)
      throw new SerinError('INFERENCE_FAILED', `a batch of ${rows} rows gave an output of shape [${shape.join(',')}]`);
  }
}

function groupsOf(works: readonly TensorWork[]): TensorWork[][] {
  if (works.length === 0) return [];
  if (works.length === 1) return [[works[0]!]];
  const groups = new Map<TensorSession, Map<string, TensorWork[]>>();
  const alone: TensorWork[][] = [];
  for (const work of works) {
    if (!work.session.batched) {
      alone.push([work]);
      continue;
    }
    let shapes = groups.get(work.session);
    if (shapes === undefined) groups.set(work.session, (shapes = new Map<string, TensorWork[]>()));
    const key = `${work.outputs.join()}|${work.inputs.map(({ shape }) => shape.slice(1).join()).join('|')}`;
    const group = shapes.get(key);
    if (group === undefined) shapes.set(key, [work]);
    else group.push(work);
  }
  return [...alone, ...[...groups.values()].flatMap((shapes) => [...shapes.values()])];
}
