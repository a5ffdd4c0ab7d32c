/** Needs the compiled thread: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { SpineSpec } from '../../domain/project/spec.ts';
import { buildDataset, type BuildDatasetInput } from './dataset.ts';
import { DuckDb, textSql } from './duckdb.ts';
import { checkSpineQuery } from './spine-query.ts';
import { AGAIN, FolderOfBlobs, ORDERS, randomWorld, shopProject, SPINE, writeWorld } from './testing/shop-world.ts';

const QUERY = `
  WITH busy AS (SELECT customer, store, max("at") AS last FROM orders WHERE customer IS NOT NULL GROUP BY ALL)
  SELECT last + step AS as_of, customer, busy.store AS home, quotes.store AS away
  FROM busy JOIN quotes ON quotes."at" = last CROSS JOIN generate_series(1, 3) steps(step)`;

const spineOf = (text: string): SpineSpec => ({
  ...SPINE,
  source: 'orders',
  request: [],
  sql: { text, sources: ['orders', 'quotes'] },
});

async function aDuckDb(): Promise<DuckDb> {
  const tempDir = await mkdtemp(join(tmpdir(), 'serin-spine-'));
  const duckdb = await DuckDb.open({ memory: '300MB', threads: 1, tempDir });
  onTestFinished(() => duckdb.close());
  return duckdb;
}

async function aBuild(duckdb: DuckDb, blobs: FolderOfBlobs, text: string): Promise<BuildDatasetInput> {
  const workDir = await mkdtemp(join(tmpdir(), 'serin-spine-'));
  return {
    project: shopProject({ spine: spineOf(text), label: AGAIN }),
    projectDigest: 'p',
    model: 'shop',
    featureSet: 'inputs@1',
    split: { trainFrom: 0, testFrom: 30, testTo: 45, trainRows: null, testRows: null },
    seed: 1,
    logFiles: await writeWorld(duckdb, blobs, randomWorld(21)),
    knowledgeCut: { at: 50, seq: { orders: 1000, quotes: 1000, visits: 1000 } },
    blobs,
    workDir,
    duckdb: { memory: '300MB', threads: 2, tempDir: workDir },
    threads: 1,
  };
}

test(
  'a query gives the rows, of what is known at the cut, the same bytes every time',
  { timeout: 180_000 },
  async () => {
    const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
    const input = await aBuild(duckdb, blobs, QUERY);
    const { manifest, manifestRef } = await buildDataset(input);
    const rows = await duckdb.rows(
      `SELECT as_of, customer, home, away, split, label_status FROM read_parquet(${textSql(await blobs.localPath(manifest.file))})`,
    );

    // the same query over rows that are chosen here: the newest version known by then, without those taken back
    const world = randomWorld(21);
    const standing = <T extends Record<string, unknown>>(
      all: readonly T[],
      id: (row: T) => string,
      gone: (row: T) => boolean,
    ) => {
      const newest = new Map<string, { row: T; order: number }>();
      all.forEach((row, i) => {
        if (row['what'] === 'forget' || (row['known'] as number) > 50) return;
        const order = (row['known'] as number) * 1000 + i;
        if (order > (newest.get(id(row))?.order ?? -Infinity)) newest.set(id(row), { row, order });
      });
      return [...newest.values()].map(({ row }) => row).filter((row) => !gone(row));
    };
    const orders = standing(
      world.orders,
      (row) => row['id'] as string,
      (row) => row['what'] === 'cancel',
    );
    const quotes = standing(
      world.quotes,
      (row) => `${String(row['store'])} ${String(row['at'])}`,
      () => false,
    );
    const last = new Map<string, { customer: unknown; store: unknown; last: number }>();
    for (const { customer, store, at } of orders) {
      if (customer === null) continue;
      const key = JSON.stringify([customer, store]);
      last.set(key, { customer, store, last: Math.max(at as number, last.get(key)?.last ?? -Infinity) });
    }
    const expected = [...last.values()].flatMap((busy) =>
      quotes
        .filter(({ at }) => at === busy.last)
        .flatMap((quote) =>
          [1, 2, 3].map((step) => ({
            as_of: busy.last + step,
            customer: busy.customer,
            home: busy.store,
            away: quote['store'],
          })),
        )
        .filter((row) => row.as_of >= 0 && row.as_of < 45),
    );
    const sorted = (all: readonly object[]) => all.map((row) => JSON.stringify(row)).toSorted();
    expect(expected.length).toBeGreaterThan(20);
    expect(sorted(rows.map(({ as_of, customer, home, away }) => ({ as_of, customer, home, away })))).toEqual(
      sorted(expected),
    );
    expect(new Set(rows.map((row) => row['split']))).toEqual(new Set(['TRAIN', 'PURGED', 'TEST']));
    expect(Object.keys(manifest.inputs).toSorted()).toEqual(['orders', 'quotes', 'visits']);
    expect((await buildDataset(input)).manifestRef).toEqual(manifestRef);
  },
);

test.each([
  ['SELECT 1 AS as_of; SELECT 2 AS as_of', 'must be one SELECT'],
  ['DROP TABLE orders', 'must be one SELECT (Only SELECT statements can be serialized to json!)'],
  ['SELECT "at" AS as_of FROM visits', 'reads "visits", which is not one of its sources: orders, quotes'],
  ["SELECT 1 AS as_of FROM '/etc/passwd'", 'reads "/etc/passwd", which is not one of its sources'],
  ["SELECT 1 AS as_of FROM read_text('/etc/passwd')", 'calls read_text(), which reads something else than its sources'],
  [
    "SELECT 1 AS as_of FROM orders WHERE id IN (SELECT * FROM query('SELECT 1'))",
    'calls query(), which reads something',
  ],
  ['SELECT 1 AS as_of FROM information_schema.tables', 'reads "information_schema.tables"'],
  ['SELECT "at" + CAST(random() * 10 AS BIGINT) AS as_of FROM orders', 'calls random(), which does not give the same'],
  ['SELECT epoch_us(now()) AS as_of FROM orders', 'calls now(), which does not give the same every time'],
  ['SELECT epoch_us(current_timestamp) AS as_of FROM orders', 'which does not give the same every time'],
  ['SELECT "at" AS as_of FROM orders USING SAMPLE 10', 'draws a sample'],
  ['SELECT "at" AS as_of FROM (SELECT * FROM orders TABLESAMPLE 10%)', 'draws a sample'],
])('%s is refused', async (text, fault) => {
  await expect(checkSpineQuery(await aDuckDb(), spineOf(text))).rejects.toMatchObject({
    code: 'SPEC_INVALID',
    message: expect.stringContaining(fault) as string,
  });
});

test.each([
  [
    'SELECT "at" AS as_of, customer, store AS home FROM orders',
    'gives no column "away"; it gives as_of, customer, home',
  ],
  [
    'SELECT "at" AS as_of, customer, store AS home, 1 AS away FROM orders',
    'gives "away" as INTEGER, but it must be a str (VARCHAR): cast it',
  ],
  [
    'SELECT make_timestamp("at") AS as_of, customer, store AS home, store AS away FROM orders',
    'gives "as_of" as TIMESTAMP, but it must be a ts, whole microseconds as BIGINT: cast it',
  ],
  ['SELECT nothing FROM orders', 'does not run: Binder Error'],
])('%s: what it gives is checked by name and type', async (text, fault) => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  await expect(buildDataset(await aBuild(duckdb, blobs, text))).rejects.toMatchObject({
    code: 'SPEC_INVALID',
    message: expect.stringContaining(fault) as string,
  });
});

test('a label without a window has no event to belong to', async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const input = await aBuild(duckdb, blobs, QUERY);
  const { window: _, ...label } = AGAIN;
  const project = shopProject({ spine: spineOf(QUERY), label: { ...label, source: ORDERS.name } });
  await expect(buildDataset({ ...input, project })).rejects.toMatchObject({
    code: 'SPEC_INVALID',
    message: expect.stringContaining('give it a window') as string,
  });
});

test('a query that would run for ever ends with the build', { timeout: 180_000 }, async () => {
  const [duckdb, blobs] = [await aDuckDb(), new FolderOfBlobs()];
  const endless = `SELECT count(*) AS as_of, 'a' AS customer, 'b' AS home, 'c' AS away
    FROM range(10000000) a(x), range(10000000) b(y) WHERE x * y % 7 = 3`;
  const controller = new AbortController();
  const building = buildDataset({ ...(await aBuild(duckdb, blobs, endless)), signal: controller.signal });
  // the query runs in a thread and gives no sign of having begun; it would need days, so a second is in the midst of it
  setTimeout(() => controller.abort(), 1_000).unref();
  await expect(building).rejects.toMatchObject({ code: 'CANCELLED' });
});
