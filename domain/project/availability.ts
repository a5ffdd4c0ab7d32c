import type { Expression } from './expression.ts';
import type { SourceSpec } from './spec.ts';

/** Whether a source takes its events for known when they happen (or before): nobody recorded, or declared, a delay. */
export function assumesAvailability({ availableAt, eventAt }: Pick<SourceSpec, 'availableAt' | 'eventAt'>): boolean {
  return isAtMost(availableAt, eventAt);
}

function isAtMost(expression: Expression, eventAt: string): boolean {
  if (expression.op === 'column') return expression.name === eventAt;
  if (expression.op !== 'plusMinutes' || expression.minutes.op !== 'literal') return false;
  return Number(expression.minutes.value) <= 0 && isAtMost(expression.at, eventAt);
}
