import { SerinError } from '../../domain/errors.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import type { Answer } from './answer.ts';

/**
 * Why answers are not given out although they were computed; null: they are. Who asks for an instant gets what was known
 * then, or learns that it cannot be told any more: state that was folded later holds what came in since. Without an `asOf`
 * the newest state is what was meant.
 */
export function replayRefusal(answers: readonly Answer[]): SerinError | null {
  for (const { instance, known, served } of answers) {
    if (instance.isReplay !== true || known === null || known.readAt <= instance.asOf) continue;
    const [asOf, foldedAt] = [formatTime(instance.asOf), formatTime(known.readAt)];
    return new SerinError(
      'AS_OF_UNREACHABLE',
      `asOf is ${asOf}, but the features of ${served.featureSet} can be told from ${foldedAt} on (their fold point): ask at or ` +
        'after it, or leave asOf out; what was known earlier is told by a dataset',
      { fields: { predictionId: instance.predictionId, asOf, foldedAt } },
    );
  }
  return null;
}
