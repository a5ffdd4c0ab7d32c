/**
 * Row expressions: a small typed tree that compiles to a TypeScript closure (online, ingest of single events) and to SQL
 * (offline, over whole files). Both compilers live here, side by side, because they must give the same value.
 *
 * Null rules are SQL's: an operator with a null operand is null; `and`/`or` are three-valued; a division by zero is null.
 * Instants (`ts`) are int64 microseconds on both sides, never a SQL TIMESTAMP.
 */
import { MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE } from '../time.ts';

export type ColumnType = 'i64' | 'f64' | 'bool' | 'str' | 'ts';

export type Value = number | string | boolean | null;

export type BinaryOperator = 'add' | 'sub' | 'mul' | 'div' | 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge';
export type UnaryOperator = 'not' | 'isNull' | 'abs' | 'ln1p' | 'hourOfDay' | 'dayOfWeek';
export type VariadicOperator = 'and' | 'or' | 'greatest' | 'least' | 'coalesce';

export type Expression =
  | { readonly op: 'column'; readonly name: string }
  /** An `i64` or `ts` beyond 2^53 is written as decimal text, an `f64` that JSON has no number for as `NaN`, `Infinity` or `-Infinity`. */
  | { readonly op: 'literal'; readonly value: Value; readonly type: ColumnType }
  | { readonly op: BinaryOperator; readonly left: Expression; readonly right: Expression }
  | { readonly op: UnaryOperator; readonly of: Expression }
  | { readonly op: VariadicOperator; readonly of: readonly Expression[] }
  /** The instant `minutes` (any number) after `at`, rounded half up to a microsecond. */
  | { readonly op: 'plusMinutes'; readonly at: Expression; readonly minutes: Expression };

export type Row = Readonly<Record<string, Value>>;
export type RowFunction = (row: Row) => Value;

/** The expressions that an expression is made of, in order; none for a column or a literal. */
export function operandsOf(expression: Expression): readonly Expression[] {
  switch (expression.op) {
    case 'column':
    case 'literal':
      return [];
    case 'plusMinutes':
      return [expression.at, expression.minutes];
    case 'and':
    case 'or':
    case 'greatest':
    case 'least':
    case 'coalesce':
      return expression.of;
    case 'not':
    case 'isNull':
    case 'abs':
    case 'ln1p':
    case 'hourOfDay':
    case 'dayOfWeek':
      return [expression.of];
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
      return [expression.left, expression.right];
  }
}

/** Columns an expression reads, each once, in order of first use. */
export function columnsOf(expression: Expression, into: Set<string> = new Set()): Set<string> {
  if (expression.op === 'column') into.add(expression.name);
  for (const operand of operandsOf(expression)) columnsOf(operand, into);
  return into;
}

/** The type of an expression over `columns`; throws a plain sentence when an operand does not fit. */
export function typeOf(expression: Expression, columns: ReadonlyMap<string, ColumnType>): ColumnType {
  const need = (part: Expression, allowed: readonly ColumnType[]): ColumnType => {
    const type = typeOf(part, columns);
    if (!allowed.includes(type)) throw new TypeError(`${expression.op} takes ${allowed.join(' or ')}, not ${type}`);
    return type;
  };
  const numeric: readonly ColumnType[] = ['i64', 'f64'];
  switch (expression.op) {
    case 'column': {
      const type = columns.get(expression.name);
      if (type === undefined) {
        throw new ReferenceError(
          `there is no column "${expression.name}"; there are ${[...columns.keys()].join(', ')}`,
        );
      }
      return type;
    }
    case 'literal':
      return expression.type;
    case 'add':
    case 'sub':
    case 'mul': {
      const [left, right] = [need(expression.left, numeric), need(expression.right, numeric)];
      return left === 'i64' && right === 'i64' ? 'i64' : 'f64';
    }
    case 'div':
      need(expression.left, numeric);
      need(expression.right, numeric);
      return 'f64';
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge': {
      const left = typeOf(expression.left, columns);
      need(expression.right, numeric.includes(left) ? numeric : [left]);
      return 'bool';
    }
    case 'and':
    case 'or':
      if (expression.of.length === 0) throw new TypeError(`${expression.op} needs at least one operand`);
      for (const part of expression.of) need(part, ['bool']);
      return 'bool';
    case 'not':
      need(expression.of, ['bool']);
      return 'bool';
    case 'isNull':
      typeOf(expression.of, columns);
      return 'bool';
    case 'greatest':
    case 'least':
    case 'coalesce': {
      const types = expression.of.map((part) => typeOf(part, columns));
      const first = types[0];
      if (first === undefined) throw new TypeError(`${expression.op} needs at least one operand`);
      if (types.every((type) => type === first)) return first;
      if (types.every((type) => numeric.includes(type))) return 'f64';
      throw new TypeError(`${expression.op} mixes ${[...new Set(types)].join(' and ')}`);
    }
    case 'abs':
      return need(expression.of, numeric);
    case 'ln1p':
      need(expression.of, numeric);
      return 'f64';
    case 'hourOfDay':
    case 'dayOfWeek':
      need(expression.of, ['ts']);
      return 'i64';
    case 'plusMinutes':
      need(expression.at, ['ts']);
      need(expression.minutes, numeric);
      return 'ts';
  }
}

