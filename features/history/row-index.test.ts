import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRowIndex, routeVersion, type RowVersion } from './row-index.ts';

const key = (name: string): Uint8Array => Buffer.from(name);
const A = key('A');
const B = key('B');

function route(versions: readonly RowVersion[]): { index: Uint8Array; sent: Map<string, Set<string>> } {
  let index: Uint8Array | null = null;
  const sent = new Map<string, Set<string>>();
  for (const version of versions) {
    const routed = routeVersion(index, version);
    index = routed.index;
    for (const addition of routed.additions) {
      const to = Buffer.from(addition.key).toString();
      const fact = addition.fact === 'self' ? `${version.kind} ${version.seq}` : `gone ${addition.fact.seq}`;
      sent.set(to, (sent.get(to) ?? new Set()).add(fact));
    }
  }
  return { index: index!, sent };
}

const put = (place: Uint8Array | null, seq: number): RowVersion => ({
  key: place,
  availableAt: 10 * seq,
  seq,
  kind: 'put',
});

test('a row that moves is gone from its old key, in whatever order the two versions come', () => {
  const wanted = new Map([
    ['A', new Set(['put 1', 'gone 2'])],
    ['B', new Set(['put 2'])],
  ]);
  expect(route([put(A, 1), put(B, 2)]).sent).toEqual(wanted);
  expect(route([put(B, 2), put(A, 1)]).sent).toEqual(wanted);
});

test('a row whose key becomes null is gone from its old one, and goes nowhere', () => {
  expect(route([put(A, 1), put(null, 2)]).sent).toEqual(new Map([['A', new Set(['put 1', 'gone 2'])]]));
  expect(route([put(null, 2)]).sent).toEqual(new Map());
});

test('a version that comes again gives the same index and the same additions', () => {
  const first = routeVersion(route([put(A, 1), put(B, 3)]).index, put(A, 2));
  const again = routeVersion(first.index, put(A, 2));
  expect(again).toEqual(first);
});

test('the index is the same bytes in every order, and holds the versions as they stand', () =>
  fc.assert(
    fc.property(
      fc
        .uniqueArray(
          fc.record({
            key: fc.constantFrom(A, B, key('C'), null),
            availableAt: fc.oneof(fc.nat(5), fc.bigInt({ min: 2n ** 54n, max: 2n ** 54n + 3n })),
            seq: fc.nat(1000),
            kind: fc.constantFrom('put' as const, 'retract' as const),
          }),
          { selector: ({ seq }) => seq, minLength: 1, maxLength: 6 },
        )
        .chain((versions) =>
          fc.tuple(fc.constant(versions), fc.shuffledSubarray(versions, { minLength: versions.length })),
        ),
      ([versions, shuffled]) => {
        const { index } = route(versions);
        expect(route(shuffled).index).toEqual(index);
        const decoded = decodeRowIndex(index);
        expect(decoded).toHaveLength(versions.length);
        for (const version of versions) {
          const found = decoded.find(({ seq }) => seq === version.seq)!;
          expect({ ...found, key: found.key && Buffer.from(found.key) }).toEqual(version);
        }
      },
    ),
  ));
