/** What every online store guarantees, as tests: run by `online-store.<kind>.test.ts` for each. */
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyGuarded, dropAll, editGuarded, putEntries, replaceAll } from '../../features/online/guarded-write.ts';
import {
  type Change,
  type Entry,
  type OnlineStore,
  type Part,
  shadowIdOf,
  type ViewCursor,
} from '../../features/online/online-store.ts';

export interface StoreUnderTest {
  readonly store: OnlineStore;
  /** The same rows through connections of its own. */
  another(): Promise<OnlineStore>;
  /** Takes all views away. */
  clear(): Promise<void>;
  /** Breaks every connection of `store`; new ones can be made. */
  breakConnections(): Promise<void>;
  close(): Promise<void>;
}

const V = 'view@1';
const text = (value: string): Uint8Array => Buffer.from(value, 'utf8');
const put = (key: Uint8Array | string, bytes: Uint8Array | string | null, part: Part = 'states'): Change => ({
  part,
  key: typeof key === 'string' ? text(key) : key,
  bytes: typeof bytes === 'string' ? text(bytes) : bytes,
});
const entry = (key: Uint8Array | string, bytes: string, part: Part = 'states'): Entry => put(key, bytes, part) as Entry;
const cursorAt = (appliedSeq: number, foldedAt: number | null = null): ViewCursor => ({
  source: 'flights',
  appliedSeq,
  foldedAt,
});