/**
 * The closure of an expression; the tree is walked once, here.
 * @param columns  types of the row's columns; with them, arithmetic of whole numbers is exact beyond 2^53 too (and null
 *                 beyond 64 bits), without them it is that of doubles
 */
export function compileExpression(expression: Expression, columns?: ReadonlyMap<string, ColumnType>): RowFunction {
  const compile = (part: Expression): RowFunction => compileExpression(part, columns);
  const mapped = (of: Expression, map: (value: Exclude<Value, null>) => Value): RowFunction => nullOr(compile(of), map);
  switch (expression.op) {
    case 'column': {
      const { name } = expression;
      return (row) => row[name] ?? null;
    }
    case 'literal': {
      const value = literalValue(expression.value, expression.type);
      return () => value;
    }
    case 'add':
    case 'sub':
    case 'mul':
    case 'div':
      return columns !== undefined && typeOf(expression, columns) === 'i64' && expression.op !== 'div'
        ? wholeArithmetic(expression.op, compile(expression.left), compile(expression.right))
        : arithmetic(expression.op, compile(expression.left), compile(expression.right));
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
      return comparison(expression.op, compile(expression.left), compile(expression.right));
    case 'and':
    case 'or': {
      const decisive = expression.op === 'or';
      const parts = expression.of.map(compile);
      return (row) => {
        let result: Value = !decisive;
        for (const part of parts) {
          const value = part(row);
          if (value === decisive) return decisive;
          if (value === null) result = null;
        }
        return result;
      };
    }
    case 'greatest':
    case 'least': {
      const parts = expression.of.map(compile);
      const wanted = expression.op === 'greatest' ? 1 : -1;
      return (row) => {
        let best: Value = null;
        for (const part of parts) {
          const value = part(row);
          if (value === null) return null;
          if (best === null || compareValues(value, best) === wanted) best = value;
        }
        return best;
      };
    }
    case 'coalesce': {
      const parts = expression.of.map(compile);
      return (row) => {
        for (const part of parts) {
          const value = part(row);
          if (value !== null) return value;
        }
        return null;
      };
    }
    case 'not':
      return mapped(expression.of, (value) => value !== true);
    case 'isNull': {
      const of = compile(expression.of);
      return (row) => of(row) === null;
    }
    case 'abs':
      return mapped(expression.of, (value) =>
        isBigInt(value) ? cast(value < 0n ? -value : value) : Math.abs(value as number),
      );
    case 'ln1p':
      return mapped(expression.of, (value) => (Number(value) <= -1 ? null : Math.log1p(Number(value))));
    case 'hourOfDay':
      return mapped(expression.of, (value) => Math.floor(micros(value, MICROS_PER_DAY) / MICROS_PER_HOUR));
    case 'dayOfWeek':
      return mapped(expression.of, (value) => modulo(daysSinceEpoch(value) + 3, 7) + 1);
    case 'plusMinutes': {
      const at = compile(expression.at);
      const minutes = compile(expression.minutes);
      return (row) => {
        const [start, length] = [at(row), minutes(row)];
        if (start === null || length === null) return null;
        const micros = Math.floor(Number(length) * MICROS_PER_MINUTE + 0.5);
        const end = Number(start) + micros;
        if ((!isBigInt(start) && Number.isSafeInteger(end)) || !Number.isFinite(end)) return end;
        return whole(BigInt(start as number) + BigInt(micros));
      };
    }
  }
}

function nullOr(inner: RowFunction, map: (value: Exclude<Value, null>) => Value): RowFunction {
  return (row) => {
    const value = inner(row);
    return value === null ? null : map(value);
  };
}

