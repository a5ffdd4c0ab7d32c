import { BIGINT, BOOLEAN, DOUBLE, DuckDBInstance, VARCHAR } from '@duckdb/node-api';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSourceContract } from './source-contracts.ts';
import { loadProject } from '../cli/load-project.ts';
import type { Row } from '../domain/project/expression.ts';
import type { ColumnSpec, SourceSpec } from '../domain/project/spec.ts';
import { eventIdSql } from '../features/offline/ingest-sql.ts';

const column = (name: string, type: ColumnSpec['type']): ColumnSpec => ({
  name,
  type,
  nullable: true,
  pii: false,
  description: '',
});
const { spec: flights } = await loadProject('examples/flights/project.ts');
const source: SourceSpec = {
  name: 's',
  description: '',
  owner: 'o',
  columns: [column('at', 'ts'), column('n', 'i64'), column('x', 'f64'), column('b', 'bool'), column('t', 'str')],
  eventAt: 'at',
  zone: null,
  // of another source: an id does not depend on it
  availableAt: flights.sources[0]!.availableAt,
  eventId: ['at', 'n', 'x', 'b', 't'],
  freshnessSlaSeconds: 1,
};

test('a pushed event has the id that the offline log computes for the same row, whatever its values', async () => {
  const { eventIdOf } = createSourceContract(source);
  const connection = await (await DuckDBInstance.create()).connect();
  const idInSql = async (row: Row) => {
    const reader = await connection.runAndReadAll(
      `select ${eventIdSql(source)}::varchar as id from (select $at::bigint as "at", $n::bigint as n, $x::double as x, $b::boolean as b, $t::varchar as t)`,
      { at: big(row['at']), n: big(row['n']), x: row['x'] ?? null, b: row['b'] ?? null, t: row['t'] ?? null },
      // without them a whole double is bound as an integer
      { at: BIGINT, n: BIGINT, x: DOUBLE, b: BOOLEAN, t: VARCHAR },
    );
    return reader.getRowObjects()[0]?.['id'];
  };
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        at: fc.maxSafeInteger(),
        n: fc.option(fc.maxSafeInteger()),
        x: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0)),
        b: fc.option(fc.boolean()),
        t: fc.option(fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'))),
      }),
      async (row) => {
        expect(eventIdOf(row)).toBe(await idInSql(row));
      },
    ),
    { numRuns: 200 },
  );
});

function big(value: unknown): bigint | null {
  return typeof value === 'number' ? BigInt(value) : null;
}
