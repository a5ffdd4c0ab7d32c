import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { compileHistoryView } from './compile.ts';
import { decodeHistory, encodeHistory } from './history-bytes.ts';
import {
  addFact,
  createHistory,
  factOf,
  foldHistory,
  isSpentHistory,
  type KeyHistory,
  readHistory,
  settle,
} from './history.ts';
import { type Instant, minus, plus } from '../../domain/instant.ts';
import { aFeature, aSource, atOf, aView, feed, N, oracle, T, type World, worlds, X } from './testing/worlds.ts';

/** Worlds by the thousand take seconds, on a busy machine many. */
vi.setConfig({ testTimeout: 120_000 });

const KEYS = ['A', 'B'] as const;

function emptyHistories(world: World): Map<string, KeyHistory> {
  return new Map(KEYS.map((key) => [key, createHistory(world.plan)]));
}

/** Feeds the rows in the given order, folds at the given instants on the way, and through bytes now and then. */
function fedWorld(world: World, order: readonly number[], folds: readonly Instant[]): Map<string, KeyHistory> {
  const histories = emptyHistories(world);
  const index = new Map<string, Uint8Array>();
  order.forEach((place, step) => {
    feed(world, histories, index, world.rows[place]!);
    const fold = folds[step];
    if (fold === undefined) return;
    for (const key of KEYS) {
      const history = histories.get(key)!;
      foldHistory(world.plan, history, fold);
      if (step % 2 === 0) histories.set(key, decodeHistory(world.plan, encodeHistory(world.plan, history)));
    }
  });
  return histories;
}

function orderOf(world: World): fc.Arbitrary<number[]> {
  const places = world.rows.map((_, i) => i);
  return fc.shuffledSubarray(places, { minLength: places.length, maxLength: places.length });
}

const played = worlds.chain((world) =>
  fc.record({
    world: fc.constant(world),
    order: orderOf(world),
    other: orderOf(world),
    folds: fc.array(atOf(world.base), { maxLength: 14 }),
    otherFolds: fc.array(atOf(world.base), { maxLength: 14 }),
    asOf: atOf(world.base),
  }),
);

const expected = ({ values, statuses }: ReturnType<typeof oracle>): unknown =>
  expect.objectContaining({ values, statuses });

test('a read is what the rules say, in whatever order rows came and wherever they were folded', () =>
  fc.assert(
    fc.property(played, ({ world, order, folds, asOf }) => {
      const histories = fedWorld(
        world,
        order,
        folds.map((fold) => (fold <= asOf ? fold : asOf)),
      );
      for (const key of KEYS) {
        const wanted = oracle(world, key, asOf);
        expect(readHistory(world.plan, histories.get(key)!, asOf)).toEqual(expected(wanted));
        const spent = isSpentHistory(world.plan, histories.get(key)!, asOf);
        if (spent) expect(readHistory(world.plan, null, asOf)).toEqual(expected(wanted));
      }
    }),
    { numRuns: 1500 },
  ));

test('equal rows and fold points give equal bytes, in whatever order and however often they were folded', () =>
  fc.assert(
    fc.property(played, ({ world, order, other, folds, otherFolds, asOf }) => {
      const bytes = [fedWorld(world, order, folds), fedWorld(world, other, otherFolds)].map((histories) =>
        KEYS.map((key) => {
          const history = histories.get(key)!;
          foldHistory(world.plan, history, plus(world.base, 60));
          return encodeHistory(world.plan, history);
        }),
      );
      void asOf;
      expect(bytes[0]).toEqual(bytes[1]);
    }),
    { numRuns: 1500 },
  ));

test('a row that comes again changes nothing', () =>
  fc.assert(
    fc.property(played, ({ world, order, other }) => {
      const once = fedWorld(world, order, []);
      const twice = fedWorld(world, [...order, ...other], []);
      for (const key of KEYS) {
        expect(encodeHistory(world.plan, twice.get(key)!)).toEqual(encodeHistory(world.plan, once.get(key)!));
      }
    }),
    { numRuns: 1000 },
  ));

test('what had not been stored by a sequence is not known', () =>
  fc.assert(
    fc.property(played, fc.nat(300), ({ world, order, asOf }, knownSeq) => {
      const histories = fedWorld(world, order, []);
      for (const key of KEYS) {
        expect(readHistory(world.plan, histories.get(key)!, asOf, knownSeq)).toEqual(
          expected(oracle(world, key, asOf, knownSeq)),
        );
      }
    }),
    { numRuns: 2000 },
  ));