function arithmetic(op: 'add' | 'sub' | 'mul' | 'div', left: RowFunction, right: RowFunction): RowFunction {
  const apply: (a: number, b: number) => Value = {
    add: (a: number, b: number) => a + b,
    sub: (a: number, b: number) => a - b,
    mul: (a: number, b: number) => a * b,
    div: (a: number, b: number) => (b === 0 ? null : a / b),
  }[op];
  return (row) => {
    const [a, b] = [left(row), right(row)];
    if (a === null || b === null) return null;
    return apply(Number(a), Number(b));
  };
}

/** Of 64 bits, as BIGINT is; numbers where those are exact. */
function wholeArithmetic(op: 'add' | 'sub' | 'mul', left: RowFunction, right: RowFunction): RowFunction {
  const apply = {
    add: (a: number, b: number) => a + b,
    sub: (a: number, b: number) => a - b,
    mul: (a: number, b: number) => a * b,
  }[op];
  return (row) => {
    const [a, b] = [left(row), right(row)];
    if (a === null || b === null) return null;
    if (!isBigInt(a) && !isBigInt(b)) {
      const small = apply(a as number, b as number);
      // a sum, so that −0 is 0
      if (Number.isSafeInteger(small)) return small + 0;
    }
    const [x, y] = [BigInt(a as number), BigInt(b as number)];
    const exact = op === 'add' ? x + y : op === 'sub' ? x - y : x * y;
    return BigInt.asIntN(64, exact) === exact ? whole(exact) : null;
  };
}

function comparison(op: string, left: RowFunction, right: RowFunction): RowFunction {
  const holds: (order: number) => boolean = (
    {
      eq: (order) => order === 0,
      ne: (order) => order !== 0,
      lt: (order) => order < 0,
      le: (order) => order <= 0,
      gt: (order) => order > 0,
      ge: (order) => order >= 0,
    } as Record<string, (order: number) => boolean>
  )[op]!;
  return (row) => {
    const [a, b] = [left(row), right(row)];
    return a === null || b === null ? null : holds(compareValues(a, b));
  };
}

/**
 * −1, 0 or 1; NaN is equal to itself and above every number, −0 equals 0, text is by code point: as in the conformance rules
 * and in DuckDB. A bigint beside a number is compared as the double nearest to it, which is exact for whole numbers that
 * each have one form (see `whole`) and what DuckDB does with a BIGINT beside a DOUBLE.
 */
export function compareValues(a: NonNullable<Value> | bigint, b: NonNullable<Value> | bigint): number {
  if (a === b) return 0;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  const [left, right] = typeof a === typeof b ? [a, b] : [Number(a), Number(b)];
  if (left < right) return -1;
  if (left > right) return 1;
  // equal, or one is NaN
  return Number(Number.isNaN(left)) - Number(Number.isNaN(right));
}

/** A whole number in the one form that data has: a number where that is exact, a bigint beyond. */
function whole(value: bigint): Value {
  return cast(value >= -MAX_SAFE && value <= MAX_SAFE ? Number(value) : value);
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** `Value` is what JSON and vectors have; columns of events may also hold bigints (see `features/history/fact.ts`), which pass through. */
function cast(value: number | bigint): Value {
  return value as number;
}

function isBigInt(value: unknown): value is bigint {
  return typeof value === 'bigint';
}

/** What a literal stands for: text for numbers that JSON does not have is turned into them. */
function literalValue(value: Value, type: ColumnType): Value {
  if (typeof value !== 'string' || type === 'str') return value;
  return type === 'f64' ? Number(value) : whole(BigInt(value));
}

/** By code point, as UTF-8 bytes are; JavaScript's own order puts U+FFFD after U+10000. */
function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left !== right)
      return isSurrogate(left) === isSurrogate(right) ? Math.sign(left - right) : isSurrogate(left) ? 1 : -1;
  }
  return Math.sign(a.length - b.length);
}

function isSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xd800 && codeUnit <= 0xdfff;
}

function micros(at: Exclude<Value, null>, within: number): number {
  return isBigInt(at)
    ? Number(((at % BigInt(within)) + BigInt(within)) % BigInt(within))
    : modulo(at as number, within);
}

