import fc from 'fast-check';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Expression, Row, Value } from '../../domain/project/expression.ts';
import type { AggregateSpec, SourceSpec } from '../../domain/project/spec.ts';
import { compileView } from '../kernel/view-plan.ts';
import { doubleSql, DuckDb } from './duckdb.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const literal = (value: number): Expression => ({ op: 'literal', value, type: 'i64' });

const SOURCE: SourceSpec = {
  name: 'rides',
  description: '',
  owner: '',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'whole', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'real', type: 'f64', nullable: true, pii: false, description: '' },
    { name: 'flag', type: 'bool', nullable: true, pii: false, description: '' },
    { name: 'place', type: 'str', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('at'),
  eventId: ['at'],
  freshnessSlaSeconds: 1,
};
const AGGREGATES: readonly Pick<AggregateSpec, 'fn' | 'of' | 'where'>[] = [
  { fn: 'count', of: null, where: null },
  {
    fn: 'count',
    of: null,
    where: {
      op: 'or',
      of: [column('flag'), { op: 'eq', left: column('place'), right: { op: 'literal', value: "o'b", type: 'str' } }],
    },
  },
  { fn: 'sum', of: column('whole'), where: column('flag') },
  { fn: 'sum', of: column('real'), where: null },
  { fn: 'mean', of: { op: 'div', left: column('whole'), right: column('real') }, where: null },
  { fn: 'share', of: { op: 'gt', left: column('real'), right: column('whole') }, where: null },
  {
    fn: 'max',
    of: { op: 'hourOfDay', of: column('at') },
    where: { op: 'not', of: { op: 'isNull', of: column('whole') } },
  },
  { fn: 'min', of: { op: 'abs', of: { op: 'sub', left: column('whole'), right: literal(3) } }, where: null },
];

const row = fc.record({
  at: fc.integer({ min: -1e15, max: 4e15 }),
  whole: fc.option(fc.integer({ min: -20, max: 20 })),
  real: fc.option(fc.oneof(fc.double(), fc.constantFrom(0, -0, 1, NaN, Infinity))),
  flag: fc.option(fc.boolean()),
  place: fc.option(fc.constantFrom('a', "o'b", '')),
});

const sqlValue = (value: Value): string => {
  if (typeof value === 'number')
    return Number.isInteger(value) && !Object.is(value, -0)
      ? `${value}`
      : `CAST('${Object.is(value, -0) ? '-0.0' : value}' AS DOUBLE)`;
  return value === null ? 'NULL' : typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : `${value}`;
};

test('an event contributes the same numbers in SQL and in TypeScript', async () => {
  const duckdb = await DuckDb.open({
    memory: '200MB',
    threads: 1,
    tempDir: await mkdtemp(join(tmpdir(), 'serin-replay-')),
  });
  onTestFinished(() => duckdb.close());
  const windows = [{ name: 'w', lengthMicros: 10, hopMicros: null }];
  const plan = compileView(
    {
      name: 'v',
      version: 1,
      entity: 'place',
      source: 'rides',
      key: ['place'],
      features: AGGREGATES.map((aggregate, i) => ({
        ...aggregate,
        name: `f${i}`,
        windows,
        default: null,
        description: '',
      })),
      owner: '',
      description: '',
    },
    SOURCE,
    { name: 'place', keys: [{ name: 'place', type: 'str' }], description: '' },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), async (rows) => {
      const values = rows.map(
        (each, i) => `(${i}, ${[each.at, each.whole, each.real, each.flag, each.place].map(sqlValue).join(', ')})`,
      );
      const measured: number[][] = [];
      for await (const { rows: count, columns } of duckdb.doubles(
        `SELECT ${plan.measureSql.map(doubleSql).join(', ')} FROM (SELECT n, CAST("at" AS BIGINT) AS "at", CAST(whole AS BIGINT) AS whole,
           CAST("real" AS DOUBLE) AS "real", CAST(flag AS BOOLEAN) AS flag, CAST(place AS VARCHAR) AS place
           FROM (VALUES ${values.join(', ')}) v(n, "at", whole, "real", flag, place)) ORDER BY n`,
      )) {
        for (let i = 0; i < count; i++) measured.push(columns.map((each) => each[i]! + 0));
      }
      const expected = rows.map((each) => {
        const into = new Float64Array(plan.measureCount);
        plan.measureRow(each satisfies Row, into, 0);
        return [...into].map((value) => value + 0);
      });
      expect(measured).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});
