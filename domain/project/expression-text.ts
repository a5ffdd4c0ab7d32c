/** Expressions and durations as a person would write them, for plans and catalogues: `delay >= 15 and not cancelled`. */
import {
  MICROS_PER_DAY,
  MICROS_PER_HOUR,
  MICROS_PER_MILLISECOND,
  MICROS_PER_MINUTE,
  MICROS_PER_SECOND,
} from '../time.ts';
import type { Expression, Value } from './expression.ts';

const SIGNS = {
  add: '+',
  sub: '−',
  mul: '×',
  div: '÷',
  eq: '=',
  ne: '≠',
  lt: '<',
  le: '≤',
  gt: '>',
  ge: '≥',
} as const;

export function expressionText(expression: Expression): string {
  switch (expression.op) {
    case 'column':
      return expression.name;
    case 'literal':
      return literalText(expression.value);
    case 'add':
    case 'sub':
    case 'mul':
    case 'div':
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
      return `${operand(expression.left)} ${SIGNS[expression.op]} ${operand(expression.right)}`;
    case 'and':
    case 'or':
      return expression.of.map(operand).join(` ${expression.op} `);
    case 'not':
      return `not ${operand(expression.of)}`;
    case 'isNull':
      return `${operand(expression.of)} is null`;
    case 'greatest':
    case 'least':
    case 'coalesce':
      return `${expression.op}(${expression.of.map(expressionText).join(', ')})`;
    case 'abs':
    case 'ln1p':
    case 'hourOfDay':
    case 'dayOfWeek':
      return `${expression.op}(${expressionText(expression.of)})`;
    case 'plusMinutes':
      return `${operand(expression.at)} + ${operand(expression.minutes)} min`;
  }
}

/** In parentheses where it is not a single piece. */
function operand(expression: Expression): string {
  const text = expressionText(expression);
  return /[ ]/.test(text) && !/^[a-z0-9]+\(.*\)$/i.test(text) ? `(${text})` : text;
}

function literalText(value: Value): string {
  return typeof value === 'string' && !/^-?\d+$/.test(value) ? JSON.stringify(value) : String(value);
}

const UNITS = [
  [MICROS_PER_DAY, 'd'],
  [MICROS_PER_HOUR, 'h'],
  [MICROS_PER_MINUTE, 'min'],
  [MICROS_PER_SECOND, 's'],
  [MICROS_PER_MILLISECOND, 'ms'],
  [1, 'µs'],
] as const;

/** In the largest unit that divides it: `90min`, `7d`; null: `all of the past`. */
export function durationText(micros: number | null): string {
  if (micros === null) return 'all of the past';
  if (micros === 0) return '0';
  const [size, unit] = UNITS.find(([each]) => micros % each === 0) ?? [1, 'µs'];
  return `${micros / size}${unit}`;
}