function daysSinceEpoch(at: Exclude<Value, null>): number {
  if (!isBigInt(at)) return Math.floor((at as number) / MICROS_PER_DAY);
  return Number((at - BigInt(micros(cast(at) as number, MICROS_PER_DAY))) / BigInt(MICROS_PER_DAY));
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

/** The SQL of an expression (DuckDB); every identifier is quoted, every literal is written out, nothing is interpolated raw. */
export function toSql(expression: Expression): string {
  switch (expression.op) {
    case 'column':
      return quoteIdentifier(expression.name);
    case 'literal':
      return literalSql(expression.value, expression.type);
    case 'div':
      return `(CAST(${toSql(expression.left)} AS DOUBLE) / NULLIF(CAST(${toSql(expression.right)} AS DOUBLE), 0))`;
    case 'add':
    case 'sub':
    case 'mul':
    case 'eq':
    case 'ne':
    case 'lt':
    case 'le':
    case 'gt':
    case 'ge':
      return `(${toSql(expression.left)} ${SQL_OPERATORS[expression.op]} ${toSql(expression.right)})`;
    case 'and':
    case 'or':
      return `(${expression.of.map(toSql).join(` ${expression.op.toUpperCase()} `)})`;
    case 'greatest':
    case 'least': {
      // DuckDB's GREATEST skips nulls, so the null rule is spelled out
      const parts = expression.of.map(toSql);
      const anyNull = parts.map((part) => `${part} IS NULL`).join(' OR ');
      return `(CASE WHEN ${anyNull} THEN NULL ELSE ${expression.op.toUpperCase()}(${parts.join(', ')}) END)`;
    }
    case 'coalesce':
      return `COALESCE(${expression.of.map(toSql).join(', ')})`;
    case 'not':
      return `(NOT ${toSql(expression.of)})`;
    case 'isNull':
      return `(${toSql(expression.of)} IS NULL)`;
    case 'abs':
      return `ABS(${toSql(expression.of)})`;
    case 'ln1p': {
      const of = `CAST(${toSql(expression.of)} AS DOUBLE)`;
      // Near 0, 1 + x drops digits of x; ln(1 + x) · x / ((1 + x) − 1) makes up for them (Kahan). The closure's value to 4 ulp.
      const precise = `CASE WHEN 1 + ${of} = 1 THEN ${of} ELSE LN(1 + ${of}) * ${of} / ((1 + ${of}) - 1) END`;
      return `(CASE WHEN ${of} > 1 THEN LN(1 + ${of}) WHEN ${of} > -1 THEN ${precise} END)`;
    }
    case 'hourOfDay':
      return `(${moduloSql(toSql(expression.of), MICROS_PER_DAY)} // ${MICROS_PER_HOUR})`;
    case 'dayOfWeek': {
      const at = toSql(expression.of);
      const day = `((${at} - ${moduloSql(at, MICROS_PER_DAY)}) // ${MICROS_PER_DAY})`;
      return `(${moduloSql(`(${day} + 3)`, 7)} + 1)`;
    }
    case 'plusMinutes':
      return `(${toSql(expression.at)} + CAST(FLOOR(${toSql(expression.minutes)} * CAST(${MICROS_PER_MINUTE} AS DOUBLE) + 0.5) AS BIGINT))`;
  }
}

const SQL_OPERATORS = {
  add: '+',
  sub: '-',
  mul: '*',
  eq: '=',
  ne: '<>',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
} as const;

function moduloSql(value: string, by: number): string {
  return `(((${value} % ${by}) + ${by}) % ${by})`;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function literalSql(value: Value, type: ColumnType): string {
  if (value === null) return `CAST(NULL AS ${SQL_TYPES[type]})`;
  if (typeof value === 'boolean') return value ? 'TRUE' : 'FALSE';
  if (typeof value === 'string' && type === 'str') return textSql(value);
  // a double as text: a bare 0.1 is a DECIMAL to DuckDB, and its way to DOUBLE may round twice
  return type === 'f64' ? `CAST('${Number(value)}' AS DOUBLE)` : `CAST(${BigInt(value)} AS BIGINT)`;
}

/** A statement ends at a NUL, so that it is written as a call. */
function textSql(value: string): string {
  const parts = value.split('\0').map((part) => `'${part.replaceAll("'", "''")}'`);
  return parts.length === 1 ? parts[0]! : `(${parts.join(' || CHR(0) || ')})`;
}

const SQL_TYPES: Record<ColumnType, string> = {
  i64: 'BIGINT',
  f64: 'DOUBLE',
  bool: 'BOOLEAN',
  str: 'VARCHAR',
  ts: 'BIGINT',
};
