/** Needs the compiled thread: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { buildDataset } from './dataset.ts';
import { diffDatasets } from './dataset-diff.ts';
import { explainRow, type OpenDataset } from './dataset-explanation.ts';
import { DuckDb } from './duckdb.ts';
import {
  column,
  FolderOfBlobs,
  shopProject,
  SOURCES,
  SPINE,
  type World,
  type WorldRow,
  writeLog,
} from './testing/shop-world.ts';

const order = (rest: WorldRow): WorldRow => ({
  id: 'o1',
  customer: 'a',
  store: 's',
  amount: 5,
  price: 1.5,
  vip: true,
  ...rest,
});
const visit = (id: string, at: number, rest: WorldRow = {}): WorldRow => ({
  id,
  at,
  known: at + 2,
  customer: 'a',
  home: 's',
  away: 't',
  minutes: 3,
  bought: true,
  ...rest,
});

/** What was known at first, and what came after. */
const FIRST: World = {
  orders: [
    order({ at: 1, known: 1 }),
    order({ at: 4, known: 4, id: 'o2', amount: 7 }),
    order({ at: 5, known: 6, id: 'o1', amount: 6 }),
    order({ at: 8, known: 8, id: 'o3', amount: 1 }),
    order({ at: 8, known: 9, id: 'o3', what: 'cancel' }),
    order({ at: 3, known: 3, id: 'o4', customer: 'c' }),
    order({ at: 3, known: 10, id: 'o4', customer: 'd' }),
  ],
  quotes: [{ at: 2, known: 2, store: 's', quote: 4 }],
  visits: [visit('v1', 10), visit('v2', 12, { customer: 'c' }), visit('v3', 30), visit('v4', 35)],
};
const LATER: World = {
  orders: [order({ at: 7, known: 9, id: 'o5', amount: 11 }), order({ at: 2, known: 29, id: 'x', what: 'forget' })],
  quotes: [{ at: 2, known: 3, store: 's', quote: 8 }],
  visits: [visit('v5', 10, { known: 11, customer: 'c', bought: false })],
};

interface Built {
  readonly duckdb: DuckDb;
  readonly before: OpenDataset;
  readonly after: OpenDataset;
}

async function built(project: ProjectSpec = shopProject(), worlds: readonly World[] = [FIRST, LATER]): Promise<Built> {
  const tempDir = await mkdtemp(join(tmpdir(), 'serin-diff-'));
  const open = async (): Promise<DuckDb> => {
    const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir });
    onTestFinished(() => duckdb.close());
    return duckdb;
  };
  const [duckdb, writer, blobs] = [await open(), await open(), new FolderOfBlobs()];
  const logs: Record<string, LogFile[]> = {};
  const seq: Record<string, number> = {};
  const datasets: OpenDataset[] = [];
  for (const world of worlds) {
    for (const source of SOURCES) {
      const rows = world[source.name as keyof World];
      const first = (seq[source.name] ?? 0) + 1;
      logs[source.name] = [...(logs[source.name] ?? []), await writeLog(writer, blobs, source, rows, first)];
      seq[source.name] = first + rows.length - 1;
    }
    const { manifest, manifestRef } = await buildDataset({
      project,
      projectDigest: 'p',
      model: 'shop',
      featureSet: 'inputs@1',
      seed: 1,
      logFiles: logs,
      blobs,
      split: { trainFrom: 0, testFrom: 25, testTo: 40, trainRows: null, testRows: null },
      knowledgeCut: { at: 50, seq: { ...seq } },
      workDir: tempDir,
      duckdb: { memory: '500MB', threads: 1, tempDir },
      threads: 1,
    });
    const opened: Record<string, { paths: string[]; rows: number }> = {};
    for (const [source, files] of Object.entries(logs)) {
      opened[source] = { paths: await Promise.all(files.map(({ blob }) => blobs.localPath(blob))), rows: 1 };
    }
    const path = await blobs.localPath(manifest.file);
    datasets.push({ digest: manifestRef.sha256, manifest, project, path, logs: opened });
  }
  return { duckdb, before: datasets[0]!, after: datasets[1]! };
}

