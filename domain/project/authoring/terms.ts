/**
 * Fluent, typed row expressions: what a project's author writes instead of the tree of `expression.ts`.
 *
 *   row.date.plusMinutes(row.distance.div(7.5).plus(45))      row.delay.ge(15).or(row.cancelled)
 *
 * The type parameter is the type of the value, so that a string used as a number or a misspelt column does not compile.
 * Nothing is computed here: `expression` is the tree.
 */
import type { BinaryOperator, ColumnType, Expression, UnaryOperator, Value, VariadicOperator } from '../expression.ts';

/** A piece of a row expression; `type` is the type of its value. Null rules are those of SQL. */
export abstract class Term<T extends ColumnType = ColumnType> {
  readonly expression: Expression;
  readonly type: T;

  constructor(expression: Expression, type: T) {
    this.expression = expression;
    this.type = type;
  }

  isNull(): Condition {
    return new Condition(unary('isNull', this));
  }

  isNotNull(): Condition {
    return this.isNull().not();
  }
}

export type NumberType = 'i64' | 'f64';

/** A `bigint` is for whole numbers beyond 2^53, which a literal of JavaScript cannot hold. */
export type NumberOperand = Numeric | number | bigint;

/** A whole number (`i64`) or a double (`f64`). */
export class Numeric<T extends NumberType = NumberType> extends Term<T> {
  plus(other: NumberOperand): Numeric {
    return whole('add', this, other);
  }

  minus(other: NumberOperand): Numeric {
    return whole('sub', this, other);
  }

  times(other: NumberOperand): Numeric {
    return whole('mul', this, other);
  }

  /** A double, also for whole numbers; null when `other` is 0. */
  div(other: NumberOperand): Numeric<'f64'> {
    return new Numeric(binary('div', this, numeric(other)), 'f64');
  }

  /** The larger of the two; null when one of them is. */
  max(other: NumberOperand): Numeric {
    return mixed('greatest', this, numeric(other));
  }

  /** The smaller of the two; null when one of them is. */
  min(other: NumberOperand): Numeric {
    return mixed('least', this, numeric(other));
  }

  /** The first that is not null. */
  coalesce(...others: NumberOperand[]): Numeric {
    return mixed('coalesce', this, ...others.map(numeric));
  }

  abs(): Numeric<T> {
    return new Numeric(unary('abs', this), this.type);
  }

  /** ln(1 + x); null for x ≤ −1. */
  ln1p(): Numeric<'f64'> {
    return new Numeric(unary('ln1p', this), 'f64');
  }

  eq(other: NumberOperand): Condition {
    return new Condition(binary('eq', this, numeric(other)));
  }

  ne(other: NumberOperand): Condition {
    return new Condition(binary('ne', this, numeric(other)));
  }

  lt(other: NumberOperand): Condition {
    return new Condition(binary('lt', this, numeric(other)));
  }

  le(other: NumberOperand): Condition {
    return new Condition(binary('le', this, numeric(other)));
  }

  gt(other: NumberOperand): Condition {
    return new Condition(binary('gt', this, numeric(other)));
  }

  ge(other: NumberOperand): Condition {
    return new Condition(binary('ge', this, numeric(other)));
  }
}

function whole(op: 'add' | 'sub' | 'mul', left: Numeric, other: NumberOperand): Numeric {
  const right = numeric(other);
  return new Numeric(binary(op, left, right), bothWhole([left, right]));
}

function mixed(op: VariadicOperator, ...parts: Numeric[]): Numeric {
  return new Numeric(variadic(op, parts), bothWhole(parts));
}

/** True, false or null. */
export class Condition extends Term<'bool'> {
  constructor(expression: Expression) {
    super(expression, 'bool');
  }

  and(...others: Condition[]): Condition {
    return new Condition(variadic('and', [this, ...others]));
  }

  or(...others: Condition[]): Condition {
    return new Condition(variadic('or', [this, ...others]));
  }

  not(): Condition {
    return new Condition(unary('not', this));
  }

  eq(other: Condition | boolean): Condition {
    return new Condition(binary('eq', this, condition(other)));
  }

  coalesce(...others: (Condition | boolean)[]): Condition {
    return new Condition(variadic('coalesce', [this, ...others.map(condition)]));
  }
}

export class Text extends Term<'str'> {
  constructor(expression: Expression) {
    super(expression, 'str');
  }

  eq(other: Text | string): Condition {
    return new Condition(binary('eq', this, text(other)));
  }