test('windows that slide from read to read are what the rules say, forwards and back', () =>
  fc.assert(
    fc.property(
      played,
      fc.array(fc.integer({ min: -1, max: 6 }), { minLength: 14, maxLength: 14 }),
      fc.boolean(),
      ({ world, order }, steps, folds) => {
        fc.pre(world.plan.appendOnly);
        const histories = emptyHistories(world);
        const history = histories.get('A')!;
        history.slideFrom = 0;
        let asOf = plus(world.base, -1);
        for (const [step, place] of order.entries()) {
          feed(world, histories, new Map(), world.rows[place]!);
          if (!folds || steps[step]! > 0) asOf = plus(asOf, steps[step]! * 2);
          if (folds && step % 3 === 2) settleAt(world, history, asOf);
          const fed = { ...world, rows: order.slice(0, step + 1).map((each) => world.rows[each]!) };
          expect(readHistory(world.plan, history, asOf)).toEqual(expected(oracle(fed, 'A', asOf)));
        }
      },
    ),
    { numRuns: 1500 },
  ));

function settleAt(world: World, history: KeyHistory, asOf: Instant): void {
  foldHistory(world.plan, history, asOf);
  settle(world.plan, history);
}

test('an exclusive view at t has the windows of an inclusive one a microsecond before', () =>
  fc.assert(
    fc.property(played, ({ world, order, asOf }) => {
      const features = world.view.features.filter(({ fn }) => fn !== 'latest');
      fc.pre(features.length > 0);
      const entity = { name: 'e', keys: world.plan.keyParts, description: '' };
      const [exclusive, inclusive] = (['exclusive', 'inclusive'] as const).map((boundary) => {
        const plan = compileHistoryView({ ...world.view, features, boundary }, world.source, entity);
        return { plan, histories: fedWorld({ ...world, plan }, order, []) };
      });
      for (const key of KEYS) {
        const before = readHistory(inclusive!.plan, inclusive!.histories.get(key)!, minus(asOf, 1));
        const { values, statuses } = readHistory(exclusive!.plan, exclusive!.histories.get(key)!, asOf);
        expect({ values, statuses }).toEqual({ values: before.values, statuses: before.statuses });
      }
    }),
    { numRuns: 1000 },
  ));

const ENTITY = { name: 'e', keys: [{ name: 'key', type: 'str' as const }], description: '' };
const over = (lengthMicros: number | null, hopMicros: number | null = null) => [{ name: 'w', lengthMicros, hopMicros }];

function fedWith(
  plan: ReturnType<typeof compileHistoryView>,
  rows: readonly { at: number; n?: number | bigint; x?: number; t?: string }[],
) {
  const history = createHistory(plan);
  rows.forEach(({ at, n = null, x = null, t = null }, seq) =>
    addFact(
      plan,
      history,
      factOf(plan, { n, x, t }, { kind: 'put', eventAt: at, availableAt: at, seq, identity: null }),
    ),
  );
  return history;
}

test('whole numbers beyond 2^53 are summed and compared as they are', () => {
  const above = { op: 'ge', left: N, right: { op: 'literal', value: '9007199254740993', type: 'i64' } } as const;
  const view = aView([
    aFeature('sum', 'sum', { of: N, windows: over(100) }),
    aFeature('max', 'max', { of: N, windows: over(null) }),
    aFeature('above', 'count', { where: above, windows: over(100) }),
    aFeature('spread', 'stddev_pop', { of: N, windows: over(100) }),
  ]);
  const plan = compileHistoryView(view, aSource('append'), ENTITY);
  const history = fedWith(plan, [
    { at: 1, n: 9007199254740993n },
    { at: 2, n: 9007199254740991 },
    { at: 3, n: 2n ** 63n - 1n },
  ]);
  const { values } = readHistory(plan, history, 10);
  expect(values.slice(0, 3)).toEqual([2n ** 63n - 1n + 18014398509481984n, 2n ** 63n - 1n, 2]);
  foldHistory(plan, history, 10);
  expect(readHistory(plan, decodeHistory(plan, encodeHistory(plan, history)), 10).values).toEqual(values);
});

test('a default stands in for null and the status says what it stands for', () => {
  const view = aView(
    [
      aFeature('last', 'latest', { of: N, default: 7 }),
      aFeature('mean', 'mean', { of: X, windows: over(5), default: -1 }),
      aFeature('rows', 'count', { windows: over(5), default: 9 }),
    ],
    { ttlMicros: 10 },
  );
  const plan = compileHistoryView(view, aSource('append'), ENTITY);
  const history = fedWith(plan, [{ at: 0, n: 1, x: 1 }]);
  const at = (asOf: number) => readHistory(plan, history, asOf);
  expect(at(10)).toEqual({
    values: [1, -1, 0],
    statuses: ['present', 'not_found', 'not_found'],
    defaulted: [false, true, false],
    ages: [10, null, null],
  });
  expect(at(11)).toMatchObject({
    values: [7, -1, 0],
    statuses: ['expired', 'not_found', 'not_found'],
    defaulted: [true, true, false],
    ages: [11, null, null],
  });
  expect(readHistory(plan, null, 3)).toMatchObject({
    values: [7, -1, 0],
    statuses: ['not_found', 'not_found', 'not_found'],
  });
});

