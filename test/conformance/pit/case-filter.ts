/** Filters of a case as the product's expressions. */
import type { Expression, Value } from '../../../domain/project/expression.ts';
import type { Datum } from '../../../features/history/fact.ts';
import type { CaseFilter, CaseType } from './case-types.ts';
import { readValue } from './case-values.ts';

/** What an expression's literal or a spec's default holds for a value: JSON has no bigints, NaN or infinities, so those are text. */
export function literalOf(value: Datum): Value {
  if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value))) return String(value);
  return value;
}

const COMPARISONS = { '==': 'eq', '!=': 'ne', '<': 'lt', '<=': 'le', '>': 'gt', '>=': 'ge' } as const;

/** All of the conditions; null when there are none. */
export function filterExpression(
  filter: readonly CaseFilter[],
  columnOf: (name: string, path: string) => { readonly name: string; readonly type: CaseType },
): Expression | null {
  const conditions = filter.map((condition): Expression => {
    const { name, type } = columnOf(condition.column, `${condition.path}[0]`);
    const column: Expression = { op: 'column', name };
    const literal = (value: unknown): Expression => ({
      op: 'literal',
      value: literalOf(readValue(value, type, `${condition.path}[2]`)),
      type,
    });
    switch (condition.op) {
      case 'is_null':
        return { op: 'isNull', of: column };
      case 'not_null':
        return { op: 'not', of: { op: 'isNull', of: column } };
      case 'in': {
        const values = condition.argument as unknown[];
        if (values.length === 0) return { op: 'literal', value: false, type: 'bool' };
        return { op: 'or', of: values.map((value) => ({ op: 'eq', left: column, right: literal(value) })) };
      }
      default:
        return { op: COMPARISONS[condition.op], left: column, right: literal(condition.argument) };
    }
  });
  return conditions.length === 0 ? null : { op: 'and', of: conditions };
}
