import type { Scorer } from '../model/scorer.ts';
import { scoreRows } from './score-rows.ts';

/** Ready-made feature rows (Open Inference Protocol) for one version; they come down no ladder. */
export interface TensorWork {
  readonly kind: 'tensor';
  readonly rows: number;
  readonly served: { readonly scorer: Scorer };
  readonly features: Float64Array;
  resolve(scores: Float64Array): void;
  reject(error: unknown): void;
}

/** Tensors for one version are computed together; a row that fails fails its own request only. */
export async function scoreTensors(works: readonly TensorWork[]): Promise<void> {
  const byScorer = new Map<Scorer, TensorWork[]>();
  for (const work of works) byScorer.set(work.served.scorer, [...(byScorer.get(work.served.scorer) ?? []), work]);
  for (const [scorer, own] of byScorer) {
    const [only] = own;
    const rows = own.reduce((sum, work) => sum + work.rows, 0);
    const features = own.length === 1 ? only!.features : new Float64Array(rows * scorer.featureCount);
    if (own.length > 1) {
      let at = 0;
      for (const work of own) {
        features.set(work.features, at);
        at += work.features.length;
      }
    }
    const scores = await scoreRows(scorer, features, rows, { keepNaN: true });
    let from = 0;
    for (const work of own) {
      settleTensor(work, scores.slice(from, from + work.rows));
      from += work.rows;
    }
  }
}

function settleTensor(work: TensorWork, scores: readonly (number | Error)[]): void {
  const failed = scores.find((score) => typeof score !== 'number');
  if (failed) work.reject(failed);
  else work.resolve(Float64Array.from(scores as readonly number[]));
}
