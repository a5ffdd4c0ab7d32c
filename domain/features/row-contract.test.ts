import { describe, expect, test } from 'vitest';
import type { SourceSpec } from '../project/spec.ts';
import { createEventIdentity, createRowContract, eventIdOfDigest, type RowCheck } from './row-contract.ts';

function aSource(overrides: Partial<SourceSpec> = {}): SourceSpec {
  const column = { nullable: false, pii: false, description: '' };
  return {
    name: 'orders',
    description: '',
    owner: 'shop',
    columns: [
      { ...column, name: 'at', type: 'ts' },
      { ...column, name: 'items', type: 'i64', min: 1, max: 100 },
      { ...column, name: 'total', type: 'f64', nullable: true },
      { ...column, name: 'shop', type: 'str' },
      { ...column, name: 'gift', type: 'bool', nullable: true },
    ],
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'plusMinutes', at: { op: 'column', name: 'at' }, minutes: { op: 'column', name: 'total' } },
    eventId: ['shop', 'items', 'total', 'gift'],
    freshnessSlaSeconds: 60,
    ...overrides,
  };
}

const anOrder = (overrides: object = {}): Record<string, unknown> => ({
  at: '2001-01-01T00:00:00Z',
  items: 2,
  total: 1.5,
  shop: 'a',
  gift: false,
  ...overrides,
});

const check = (overrides: object, source = aSource()): RowCheck => createRowContract(source).check(anOrder(overrides));

const codesOf = (result: RowCheck): string[] =>
  result.ok ? [] : result.reasons.map(({ code, column }) => `${code} ${column ?? 'row'}`);

describe('an event', () => {
  test('that keeps the contract becomes a typed row with its two instants', () => {
    const at = 978_307_200_000_000;
    expect(check({})).toEqual({
      ok: true,
      operation: 'put',
      row: { at, items: 2, total: 1.5, shop: 'a', gift: false },
      eventAt: at,
      availableAt: at + 90_000_000,
    });
  });

  test.each([
    [{ items: '2' }, 'COLUMN_TYPE items'],
    [{ items: 2.5 }, 'COLUMN_TYPE items'],
    [{ items: 0 }, 'VALUE_RANGE items'],
    [{ items: 101 }, 'VALUE_RANGE items'],
    [{ items: null }, 'VALUE_NULL items'],
    [{ items: undefined }, 'VALUE_MISSING items'],
    [{ total: Infinity }, 'VALUE_NOT_FINITE total'],
    [{ total: NaN }, 'VALUE_NOT_FINITE total'],
    [{ total: '1.5' }, 'COLUMN_TYPE total'],
    [{ shop: 5 }, 'COLUMN_TYPE shop'],
    [{ shop: 'a\0' }, 'COLUMN_TYPE shop'],
    [{ shop: '\ud800' }, 'COLUMN_TYPE shop'],
    [{ gift: 'true' }, 'COLUMN_TYPE gift'],
    [{ at: '2001-01-01T00:00:00' }, 'TIME_NO_ZONE at'],
    [{ at: 978_307_200 }, 'COLUMN_TYPE at'],
    [{ extra: 1 }, 'COLUMN_UNKNOWN extra'],
    [{ total: null }, 'AVAILABLE_AT_NULL row'],
    [{ total: 1e300 }, 'AVAILABLE_AT_NULL row'],
  ])('with %o is refused: %s', (overrides, reason) => {
    expect(codesOf(check(overrides))).toEqual([reason]);
  });

  test('gets all its reasons at once, each with the value and the rule', () => {
    const result = check({ items: 1000, shop: null, gift: 'x'.repeat(200) });
    expect(codesOf(result)).toEqual(['VALUE_RANGE items', 'VALUE_NULL shop', 'COLUMN_TYPE gift']);
    expect(result).toMatchObject({
      reasons: [{ value: 1000, rule: 'between 1 and 100' }, {}, { value: `${'x'.repeat(100)}…` }],
    });
  });

  test('without a nullable column has null there; names on the prototype are no columns', () => {
    const { gift: _, ...order } = anOrder();
    expect(createRowContract(aSource()).check(order)).toMatchObject({ ok: true, row: { gift: null } });
    expect(codesOf(createRowContract(aSource()).check(Object.create(anOrder()) as Record<string, unknown>))).toContain(
      'VALUE_MISSING at',
    );
  });

  test('has a required eventAt even where the column is declared nullable', () => {
    const columns = aSource().columns.map((column) => ({ ...column, nullable: true }));
    expect(codesOf(check({ at: null }, aSource({ columns })))).toEqual(['VALUE_NULL at']);
  });

  test('an integer beyond 2^53 is out of range, since it is not exact', () => {
    const columns = aSource().columns.map(({ min: _, max: __, ...column }) => column);
    expect(codesOf(check({ items: 2 ** 53 }, aSource({ columns })))).toEqual(['VALUE_RANGE items']);
  });
});

test('the identity of an event tells values, types and column borders apart', () => {
  const identityOf = createEventIdentity(aSource());
  const rows = [
    { shop: 'a', items: 1, total: 1, gift: null },
    { shop: 'a', items: 1, total: 1, gift: false },
    { shop: 'a', items: 11, total: 1, gift: null },
    { shop: 'ai1', items: 1, total: 1, gift: null },
    { shop: 'a', items: 1, total: 1.0000000000000002, gift: null },
    { shop: 'a', items: 1, total: null, gift: null },
  ];
  expect(new Set(rows.map(identityOf)).size).toBe(rows.length);
  expect(identityOf({ shop: '🛬', items: -3, total: 0.5, gift: true })).toBe(
    `s1:🛬i-3;f001111111110${'0'.repeat(52)}b1`,
  );
  // as it was before the column was widened
  expect(identityOf({ shop: 'a', items: 1, total: 1, gift: null })).toBe('s1:ai1;i1;n');
  expect(eventIdOfDigest('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef')).toBe(
    '01234567-89ab-cdef-0123-456789abcdef',
  );
});

test('a source whose eventAt is not a ts column cannot have a contract', () => {
  expect(() => createRowContract(aSource({ eventAt: 'shop' }))).toThrow(/eventAt names "shop"/);
});
