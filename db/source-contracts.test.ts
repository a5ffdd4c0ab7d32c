import { BIGINT, BOOLEAN, DOUBLE, DuckDBInstance, UTINYINT, VARCHAR } from '@duckdb/node-api';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OPERATIONS } from '../domain/features/log-file.ts';
import type { Row } from '../domain/project/expression.ts';
import type { ColumnSpec, SourceSpec } from '../domain/project/spec.ts';
import { eventIdSql, versionIdSql } from '../features/offline/event-id-sql.ts';
import { createRowIds } from './source-contracts.ts';

function column(name: string, type: ColumnSpec['type']): ColumnSpec {
  return { name, type, nullable: true, pii: false, description: '' };
}

function aSource(overrides: Partial<SourceSpec> = {}): SourceSpec {
  return {
    name: 's',
    description: '',
    owner: 'o',
    columns: [column('at', 'ts'), column('n', 'i64'), column('x', 'f64'), column('b', 'bool'), column('t', 'str')],
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'column', name: 'at' },
    eventId: ['at', 'n', 'x', 'b', 't'],
    freshnessSlaSeconds: 1,
    ...overrides,
  };
}

const rows = fc.record({
  at: fc.maxSafeInteger(),
  n: fc.option(fc.maxSafeInteger()),
  x: fc.option(
    fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
      fc.maxSafeInteger(),
      fc.constantFrom(2 ** 53, -(2 ** 53), 2 ** 53 - 1, 1 - 2 ** 53, 1e300),
    ),
  ),
  b: fc.option(fc.boolean()),
  t: fc.option(fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'))),
});

const REMOVALS = { operation: { column: 't', retract: 'r', tombstone: 't' } };

describe('ids of a pushed row', () => {
  test.each([
    ['events', aSource()],
    ['events and removals', aSource({ ...REMOVALS, eventId: ['n', 't'] })],
    ['versions', aSource({ revisions: 'versions', eventId: ['n'] })],
    ['versions and removals', aSource({ ...REMOVALS, revisions: 'versions', eventId: ['n'] })],
  ])('are those that the log computes for the same row, whatever its values (%s)', async (_, source) => {
    const identify = createRowIds(source);
    const connection = await (await DuckDBInstance.create()).connect();
    const inSql = async (row: Row, op: number, availableAt: number) => {
      const reader = await connection.runAndReadAll(
        `select ${eventIdSql(source)}::varchar as "eventId", ${versionIdSql(source, 'available_at')}::varchar as "versionId" ` +
          'from (select $at::bigint as "at", $n::bigint as n, $x::double as x, $b::boolean as b, $t::varchar as t, $op::utinyint as op, $available::bigint as available_at)',
        {
          at: big(row['at']),
          n: big(row['n']),
          x: row['x'] ?? null,
          b: row['b'] ?? null,
          t: row['t'] ?? null,
          op,
          available: BigInt(availableAt),
        },
        // without them a whole double is bound as an integer
        { at: BIGINT, n: BIGINT, x: DOUBLE, b: BOOLEAN, t: VARCHAR, op: UTINYINT, available: BIGINT },
      );
      return reader.getRowObjects()[0];
    };
    await fc.assert(
      fc.asyncProperty(
        rows,
        fc.nat(source.operation === undefined ? 0 : 2),
        fc.maxSafeInteger(),
        async (row, op, availableAt) => {
          expect(identify(row, OPERATIONS[op]!, availableAt)).toEqual(await inSql(row, op, availableAt));
        },
      ),
      { numRuns: 100 },
    );
  });

  const row: Row = { at: 1, n: 5, x: 2.5, b: null, t: 'a' };

  test('of a source without versions depend on the event alone; its removal is another row, once', () => {
    const identify = createRowIds(aSource({ ...REMOVALS, eventId: ['n'] }));
    const { eventId, versionId } = identify(row, 'put', 1);
    expect(versionId).toBe(eventId);
    expect(identify({ ...row, x: 3 }, 'put', 2)).toEqual({ eventId, versionId });
    const removal = identify({ ...row, x: null }, 'retract', 3);
    expect(removal.eventId).toBe(eventId);
    expect(removal.versionId).not.toBe(versionId);
    expect(identify(row, 'retract', 4)).toEqual(removal);
  });

  test('of a source with versions differ when anything does: a value, the operation, the availability', () => {
    const identify = createRowIds(aSource({ ...REMOVALS, revisions: 'versions', eventId: ['n'] }));
    const all = [
      identify(row, 'put', 1),
      identify(row, 'put', 2),
      identify(row, 'retract', 1),
      identify({ ...row, x: null }, 'put', 1),
      identify({ ...row, t: 'b' }, 'put', 1),
    ];
    expect(new Set(all.map(({ eventId }) => eventId)).size).toBe(1);
    expect(new Set(all.map(({ versionId }) => versionId)).size).toBe(all.length);
    expect(identify({ ...row }, 'put', 1)).toEqual(all[0]);
  });

  test('stay as they are when the source gains a nullable column, reorders its columns or widens one', () => {
    const before = createRowIds(aSource({ revisions: 'versions', eventId: ['t', 'n'] }));
    const { columns } = aSource();
    const evolved = columns.toReversed().map((each) => (each.name === 'n' ? column('n', 'f64') : each));
    const after = createRowIds(
      aSource({ revisions: 'versions', eventId: ['t', 'n'], columns: [column('added', 'str'), ...evolved] }),
    );
    expect(after({ ...row, added: null }, 'put', 7)).toEqual(before(row, 'put', 7));
  });
});

function big(value: unknown): bigint | null {
  return typeof value === 'number' ? BigInt(value) : null;
}
