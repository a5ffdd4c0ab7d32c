import type { QueuedWork } from '../batching/micro-batcher.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RowScores } from './score-rows.ts';
import type { VersionScorer } from './score-version.ts';

/** Ready-made feature rows (Open Inference Protocol) for one version; they come down no ladder. */
export interface TensorWork extends QueuedWork {
  readonly kind: 'tensor';
  readonly served: ServedVersion;
  readonly features: Float64Array;
  resolve(scores: Float64Array): void;
}

/** Tensors for one version are computed together; a row that fails fails its own request only. Never rejects. */
export async function scoreTensors(works: readonly TensorWork[], scorer: VersionScorer): Promise<void> {
  const byVersion = new Map<ServedVersion, TensorWork[]>();
  for (const work of works) {
    const own = byVersion.get(work.served);
    if (own) own.push(work);
    else byVersion.set(work.served, [work]);
  }
  await Promise.all([...byVersion.values()].map((own) => scoreTogether(own, scorer)));
}

async function scoreTogether(works: readonly TensorWork[], scorer: VersionScorer): Promise<void> {
  const { served } = works[0]!;
  const rows = works.reduce((sum, work) => sum + work.rows, 0);
  let { features } = works[0]!;
  if (works.length > 1) {
    features = new Float64Array(rows * served.scorer.featureCount);
    let at = 0;
    for (const work of works) {
      features.set(work.features, at);
      at += work.features.length;
    }
  }
  try {
    const scored = await scorer.scoreTensors(served, features, rows);
    let from = 0;
    for (const work of works) {
      settleTensor(work, scored, from);
      from += work.rows;
    }
  } catch (error) {
    for (const work of works) work.reject(error);
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
