import { SerinError } from '../../domain/errors.ts';
import type { QueuedWork } from '../batching/micro-batcher.ts';
import type { Scorer } from '../model/scorer.ts';
import { type RowScores, scoreRows, within } from './score-rows.ts';

/** Ready-made feature rows (Open Inference Protocol) for one version; they come down no ladder. */
export interface TensorWork extends QueuedWork {
  readonly kind: 'tensor';
  readonly served: { readonly scorer: Scorer; readonly timeoutMs?: number };
  readonly features: Float64Array;
  resolve(scores: Float64Array): void;
}

/** Tensors for one version are computed together; a row that fails fails its own request only. */
export async function scoreTensors(works: readonly TensorWork[]): Promise<void> {
  const byScorer = new Map<Scorer, TensorWork[]>();
  for (const work of works) {
    const own = byScorer.get(work.served.scorer);
    if (own) own.push(work);
    else byScorer.set(work.served.scorer, [work]);
  }
  if (byScorer.size === 1) await scoreTogether(works);
  else await Promise.all([...byScorer.values()].map(scoreTogether));
}

async function scoreTogether(works: readonly TensorWork[]): Promise<void> {
  const { scorer, timeoutMs = Infinity } = works[0]!.served;
  const rows = works.reduce((sum, work) => sum + work.rows, 0);
  let features = works[0]!.features;
  if (works.length > 1) {
    features = new Float64Array(rows * scorer.featureCount);
    let at = 0;
    for (const work of works) {
      features.set(work.features, at);
      at += work.features.length;
    }
  }
  const calling = scoreRows(scorer, features, rows);
  // only what computes elsewhere can be left behind
  const result = scorer.offLoop === true && timeoutMs !== Infinity ? await within(timeoutMs, calling) : await calling;
  if (result === null) {
    const error = new SerinError('OVERLOADED', `the model did not compute within ${timeoutMs} ms`);
    for (const work of works) work.reject(error);
    return;
  }
  let from = 0;
  for (const work of works) {
    settleTensor(work, result, from);
    from += work.rows;
  }
}

/** A NaN is an answer here: the tensors are the client's own. */
function settleTensor(work: TensorWork, { scores, errors }: RowScores, from: number): void {
  for (let row = from; errors.size > 0 && row < from + work.rows; row++) {
    const error = errors.get(row);
    if (error === undefined) continue;
    work.reject(error);
    return;
  }
  work.resolve(scores.slice(from, from + work.rows));
}
