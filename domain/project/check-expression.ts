import { SerinError } from '../errors.ts';
import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { columnsOf, typeOf } from './expression.ts';
import type { ColumnType, Expression, Value } from './expression.ts';
import { referenceMissing } from './names.ts';

/** Deep enough for any formula a person writes; a recursion over the tree cannot exhaust the stack. */
const MAX_DEPTH = 64;

const BINARY = ['add', 'sub', 'mul', 'div', 'eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const;
const UNARY = ['not', 'isNull', 'abs', 'ln1p', 'hourOfDay', 'dayOfWeek'] as const;
const VARIADIC = ['and', 'or', 'greatest', 'least', 'coalesce'] as const;
const OPERATORS = ['column', 'literal', 'plusMinutes', ...BINARY, ...UNARY, ...VARIADIC] as const;

/** The shape of an expression from outside; its names and types are `checkType`. @throws SerinError SPEC_INVALID */
export function checkExpression(value: unknown, path: string, depth = 0): Expression {
  if (depth > MAX_DEPTH) throw specInvalid(path, value, `an expression is nested at most ${MAX_DEPTH} deep`);
  const known = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  const op = new CheckedFields(value, path, known).oneOf('op', OPERATORS);
  const part = (fields: CheckedFields, name: string): Expression =>
    checkExpression(fields.raw(name), fields.at(name), depth + 1);

  if (op === 'column') return { op, name: new CheckedFields(value, path, ['op', 'name']).text('name') };
  if (op === 'literal') return checkLiteral(value, path);
  if (op === 'plusMinutes') {
    const fields = new CheckedFields(value, path, ['op', 'at', 'minutes']);
    return { op, at: part(fields, 'at'), minutes: part(fields, 'minutes') };
  }
  if (isIn(BINARY, op)) {
    const fields = new CheckedFields(value, path, ['op', 'left', 'right']);
    return { op, left: part(fields, 'left'), right: part(fields, 'right') };
  }
  const fields = new CheckedFields(value, path, ['op', 'of']);
  if (isIn(UNARY, op)) return { op, of: part(fields, 'of') };
  return {
    op,
    of: fields.list('of', 1).map((entry, index) => checkExpression(entry, `${fields.at('of')}[${index}]`, depth + 1)),
  };
}

function checkLiteral(value: unknown, path: string): Expression {
  const fields = new CheckedFields(value, path, ['op', 'value', 'type']);
  const type = fields.oneOf('type', ['i64', 'f64', 'bool', 'str', 'ts']);
  const constant = fields.raw('value');
  if (constant !== null && !fitsType(constant, type))
    throw specInvalid(fields.at('value'), constant, `it must be null or a value of type ${type}`);
  return { op: 'literal', value: constant as Value, type };
}

/** Whether a constant in JSON is of a type: text stands for whole numbers beyond 2^53, NaN and the infinities. */
export function fitsType(value: unknown, type: ColumnType): boolean {
  return FITS[type](value);
}

const FITS: Record<ColumnType, (value: unknown) => boolean> = {
  i64: (value) => Number.isSafeInteger(value) || isBigWhole(value),
  ts: (value) => Number.isSafeInteger(value) || isBigWhole(value),
  f64: (value) => Number.isFinite(value) || value === 'NaN' || value === 'Infinity' || value === '-Infinity',
  bool: (value) => typeof value === 'boolean',
  // unpaired surrogates have no UTF-8, and a NUL ends a SQL text
  str: (value) => typeof value === 'string' && !/[\p{Surrogate}\0]/u.test(value),
};

/** Decimal text of an int64 that a number does not hold exactly; smaller ones are numbers, so that every value has one form. */
function isBigWhole(value: unknown): boolean {
  if (typeof value !== 'string' || !/^-?[1-9]\d{15,18}$/.test(value)) return false;
  return !Number.isSafeInteger(Number(value)) && BigInt.asIntN(64, BigInt(value)) === BigInt(value);
}

/** @throws SerinError REFERENCE_MISSING for an unknown column, SPEC_INVALID when operands or the result have the wrong type */
export function checkType(
  expression: Expression,
  columns: ReadonlyMap<string, ColumnType>,
  allowed: readonly ColumnType[],
  path: string,
): ColumnType {
  for (const name of columnsOf(expression)) {
    if (!columns.has(name)) throw referenceMissing(name, [...columns.keys()], path, 'column');
  }
  const type = typeAt(expression, columns, path);
  if (allowed.includes(type)) return type;
  throw new SerinError('SPEC_INVALID', `${path} is of type ${type}; it must be ${allowed.join(' or ')}`, {
    fields: { field: path, value: type, rule: `it must be ${allowed.join(' or ')}` },
  });
}

function typeAt(expression: Expression, columns: ReadonlyMap<string, ColumnType>, path: string): ColumnType {
  try {
    return typeOf(expression, columns);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SerinError('SPEC_INVALID', `${path} does not fit: ${error.message}`, {
      fields: { field: path, rule: error.message },
    });
  }
}

function isIn<T extends string>(list: readonly T[], value: string): value is T {
  return (list as readonly string[]).includes(value);
}
