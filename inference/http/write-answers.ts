import { formatTime } from '../../domain/features/time-text.ts';
import type { Answer } from '../scoring/answer.ts';
import type { Explanation } from './explain-features.ts';

/**
 * The body of a predict answer. Written by hand: the shape is fixed, and a general serialiser costs more than the scoring.
 * @param explanations one per answer; null: none were asked for
 */
export function writeAnswers(
  model: string,
  answers: readonly Answer[],
  explanations: readonly Explanation[] | null,
): string {
  let text = `{"model":${JSON.stringify(model)},"predictions":[`;
  for (let i = 0; i < answers.length; i++) {
    if (i > 0) text += ',';
    text += writeAnswer(model, answers[i]!);
    // the members of the explanation follow those of the answer
    text += explanations === null ? '}' : `,${JSON.stringify(explanations[i]).slice(1)}`;
  }
  return `${text}]}`;
}

/** Without the closing brace. */
function writeAnswer(
  model: string,
  { instance, score, label, className, version, served, arm, rung, reason, epoch }: Answer,
): string {
  return (
    `{"predictionId":${JSON.stringify(instance.predictionId)},"score":${score},"label":${label},` +
    (className === null ? '' : `"class":${JSON.stringify(className)},`) +
    `"version":${version},` +
    (served.model === model ? '' : `"answeredBy":${JSON.stringify(served.model)},`) +
    `"arm":"${arm}","rung":"${rung}",` +
    (reason === null ? '' : `"reason":"${reason}",`) +
    `"epoch":${epoch},"asOf":"${formatTime(instance.asOf)}"`
  );
}
