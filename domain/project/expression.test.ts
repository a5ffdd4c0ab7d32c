import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { columnsOf, compileExpression, toSql, typeOf } from './expression.ts';
import type { ColumnType, Expression, Row, Value } from './expression.ts';

const COLUMNS: ReadonlyMap<string, ColumnType> = new Map([
  ['whole', 'i64'],
  ['other_whole', 'i64'],
  ['real', 'f64'],
  ['other "real"', 'f64'],
  ['flag', 'bool'],
  ['word', 'str'],
  ['at', 'ts'],
]);

const SQL_TYPES: Record<ColumnType, string> = {
  i64: 'BIGINT',
  f64: 'DOUBLE',
  bool: 'BOOLEAN',
  str: 'VARCHAR',
  ts: 'BIGINT',
};

let connection: DuckDBConnection;

beforeAll(async () => {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  connection = await instance.connect();
});

afterAll(() => connection.closeSync());

/** One row of values per row given, in one query. */
async function inDuckDb(expressions: readonly Expression[], rows: readonly Row[]): Promise<Value[][]> {
  const names = [...COLUMNS.keys()].map((name) => `"${name.replaceAll('"', '""')}"`);
  const values = rows.map((row) => {
    const cells = [...COLUMNS].map(
      ([name, type]) => `${toSql({ op: 'literal', value: row[name] ?? null, type })}::${SQL_TYPES[type]}`,
    );
    return `(${cells.join(', ')})`;
  });
  const result = await connection.run(
    `SELECT ${expressions.map((each) => toSql(each)).join(', ')} FROM (VALUES ${values.join(', ')}) AS t(${names.join(', ')})`,
  );
  const found = await result.getRows();
  return found.map((cells) => cells.map((value) => (typeof value === 'bigint' ? Number(value) : (value as Value))));
}