  ne(other: Text | string): Condition {
    return new Condition(binary('ne', this, text(other)));
  }

  coalesce(...others: (Text | string)[]): Text {
    return new Text(variadic('coalesce', [this, ...others.map(text)]));
  }
}

/** A point in time, UTC, to the microsecond. */
export class Instant extends Term<'ts'> {
  constructor(expression: Expression) {
    super(expression, 'ts');
  }

  plusMinutes(minutes: NumberOperand): Instant {
    return new Instant({ op: 'plusMinutes', at: this.expression, minutes: numeric(minutes).expression });
  }

  /** 0 … 23, UTC */
  hourOfDay(): Numeric {
    return new Numeric(unary('hourOfDay', this), 'i64');
  }

  /** 1 (Monday) … 7 (Sunday), UTC */
  dayOfWeek(): Numeric {
    return new Numeric(unary('dayOfWeek', this), 'i64');
  }

  lt(other: Instant): Condition {
    return new Condition(binary('lt', this, other));
  }

  le(other: Instant): Condition {
    return new Condition(binary('le', this, other));
  }

  gt(other: Instant): Condition {
    return new Condition(binary('gt', this, other));
  }

  ge(other: Instant): Condition {
    return new Condition(binary('ge', this, other));
  }

  /** The later of the two; null when one of them is. */
  max(other: Instant): Instant {
    return new Instant(variadic('greatest', [this, other]));
  }

  coalesce(...others: Instant[]): Instant {
    return new Instant(variadic('coalesce', [this, ...others]));
  }
}

/** The term an author gets for a column of type `T`. */
export type TermOf<T extends ColumnType> = [T] extends [NumberType]
  ? Numeric<T>
  : T extends 'bool'
    ? Condition
    : T extends 'str'
      ? Text
      : T extends 'ts'
        ? Instant
        : Numeric;

/**
 * A value as a program holds it. Whole numbers and instants (microseconds) beyond ±2^53 are bigints, all others numbers, so
 * that each value has one form.
 */
export type ValueOf<T extends ColumnType> = T extends 'i64' | 'ts'
  ? number | bigint
  : T extends 'f64'
    ? number
    : T extends 'bool'
      ? boolean
      : string;

export function columnTerm<T extends ColumnType>(name: string, type: T): TermOf<T> {
  const expression: Expression = { op: 'column', name };
  const term: Term =
    type === 'bool'
      ? new Condition(expression)
      : type === 'str'
        ? new Text(expression)
        : type === 'ts'
          ? new Instant(expression)
          : new Numeric(expression, type as NumberType);
  return term as TermOf<T>;
}

/** A constant as a term: for a condition, a text or a number that starts an expression. */
export function literal(value: number | bigint): Numeric;
export function literal(value: boolean): Condition;
export function literal(value: string): Text;
export function literal(value: number | bigint | boolean | string): Numeric | Condition | Text {
  if (typeof value === 'number' || typeof value === 'bigint') return numeric(value);
  return typeof value === 'boolean' ? condition(value) : text(value);
}

function numeric(operand: NumberOperand): Numeric {
  if (typeof operand === 'bigint') return wholeLiteral(operand);
  if (typeof operand !== 'number') return operand;
  const type = Number.isSafeInteger(operand) ? 'i64' : 'f64';
  return new Numeric(constant(operand, type), type);
}

function wholeLiteral(value: bigint): Numeric<'i64'> {
  return new Numeric(constant(wholeValue(value), 'i64'), 'i64');
}

/** JSON has no whole numbers beyond 2^53: there one is its decimal text. */
export function wholeValue(value: bigint): number | string {
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value.toString();
}

function condition(operand: Condition | boolean): Condition {
  return typeof operand === 'boolean' ? new Condition(constant(operand, 'bool')) : operand;
}

function text(operand: Text | string): Text {
  return typeof operand === 'string' ? new Text(constant(operand, 'str')) : operand;
}

function bothWhole(terms: readonly Numeric[]): NumberType {
  return terms.every(({ type }) => type === 'i64') ? 'i64' : 'f64';
}

function constant(value: Value, type: ColumnType): Expression {
  return { op: 'literal', value, type };
}

function unary(op: UnaryOperator, of: Term): Expression {
  return { op, of: of.expression };
}

function binary(op: BinaryOperator, left: Term, right: Term): Expression {
  return { op, left: left.expression, right: right.expression };
}

function variadic(op: VariadicOperator, parts: readonly Term[]): Expression {
  return { op, of: parts.map((part) => part.expression) };
}