test('a hot key of hop windows and lifetimes keeps tiles, not rows', () => {
  const view = aView([
    aFeature('top', 'top_k', { of: T, k: 2, windows: over(1000, 100) }),
    aFeature('sum', 'sum', { of: X, windows: over(null) }),
    aFeature('newest', 'latest', { of: X }),
  ]);
  const plan = compileHistoryView(view, aSource('append'), ENTITY);
  const history = createHistory(plan);
  for (let at = 0; at < 20_000; at++) {
    addFact(
      plan,
      history,
      factOf(plan, { x: 0.1, t: `t${at % 7}` }, { kind: 'put', eventAt: at, availableAt: at, seq: at, identity: null }),
    );
    if (at % 500 === 0) foldHistory(plan, history, at);
  }
  foldHistory(plan, history, 20_000);
  expect(encodeHistory(plan, history).length).toBeLessThan(1000);
  expect(readHistory(plan, history, 20_000).values).toEqual([
    [
      ['t0', 143],
      ['t3', 143],
    ],
    2000,
    0.1,
  ]);
  expect(() => readHistory(plan, history, 19_999)).toThrow(/fold point/);
});

test('rows named by a UUID are corrected after their bytes have gone and come', () => {
  const plan = compileHistoryView(aView([aFeature('n', 'latest', { of: N })]), aSource('row_id'), ENTITY);
  const identity = '0e8d1c5a-00ff-4b6e-9a01-0123456789ab';
  const at = { kind: 'put' as const, eventAt: 1, identity };
  const history = createHistory(plan);
  addFact(plan, history, factOf(plan, { n: 1 }, { ...at, availableAt: 1, seq: 1 }));
  const bytes = Buffer.from(encodeHistory(plan, history));
  const decoded = decodeHistory(plan, bytes);
  bytes.fill(0);
  expect(decoded.facts.map((fact) => fact.identity)).toEqual([identity]);
  addFact(plan, decoded, factOf(plan, { n: 2 }, { ...at, availableAt: 2, seq: 2 }));
  expect(readHistory(plan, decoded, 1).values).toEqual([1]);
  expect(readHistory(plan, decoded, 2).values).toEqual([2]);
  foldHistory(plan, decoded, 2);
  const again = decodeHistory(plan, encodeHistory(plan, decoded));
  expect(again.facts.map((fact) => [fact.identity, fact.seq])).toEqual([[identity, 2]]);
});

test('the bytes of a history stay what they are: they are stored', () => {
  const view = aView([
    aFeature('n', 'latest', { of: N }),
    aFeature('t', 'last', { of: T, windows: over(100, 10) }),
    aFeature('x', 'sum', { of: X, windows: [{ name: 'ever', lengthMicros: null, hopMicros: null }] }),
  ]);
  const plan = compileHistoryView(view, aSource('append'), ENTITY);
  const history = createHistory(plan);
  const rows = [
    { at: 10, n: 2n ** 53n, x: 0.5, t: 'a' },
    { at: 25, n: null, x: -0.25, t: 'b' },
    { at: 40, n: -3, x: null, t: null },
  ];
  rows.forEach(({ at, ...row }, seq) =>
    addFact(plan, history, factOf(plan, row, { kind: 'put', eventAt: at, availableAt: at + 1, seq, identity: null })),
  );
  foldHistory(plan, history, 30);
  // a change here is a new HISTORY_FORMAT
  expect(Buffer.from(encodeHistory(plan, history)).toString('hex')).toBe(
    [
      '013719e648013d0133',
      '0200330303010162000000000000d0bf001f03030606',
      '00',
      '020101151701010161290133350301016201',
      '01020000000002',
      '0104',
    ].join(''),
  );
});

test('bytes of another view, cut bytes and facts that a source cannot have are refused', () => {
  const plan = compileHistoryView(aView([aFeature('n', 'latest', { of: N })]), aSource('append'), ENTITY);
  const other = compileHistoryView(aView([aFeature('n', 'latest', { of: X })]), aSource('append'), ENTITY);
  const history = fedWith(plan, [{ at: 1, n: 1 }]);
  const bytes = encodeHistory(plan, history);
  expect(() => decodeHistory(other, bytes)).toThrow(RangeError);
  expect(() => decodeHistory(plan, bytes.subarray(0, bytes.length - 1))).toThrow(RangeError);
  expect(() => decodeHistory(plan, Uint8Array.from([...bytes, 0]))).toThrow(RangeError);
  const at = { eventAt: 1, availableAt: 1, seq: 9, identity: null };
  expect(() => addFact(plan, history, factOf(plan, {}, { ...at, kind: 'tombstone' }))).toThrow(/tombstones/);
  expect(() => addFact(plan, history, factOf(plan, {}, { ...at, kind: 'retract' }))).toThrow(/retracts/);
});