const smallNumber = fc.oneof(
  fc.integer({ min: -1_000, max: 1_000 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(0, -0, 0.1, 0.3, 1e-12, 1 / 3),
);
const text = fc.oneof(
  fc.constantFrom('', 'a', "it's", 'a\0b', '\0', 'Ä', '\u{1F6EB}', '\uFFFD', 'SFO'),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
);
const instant = fc.integer({ min: -2_000_000_000_000_000, max: 4_000_000_000_000_000 });

const VALUES: Record<ColumnType, fc.Arbitrary<Value>> = {
  i64: fc.integer({ min: -1_000, max: 1_000 }),
  f64: smallNumber,
  bool: fc.boolean(),
  str: text,
  ts: instant,
};

const rows: fc.Arbitrary<Row> = fc.record(
  Object.fromEntries([...COLUMNS].map(([name, type]) => [name, fc.option(VALUES[type], { nil: null, freq: 4 })])),
);

/** Trees that are well typed by construction. */
function tree(type: ColumnType, depth: number): fc.Arbitrary<Expression> {
  const names = [...COLUMNS].filter(([, each]) => each === type).map(([name]) => name);
  const leaves: fc.Arbitrary<Expression>[] = [
    fc.constantFrom(...names).map((name) => ({ op: 'column' as const, name })),
    fc.option(VALUES[type], { nil: null, freq: 9 }).map((value) => ({ op: 'literal' as const, value, type })),
  ];
  if (depth === 0) return fc.oneof(...leaves);
  const of = (each: ColumnType): fc.Arbitrary<Expression> => tree(each, depth - 1);
  const number = fc.oneof(of('i64'), of('f64'));
  const parts = (each: ColumnType): fc.Arbitrary<Expression[]> => fc.array(of(each), { minLength: 1, maxLength: 3 });
  const variadic = (each: ColumnType): fc.Arbitrary<Expression> =>
    fc
      .tuple(fc.constantFrom('greatest' as const, 'least' as const, 'coalesce' as const), parts(each))
      .map(([op, list]) => ({ op, of: list }));
  const arithmetic = (
    ops: readonly ('add' | 'sub' | 'mul' | 'div')[],
    operand: fc.Arbitrary<Expression>,
  ): fc.Arbitrary<Expression> =>
    fc.tuple(fc.constantFrom(...ops), operand, operand).map(([op, left, right]) => ({ op, left, right }));
  const comparison = (operand: fc.Arbitrary<Expression>): fc.Arbitrary<Expression> =>
    fc
      .tuple(
        fc.constantFrom('eq' as const, 'ne' as const, 'lt' as const, 'le' as const, 'gt' as const, 'ge' as const),
        operand,
        operand,
      )
      .map(([op, left, right]) => ({ op, left, right }));
  const unary = (
    op: 'abs' | 'not' | 'isNull' | 'hourOfDay' | 'dayOfWeek',
    operand: fc.Arbitrary<Expression>,
  ): fc.Arbitrary<Expression> => operand.map((each) => ({ op, of: each }));

  const deeper: Record<ColumnType, fc.Arbitrary<Expression>[]> = {
    i64: [
      arithmetic(['add', 'sub', 'mul'], of('i64')),
      variadic('i64'),
      unary('abs', of('i64')),
      unary('hourOfDay', of('ts')),
      unary('dayOfWeek', of('ts')),
    ],
    f64: [
      arithmetic(['add', 'sub', 'mul', 'div'], fc.oneof(of('f64'), fc.oneof(of('i64'), of('f64')))).filter(
        (each) => typeOf(each, COLUMNS) === 'f64',
      ),
      variadic('f64'),
      unary('abs', of('f64')),
    ],
    bool: [
      fc.tuple(fc.constantFrom('and' as const, 'or' as const), parts('bool')).map(([op, list]) => ({ op, of: list })),
      comparison(number),
      comparison(of('str')),
      comparison(of('ts')),
      comparison(of('bool')),
      unary('not', of('bool')),
      unary('isNull', fc.oneof(of('f64'), of('str'), of('ts'))),
    ],
    str: [variadic('str')],
    ts: [
      variadic('ts'),
      fc
        .tuple(
          of('ts'),
          fc.oneof(
            fc.constantFrom<Expression>({ op: 'column', name: 'whole' }, { op: 'column', name: 'real' }),
            leaves[1]!.map(() => ({ op: 'literal' as const, value: 37.5, type: 'f64' as const })),
          ),
        )
        .map(([at, minutes]) => ({ op: 'plusMinutes' as const, at, minutes })),
    ],
  };
  return fc.oneof(...leaves, ...deeper[type]);
}

const anyTree = fc.oneof(...(['i64', 'f64', 'bool', 'str', 'ts'] as const).map((type) => tree(type, 2)));

test('the closure of an expression and its SQL give the same value', async () => {
  const many = { minLength: 20, maxLength: 20 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyTree, many), fc.array(rows, many), async (expressions, table) => {
      const fromSql = await inDuckDb(expressions, table);
      for (const [e, expression] of expressions.entries()) {
        const value = compileExpression(expression);
        const label = JSON.stringify(expression);
        expect(
          table.map((row) => withoutSign(value(row))),
          label,
        ).toStrictEqual(fromSql.map((cells) => withoutSign(cells[e]!)));
      }
    }),
    { numRuns: 60 },
  );
});

test('whole numbers are added, multiplied and compared exactly beyond 2^53, as in SQL', async () => {
  const whole: Expression = { op: 'column', name: 'whole' };
  const other: Expression = { op: 'column', name: 'other_whole' };
  const big: Expression = { op: 'literal', value: '9007199254740993', type: 'i64' };
  const expressions: Expression[] = [
    ...(['add', 'sub', 'mul'] as const).map((op): Expression => ({ op, left: whole, right: other })),
    { op: 'sub', left: { op: 'add', left: whole, right: big }, right: whole },
    { op: 'abs', of: { op: 'mul', left: whole, right: other } },
    ...(['lt', 'eq', 'ge'] as const).map((op): Expression => ({
      op,
      left: { op: 'add', left: whole, right: other },
      right: big,
    })),
    { op: 'greatest', of: [{ op: 'mul', left: whole, right: other }, big] },
    { op: 'eq', left: { op: 'add', left: whole, right: other }, right: { op: 'literal', value: 2 ** 53, type: 'f64' } },
  ];
  const table = [
    { whole: 9007199254740991, other_whole: 2 },
    { whole: 9007199254740991, other_whole: 1 },
    { whole: 9007199254740991, other_whole: -1000 },
    { whole: -3037000499, other_whole: 3037000499 },
    { whole: 0, other_whole: -7 },
    { whole: null, other_whole: 1 },
  ];
  const names = expressions.map((each, i) => `CAST(${toSql(each)} AS VARCHAR) AS e${i}`);
  const rows = table.map(({ whole: a, other_whole: b }) => `(CAST(${a ?? 'NULL'} AS BIGINT), CAST(${b} AS BIGINT))`);
  const result = await connection.run(
    `SELECT ${names.join(', ')} FROM (VALUES ${rows.join(', ')}) AS t("whole", "other_whole")`,
  );
  const fromSql = await result.getRows();
  const closures = expressions.map((each) => compileExpression(each, COLUMNS));
  expect(
    table.map((row) =>
      closures.map((closure) => {
        const value = closure(row);
        return value === null ? null : String(value);
      }),
    ),
  ).toEqual(fromSql);
});

