import { compileExpression, type Expression } from '../../domain/project/expression.ts';
import { type FeatureField, rowReader } from '../../domain/project/feature-schema.ts';
import type { Scorer } from './scorer.ts';

/** A rule baseline as a model: an expression over the named columns of its feature set; a missing value is null to it. */
export function createRuleModel(
  expression: Expression,
  columns: readonly Pick<FeatureField, 'name' | 'type'>[],
): Scorer {
  const evaluate = compileExpression(expression);
  const width = columns.length;
  const rowAt = rowReader(columns);
  return {
    featureCount: width,
    score(features, rows) {
      const scores = new Float64Array(rows);
      for (let i = 0; i < rows; i++) {
        const score = evaluate(rowAt(features, i * width));
        scores[i] = typeof score === 'number' ? score : typeof score === 'boolean' ? Number(score) : NaN;
      }
      return Promise.resolve(scores);
    },
    release: () => Promise.resolve(),
  };
}