test('the events behind each value of a row are named, and those that were left out with what did it', async () => {
  const { duckdb, before } = await built();
  const explained = await explainRow(duckdb, before, 1);
  expect(explained).toMatchObject({
    row: 1,
    asOf: 10,
    split: 'TRAIN',
    request: { customer: 'a', home: 's', away: 't' },
    label: { name: 'bought', value: 1, status: 'VALUE', events: [{ source: 'visits', seq: 1 }] },
  });
  const of = (name: string) => explained.features.find(({ feature }) => feature === name)!;
  expect(of('customer__orders__w')).toMatchObject({
    kind: 'view',
    view: 'customer_orders@1',
    value: 2,
    status: 'present',
    window: { start: 0, end: 10 },
    count: 2,
    events: [{ seq: 3 }, { seq: 2 }],
    first: { source: 'orders', seq: 2, eventAt: 4, operation: 'put' },
    leftOut: [
      { event: { seq: 4 }, because: 'retracted', by: { seq: 5, operation: 'retract' } },
      { event: { seq: 1 }, because: 'superseded', by: { seq: 3 } },
    ],
  });
  expect(of('customer__amount')).toMatchObject({
    value: 6,
    window: null,
    count: 1,
    events: [{ seq: 3 }],
    leftOut: [
      { event: { seq: 4 }, because: 'retracted' },
      { event: { seq: 1 }, because: 'superseded' },
    ],
  });
  expect(of('customer__price__w')).toMatchObject({ value: 1.5, count: 2 });
  expect(of('quote_gap')).toEqual({
    kind: 'derived',
    feature: 'quote_gap',
    value: null,
    reads: { home__quote: 4, away__quote: null },
  });

  const moved = await explainRow(duckdb, before, 2);
  expect(moved.features.find(({ feature }) => feature === 'customer__orders__w')).toMatchObject({
    value: 0,
    count: 0,
    events: [],
    first: null,
    leftOut: [{ event: { seq: 6 }, because: 'moved', by: { seq: 7, operation: 'put' } }],
  });
  await expect(explainRow(duckdb, before, 77)).rejects.toMatchObject({
    code: 'INPUT_INVALID',
    message: expect.stringContaining('has no row 77; its 4 rows have ids from 1 to 4'),
  });
});

test('what changed between two datasets is counted by column, each sampled cell with the events that came between', async () => {
  const { duckdb, before, after } = await built();
  const diff = await diffDatasets(duckdb, before, after);
  expect(diff).toMatchObject({
    before: { digest: before.digest, rows: 4 },
    after: { digest: after.digest, rows: 5 },
    common: 4,
    added: { rows: 1, samples: [5] },
    removed: { rows: 0, samples: [] },
  });
  const changed = Object.fromEntries(diff.columns.map((each) => [each.column, each]));
  expect(changed['customer__orders__w']).toEqual({
    column: 'customer__orders__w',
    changed: 1,
    samples: [
      {
        row: 1,
        asOf: 10,
        before: 2,
        after: 3,
        eventCount: 1,
        events: [expect.objectContaining({ source: 'orders', seq: 8, eventAt: 7, availableAt: 9, operation: 'put' })],
      },
    ],
  });
  // the tombstone reaches only the rows before it, of which none stands; the visits of later see the customer's spending grow
  expect(changed['customer__spent__ever']).toMatchObject({
    changed: 3,
    samples: [
      { row: 1, before: 13, after: 24, events: [{ seq: 8 }] },
      { row: 3, before: 13, after: 24, events: [{ seq: 9, operation: 'tombstone' }, { seq: 8 }] },
      { row: 4 },
    ],
  });
  // a correction of a quote, and what is derived from it
  expect(changed['home__quote']!.samples[0]).toMatchObject({
    before: 4,
    after: 8,
    events: [{ source: 'quotes', seq: 2 }],
  });
  expect(changed['visits__visits__w']).toMatchObject({
    changed: 1,
    samples: [{ row: 2, before: 0, after: 1, events: [{ source: 'visits', seq: 5 }] }],
  });
  expect(changed['label']).toBeUndefined();
  expect(changed['away__quote']).toBeUndefined();
});

test('a row whose own event was corrected says so, in the label and in what it asks', async () => {
  const project = shopProject({
    spine: {
      ...SPINE,
      source: 'orders',
      request: ['customer', 'home', 'away'].map((name) => ({
        name,
        value: column(name === 'customer' ? name : 'store'),
      })),
    },
    label: { name: 'amount', source: 'orders', of: column('amount'), description: '' },
  });
  const orders = [order({ at: 5, known: 6 }), order({ at: 30, known: 31, id: 'o2' })];
  const { duckdb, before, after } = await built(project, [
    { ...FIRST, orders },
    { ...LATER, orders: [order({ at: 5, known: 20, customer: 'b', amount: 9 })] },
  ]);
  const diff = await diffDatasets(duckdb, before, after);
  const correction = { source: 'orders', seq: 3, operation: 'put' };
  expect(diff).toMatchObject({ common: 2, added: { rows: 0 }, removed: { rows: 0 } });
  expect(diff.columns.filter(({ column: name }) => ['label', 'label_status', 'customer'].includes(name))).toMatchObject(
    [
      { column: 'label', changed: 1, samples: [{ row: 1, before: 5, after: 9, events: [correction] }] },
      { column: 'customer', changed: 1, samples: [{ row: 1, before: 'a', after: 'b', events: [correction] }] },
    ],
  );
});

test('datasets of different plans are not compared', async () => {
  const { duckdb, before } = await built();
  await expect(
    diffDatasets(duckdb, before, { ...before, manifest: { ...before.manifest, label: 'other' } }),
  ).rejects.toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining('has the label "bought" and') });
});
