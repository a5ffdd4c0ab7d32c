import { compileExpression, type Expression, type Value } from '../../domain/project/expression.ts';
import type { Scorer } from './scorer.ts';

/** A rule baseline as a model: an expression over the named columns of its feature set; a missing value is null to it. */
export function createRuleModel(expression: Expression, featureNames: readonly string[]): Scorer {
  const evaluate = compileExpression(expression);
  const width = featureNames.length;
  return {
    featureCount: width,
    score(features, rows) {
      const scores = new Float64Array(rows);
      const row: Record<string, Value> = {};
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < width; j++) {
          const value = features[i * width + j]!;
          row[featureNames[j]!] = Number.isNaN(value) ? null : value;
        }
        const score = evaluate(row);
        scores[i] = typeof score === 'number' ? score : typeof score === 'boolean' ? Number(score) : NaN;
      }
      return Promise.resolve(scores);
    },
    release: () => Promise.resolve(),
  };
}