export function describeOnlineStore(open: () => Promise<StoreUnderTest>): void {
  let under: StoreUnderTest;
  let store: OnlineStore;
  beforeAll(async () => {
    under = await open();
    store = under.store;
  });
  afterAll(() => under.close());
  beforeEach(() => under.clear());

  const shown = (bytes: Uint8Array | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString('utf8');
  const readTexts = async (viewId: string, ...keys: string[]): Promise<(string | null)[]> => {
    const { states } = await store.read(keys.map((key) => ({ viewId, key: text(key) })));
    return states.map(shown);
  };
  const contents = async (viewId: string, from = store): Promise<Record<string, string>> => {
    const all: Record<string, string> = {};
    for await (const { part, key, bytes } of from.dump(viewId))
      all[`${part}:${Buffer.from(key).toString('hex')}`] = Buffer.from(bytes).toString('hex');
    return all;
  };
  /** Feeds numbered words; each key's state is the list of all that came to it, so that what is twice or missing shows. */
  const feed = (viewId: string, words: readonly [key: string, seq: number][], from: number, to: number, by = store) =>
    applyGuarded(by, {
      viewId,
      source: 'flights',
      fromSeqExclusive: from,
      toSeq: to,
      foldTo: to * 10,
      change: async ({ appliedSeq, read }) => {
        const fresh = words.filter(([, seq]) => seq > appliedSeq && seq <= to);
        const keys = [...new Set(fresh.map(([key]) => key))];
        const stored = await read(keys.map((key) => ({ part: 'states', key: text(key) })));
        return keys.map((key, i) => {
          const own = fresh.filter(([each]) => each === key).map(([, seq]) => seq);
          return put(key, [...(shown(stored[i] ?? null)?.split(',') ?? []), ...own].join(','));
        });
      },
    });

  describe('a commit', () => {
    test('takes effect once, at the revision that it was made from', async () => {
      const commit = { viewId: V, revision: 0, cursor: cursorAt(3, 7), changes: [put('a', '1'), put('b', '2')] };
      expect(await store.commit(commit)).toBe(true);
      expect(await store.commit({ ...commit, changes: [put('a', 'again')] })).toBe(false);
      expect(await readTexts(V, 'a', 'b', 'c')).toEqual(['1', '2', null]);
      const { revision, cursor, bytes } = await store.snapshot(V, [put('a', null), put('z', null)]);
      expect([cursor, bytes.map(shown)]).toEqual([cursorAt(3, 7), ['1', null]]);
      const next = { viewId: V, revision, cursor: cursorAt(4), changes: [put('a', '3'), put('b', null)] };
      expect(await store.commit({ ...next, revision: revision + 1 })).toBe(false);
      expect(await store.commit(next)).toBe(true);
      expect(await readTexts(V, 'a', 'b')).toEqual(['3', null]);
      expect(await store.cursors([V, 'other@1'])).toEqual(new Map([[V, cursorAt(4)]]));
    });

    test('of many at once from one revision is one of them, whole', async () => {
      const writers = Array.from({ length: 8 }, (_, i) =>
        store.commit({ viewId: V, revision: 0, cursor: cursorAt(i), changes: [put('a', `${i}`), put('b', `${i}`)] }),
      );
      const won = (await Promise.all(writers)).flatMap((done, i) => (done ? [i] : []));
      expect(won).toHaveLength(1);
      expect(await readTexts(V, 'a', 'b')).toEqual([`${won[0]}`, `${won[0]}`]);
      expect((await store.cursors([V])).get(V)).toEqual(cursorAt(won[0]!));
    });

    test('keeps rows of the index apart from states with the same key, and deletes each by itself', async () => {
      await store.commit({
        viewId: V,
        revision: 0,
        cursor: cursorAt(1),
        changes: [put('k', 's'), put('k', 'r', 'rows')],
      });
      const first = await store.snapshot(V, [put('k', null, 'rows'), put('k', null)]);
      expect(first.bytes.map(shown)).toEqual(['r', 's']);
      await store.commit({ viewId: V, revision: first.revision, cursor: first.cursor, changes: [put('k', null)] });
      const second = await store.snapshot(V, [put('k', null, 'rows'), put('k', null)]);
      expect(second.bytes.map(shown)).toEqual(['r', null]);
      expect(await readTexts(V, 'k')).toEqual([null]);
    });

    test('carries any bytes, in keys and in states, many and large', async () => {
      const anyBytes = fc.uint8Array({ maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(
            fc.tuple(
              fc.constantFrom<Part>('states', 'rows'),
              fc.uint8Array({ maxLength: 12 }).map(notReserved),
              anyBytes,
            ),
            {
              selector: ([part, key]) => `${part} ${Buffer.from(key).toString('hex')}`,
              maxLength: 30,
            },
          ),
          async (rows) => {
            await dropAll(store, V);
            const changes = rows.map(([part, key, bytes]) => ({ part, key, bytes }));
            expect(await store.commit({ viewId: V, revision: 0, cursor: cursorAt(1), changes })).toBe(true);
            const { bytes } = await store.snapshot(V, changes);
            expect(bytes.map((each) => Buffer.from(each!).toString('hex'))).toEqual(
              rows.map(([, , own]) => Buffer.from(own).toString('hex')),
            );
            expect(Object.keys(await contents(V))).toHaveLength(rows.length);
          },
        ),
        { numRuns: 30 },
      );
      await dropAll(store, V);
      const many = Array.from({ length: 12_001 }, (_, i) => put(`key ${i}`, new Uint8Array(1_500).fill(i % 251)));
      expect(await store.commit({ viewId: V, revision: 0, cursor: cursorAt(1), changes: many })).toBe(true);
      const { states } = await store.read(
        [...many.keys()].filter((i) => i % 1_000 === 0).map((i) => ({ viewId: V, key: many[i]!.key })),
      );
      expect(states.map((state) => [...new Set(state)])).toEqual(
        Array.from({ length: 13 }, (_, i) => [(i * 1_000) % 251]),
      );
      const revision = (await store.snapshot(V, [])).revision;
      const gone = many.map(({ part, key }) => ({ part, key, bytes: null }));
      expect(await store.commit({ viewId: V, revision, cursor: cursorAt(2), changes: gone })).toBe(true);
      expect(await contents(V)).toEqual({});
    });
  });

  describe('a batch that is applied', () => {
    test('ends in one state, whatever the cuts, repeats, retries and writers at once', async () => {
      const words = fc.array(fc.constantFrom('a', 'b', 'c', ''), { minLength: 1, maxLength: 40 });
      const schedule = fc.array(
        fc.record({ size: fc.integer({ min: 1, max: 12 }), again: fc.boolean(), twice: fc.boolean() }),
        { minLength: 1 },
      );
      const second = await under.another();
      let version = 1;
      await fc.assert(
        fc.asyncProperty(words, schedule, async (keys, steps) => {
          const events = keys.map((key, i): [string, number] => [key, i + 1]);
          const viewId = `view@${++version}`;
          for (let from = 0, i = 0; from < events.length; i++) {
            const { size, again, twice } = steps[i % steps.length]!;
            const to = Math.min(from + size, events.length);
            // a writer that was slow to notice sends what is already in, together with what is new
            const start = again ? Math.max(0, from - 5) : from;
            await Promise.all([
              feed(viewId, events, start, to),
              ...(twice ? [feed(viewId, events, from, to, second)] : []),
            ]);
            if (again) await feed(viewId, events, start, to);
            from = to;
          }
          for (const key of new Set(keys)) {
            const own = events.filter(([each]) => each === key).map(([, seq]) => seq);
            expect(await readTexts(viewId, key)).toEqual([own.join(',')]);
          }
          expect((await store.cursors([viewId])).get(viewId)).toEqual(cursorAt(events.length, events.length * 10));
        }),
        { numRuns: 25 },
      );
    });

    test('is refused when it would leave a gap, and says what the view has', async () => {
      await feed(V, [['a', 1]], 0, 1);
      await expect(feed(V, [['a', 3]], 2, 3)).rejects.toThrow(/view@1 has events up to 1.*from 2/);
      expect((await store.cursors([V])).get(V)?.appliedSeq).toBe(1);
    });

    test('that fails half-way leaves the view as it was', async () => {
      await feed(V, [['a', 1]], 0, 1);
      const broken = applyGuarded(store, {
        viewId: V,
        source: 'flights',
        fromSeqExclusive: 1,
        toSeq: 2,
        foldTo: null,
        change: () => Promise.reject(new RangeError('damaged')),
      });
      await expect(broken).rejects.toThrow('damaged');
      expect([await readTexts(V, 'a'), (await store.cursors([V])).get(V)]).toEqual([['1'], cursorAt(1, 10)]);
    });

    test('never moves the fold point back', async () => {
      await feed(V, [['a', 1]], 0, 1);
      const { cursor } = await applyGuarded(store, {
        viewId: V,
        source: 'flights',
        fromSeqExclusive: 1,
        toSeq: 2,
        foldTo: 3,
        change: ({ foldTo }) => Promise.resolve([put('b', String(foldTo))]),
      });
      expect([cursor.foldedAt, await readTexts(V, 'b')]).toEqual([10, ['10']]);
    });
  });

  describe('a read', () => {
    test('answers each reference in its place, over several views, with what is known of each', async () => {
      await feed(
        'one@1',
        [
          ['a', 1],
          ['b', 2],
        ],
        0,
        2,
      );
      await feed('two@1', [['b', 1]], 0, 1);
      const refs = [
        ['two@1', 'a'],
        ['one@1', 'b'],
        ['two@1', 'b'],
        ['one@1', 'b'],
        ['never@1', 'b'],
      ].map(([viewId, key]) => ({ viewId: viewId!, key: text(key!) }));
      const { states, knownSeq, foldedAt } = await store.read(refs);
      expect(states.map(shown)).toEqual([null, '2', '1', '2', null]);
      expect(states[1]).toBe(states[3]);
      expect(Object.fromEntries(knownSeq)).toEqual({ 'one@1': 2, 'two@1': 1 });
      const cursors = await store.cursors(['one@1', 'two@1']);
      expect(Object.fromEntries(foldedAt)).toEqual(
        Object.fromEntries([...cursors].map(([id, cursor]) => [id, cursor.foldedAt])),
      );
      expect(await store.read([])).toEqual({ states: [], knownSeq: new Map(), foldedAt: new Map() });
    });

    test('never sees half of a batch, and says how much it has seen', async () => {
      const keys = ['a', 'b', 'c'];
      await feed(
        V,
        keys.map((key) => [key, 1]),
        0,
        1,
      );
      let writing = true;
      const writer = (async () => {
        for (let seq = 2; seq <= 60; seq++)
          await feed(
            V,
            keys.map((key) => [key, seq]),
            seq - 1,
            seq,
          );
        writing = false;
      })();
      while (writing) {
        const { states, knownSeq } = await store.read(keys.map((key) => ({ viewId: V, key: text(key) })));
        const known = knownSeq.get(V)!;
        const all = Array.from({ length: known }, (_, i) => i + 1).join(',');
        expect(states.map(shown)).toEqual([all, all, all]);
      }
      await writer;
    });
  });

  describe('a shadow', () => {
    test('is filled, fed and read beside its view, takes its place at once, and is dropped in pieces', async () => {
      const shadow = shadowIdOf(V, 'rebuild');
      await feed(
        V,
        [
          ['a', 1],
          ['b', 2],
          ['b', 3],
        ],
        0,
        3,
      );
      await putEntries(store, shadow, [entry('a', 'A'), entry('c', 'C'), entry('r', 'R', 'rows')], cursorAt(2, 20));
      await putEntries(store, shadow, [entry('c', 'C')], cursorAt(2, 20));
      expect([await readTexts(V, 'a', 'c'), await readTexts(shadow, 'a', 'c')]).toEqual([
        ['1', null],
        ['A', 'C'],
      ]);
      expect(await store.exchange(V, shadow, { notBehind: true })).toBe(false);
      await feed(shadow, [['b', 3]], 2, 3);
      const late = await store.snapshot(V, []);
      expect(await store.exchange(V, shadow, { notBehind: true })).toBe(true);
      expect(await readTexts(V, 'a', 'b', 'c')).toEqual(['A', '3', 'C']);
      expect((await store.snapshot(V, [put('r', null, 'rows')])).bytes.map(shown)).toEqual(['R']);
      expect((await store.cursors([V])).get(V)).toEqual(cursorAt(3, 30));
      // who began before the exchange writes nothing
      expect(
        await store.commit({ viewId: V, revision: late.revision, cursor: cursorAt(9), changes: [put('a', 'old')] }),
      ).toBe(false);
      expect(await readTexts(shadow, 'a', 'b')).toEqual(['1', '2,3']);
      await dropAll(store, shadow);
      expect([await contents(shadow), await store.cursors([shadow])]).toEqual([{}, new Map()]);
      expect(await readTexts(V, 'a', 'b', 'c')).toEqual(['A', '3', 'C']);
      await feed(V, [['c', 4]], 3, 4);
      expect(await readTexts(V, 'c')).toEqual(['C,4']);
    });

    test('of a revision that is gone is refused, so that one who asks again does not undo it', async () => {
      await feed(V, [['a', 1]], 0, 1);
      const shadow = shadowIdOf(V, 'x');
      await putEntries(store, shadow, [entry('a', 'new')], cursorAt(1));
      const { revision } = await store.snapshot(shadow, []);
      const guard = { notBehind: true, otherRevision: revision };
      expect(await store.exchange(V, shadow, guard)).toBe(true);
      expect(await store.exchange(V, shadow, guard)).toBe(false);
      expect(await readTexts(V, 'a')).toEqual(['new']);
      expect((await store.snapshot(shadow, [])).revision).not.toBe(revision);
    });

    test('may be made under the same name again and again', async () => {
      for (const round of ['1', '2', '3', '4']) {
        const entries = [entry(`only ${round}`, round), entry('all', round)];
        expect(await replaceAll(store, { viewId: V, cursor: cursorAt(Number(round)), entries, label: 'x' })).toBe(2);
        expect(await readTexts(V, 'all', `only ${round}`, `only ${Number(round) - 1}`)).toEqual([round, round, null]);
        expect(await contents(shadowIdOf(V, 'x'))).toEqual({});
      }
      expect(await replaceAll(store, { viewId: V, cursor: cursorAt(9), entries: [], label: 'x' })).toBe(0);
      expect([await contents(V), (await store.cursors([V])).get(V)]).toEqual([{}, cursorAt(9)]);
    });

    test('that dies half-way leaves the view as it was; readers of other connections see an exchange at once', async () => {
      const other = await under.another();
      await feed(V, [['a', 1]], 0, 1);
      const seen = async (): Promise<string | null> =>
        shown((await other.read([{ viewId: V, key: text('a') }])).states[0]!);
      expect(await seen()).toBe('1');
      const failing = replaceAll(store, {
        viewId: V,
        cursor: cursorAt(9),
        label: 'x',
        entries: (async function* () {
          for (let i = 0; i < 6_000; i++) yield entry(`k${i}`, 'x');
          expect(await readTexts(V, 'a', 'k1')).toEqual(['1', null]);
          throw new Error('killed');
        })(),
      });
      await expect(failing).rejects.toThrow('killed');
      expect([await readTexts(V, 'a', 'k1'), (await store.cursors([V])).get(V)?.appliedSeq]).toEqual([['1', null], 1]);
      await replaceAll(store, { viewId: V, cursor: cursorAt(9), label: 'x', entries: [entry('a', 'new')] });
      expect(await seen()).toBe('new');
    });

    test('exchanged while batches are applied loses none of them', async () => {
      const words = Array.from({ length: 60 }, (_, i): [string, number] => ['a', i + 1]);
      await feed(V, words, 0, 1);
      const shadow = shadowIdOf(V, 'x');
      const feeding = (async () => {
        for (let seq = 2; seq <= 60; seq++) await feed(V, words, 0, seq);
      })();
      let exchanged = false;
      while (!exchanged) {
        const { appliedSeq } = (await store.cursors([V])).get(V)!;
        await feed(shadow, words, 0, appliedSeq);
        exchanged = await store.exchange(V, shadow, { notBehind: true });
      }
      await feeding;
      expect(await readTexts(V, 'a')).toEqual([words.map(([, seq]) => seq).join(',')]);
    });
  });

  test('an edit takes rows away under the feet of writers, and leaves the cursor', async () => {
    await feed(
      V,
      [
        ['a', 1],
        ['b', 2],
      ],
      0,
      2,
    );
    const seqs = Array.from({ length: 20 }, (_, i) => i + 3);
    await Promise.all([
      (async () => {
        for (const seq of seqs) await feed(V, [['b', seq]], seq - 1, seq);
      })(),
      editGuarded(store, V, [put('a', null)], ([bytes]) => (bytes === null ? [] : [put('a', null)])),
    ]);
    expect(await readTexts(V, 'a', 'b')).toEqual([null, [2, ...seqs].join(',')]);
    expect((await store.cursors([V])).get(V)?.appliedSeq).toBe(22);
  });

  test('a connection that breaks is a retryable error, and the next one goes on', async () => {
    await feed(V, [['a', 1]], 0, 1);
    await under.breakConnections();
    const answer = await readTexts(V, 'a').catch((error: unknown) => error);
    if (!Array.isArray(answer)) expect(answer).toMatchObject({ code: 'ONLINE_STORE_UNAVAILABLE', retryable: true });
    await expect.poll(() => readTexts(V, 'a').catch(() => null)).toEqual(['1']);
  });
}

/** Keys of entities begin with the tag of a type, which is never 0. */
function notReserved(key: Uint8Array): Uint8Array {
  return key[0] === 0 ? Uint8Array.of(1, ...key.subarray(1)) : key;
}