test('a value that JSON has no number for is a literal as text', () => {
  const literal = (value: Value, type: ColumnType): unknown => compileExpression({ op: 'literal', value, type })({});
  expect(literal('NaN', 'f64')).toBeNaN();
  expect(literal('-Infinity', 'f64')).toBe(-Infinity);
  expect(literal('-9223372036854775808', 'i64')).toBe(-(2n ** 63n));
  expect(literal('12', 'str')).toBe('12');
});

/** −0 and 0 are equal on both sides, and greatest and least may give either. */
function withoutSign(value: Value): Value {
  return value === 0 ? 0 : value;
}

test('the logarithm of the closure and of the SQL agree to 4 units in the last place', async () => {
  const ln1p: Expression = { op: 'ln1p', of: { op: 'column', name: 'real' } };
  const real = fc.oneof(
    smallNumber,
    fc.double({ min: -1, max: 1, noNaN: true }),
    fc.constantFrom(-1, -2, 1e-300, 1e-17, -1e-17),
  );
  const table = fc.sample(fc.record({ real }), { numRuns: 500, seed: 1 });
  const fromSql = (await inDuckDb([ln1p], table)).map(([value]) => value ?? null);
  const fromClosure = table.map((row) => compileExpression(ln1p)(row));
  const far = table.filter((_, i) => unitsApart(fromSql[i]!, fromClosure[i]!) > 4);
  expect(far).toEqual([]);
});

function unitsApart(a: Value, b: Value): number {
  if (a === null || b === null) return a === b ? 0 : Infinity;
  const unit = Math.max(Number.EPSILON * Math.abs(b as number), Number.MIN_VALUE);
  return Math.abs((a as number) - (b as number)) / unit;
}

test('hour and weekday of an instant are those of UTC, before 1970 too', () => {
  const at = (iso: string): Row => ({ at: Date.parse(iso) * 1_000 });
  const of: Expression = { op: 'column', name: 'at' };
  const [hour, weekday] = [compileExpression({ op: 'hourOfDay', of }), compileExpression({ op: 'dayOfWeek', of })];
  expect([hour(at('2001-06-03T23:59:59Z')), weekday(at('2001-06-03T23:59:59Z'))]).toEqual([23, 7]);
  expect([hour(at('1969-12-31T23:00:00Z')), weekday(at('1969-12-31T23:00:00Z'))]).toEqual([23, 3]);
});

test('an expression reads each column once', () => {
  const real: Expression = { op: 'column', name: 'real' };
  expect([
    ...columnsOf({
      op: 'and',
      of: [
        { op: 'gt', left: real, right: { op: 'column', name: 'whole' } },
        { op: 'isNull', of: real },
      ],
    }),
  ]).toEqual(['real', 'whole']);
});

test.each<[string, Expression, RegExp]>([
  [
    'a text in arithmetic',
    { op: 'add', left: { op: 'column', name: 'word' }, right: { op: 'column', name: 'whole' } },
    /add takes i64 or f64, not str/,
  ],
  [
    'a number compared with a text',
    { op: 'eq', left: { op: 'column', name: 'whole' }, right: { op: 'column', name: 'word' } },
    /eq takes i64 or f64, not str/,
  ],
  [
    'mixed alternatives',
    {
      op: 'coalesce',
      of: [
        { op: 'column', name: 'word' },
        { op: 'column', name: 'at' },
      ],
    },
    /coalesce mixes str and ts/,
  ],
  ['the hour of a number', { op: 'hourOfDay', of: { op: 'column', name: 'whole' } }, /hourOfDay takes ts, not i64/],
  ['an empty conjunction', { op: 'and', of: [] }, /and needs at least one operand/],
  ['an unknown column', { op: 'column', name: 'reel' }, /there is no column "reel"/],
])('%s has no type', (_, expression, message) => {
  expect(() => typeOf(expression, COLUMNS)).toThrow(message);
});
