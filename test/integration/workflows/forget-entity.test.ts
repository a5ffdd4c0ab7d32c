/** Needs the compiled workflows and dataset thread, which the set-up builds. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Activities, createActivities } from '../../../activities/activities.ts';
import { createDatasetBuilds } from '../../../activities/dataset-builds.ts';
import { createIngestion } from '../../../activities/ingest-batch.ts';
import type { Beating } from '../../../activities/heartbeat.ts';
import { createMaterialization } from '../../../activities/materialization.ts';
import { createLogUpkeep } from '../../../activities/log-upkeep.ts';
import { connectDatabase, type Database } from '../../../db/database.ts';
import { listDecisions, verifyDecisions } from '../../../db/decisions.ts';
import { getForgetRequest, putForgetRequest } from '../../../db/forget-requests.ts';
import { bufferEvents, getLastSequence, listLogFiles, readBuffer } from '../../../db/ingest.ts';
import { takeIn } from '../../../db/kafka.ts';
import { listRetiredFiles } from '../../../db/log-compaction.ts';
import { putOutcomes } from '../../../db/outcomes.ts';
import { insertPredictions } from '../../../db/predictions.ts';
import { putProject } from '../../../db/projects.ts';
import { getDataset } from '../../../db/runs.ts';
import { createSourceContract } from '../../../db/source-contracts.ts';
import { FORGET_PLACES, type ForgetReport } from '../../../domain/features/forget-report.ts';
import { keysOfSource } from '../../../domain/features/row-contract.ts';
import { formatTime } from '../../../domain/features/time-text.ts';
import type { ModelSpec, ProjectSpec, SourceSpec, TrainingSpec } from '../../../domain/project/spec.ts';
import { versioned } from '../../../domain/project/spec.ts';
import { compileView } from '../../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../../features/kernel/key-encoding.ts';
import { DuckDb, textSql } from '../../../features/offline/duckdb.ts';
import { logRelationSql } from '../../../features/offline/log-relation.ts';
import {
  randomWorld,
  shopProject,
  SOURCES,
  VIEWS,
  type WorldRow,
} from '../../../features/offline/testing/shop-world.ts';
import { createPostgresStore } from '../../../features/online/postgres-store.ts';
import { createViewReader } from '../../../features/reader/view-reader.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import { openEventIndex } from '../../../platform/event-index.ts';
import { FileBlobStore } from '../../../platform/file-blob-store.ts';
import {
  type FilledShadow,
  type ForgetEntityInput,
  type ShadowBuild,
  TASK_QUEUE_CONTROL,
} from '../../../workflows/messages.ts';
import { within } from '../../setup/eventually.ts';
import { createTestDatabase } from '../../setup/test-database.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

const TRAINING = {
  name: 'plain',
  featureSet: 'inputs@1',
  seed: 1,
  split: { trainFrom: 0, testFrom: 30, testTo: 60, trainRows: null, testRows: null },
} as TrainingSpec;

/** Customers and stores; what an order is of may be corrected, so rows move between both. */
function twoEntities(): ProjectSpec {
  const shop = shopProject();
  const rule = { featureSet: 'inputs@1', expression: { op: 'literal', value: 0 } };
  return {
    ...shop,
    entities: [
      ...['customer', 'store'].map((name) => ({ name, keys: [{ name, type: 'str' as const }], description: '' })),
      { name: 'everything', keys: [], description: '' },
    ],
    views: VIEWS.map((view) => ({ ...view, entity: view.key[0] ?? 'everything' })),
    models: [{ ...shop.models[0]!, rule, trainings: [TRAINING] } as unknown as ModelSpec],
  };
}

const PROJECT = twoEntities();
const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };
const FORGOTTEN = 'a';
const ASKED_AT = 70;
const OTHERS = ['b', 'ab', '', 'c', 's', 't', "o'b"];

let temporal: TemporalFixture;
beforeAll(async () => {
  temporal = await startTemporalFixture();
});
afterAll(() => temporal.stop());

interface Shop {
  readonly database: Database;
  readonly store: OnlineStore;
  readonly blobs: FileBlobStore;
  readonly workDir: string;
  readonly activities: Activities;
  readonly materialization: ReturnType<typeof createMaterialization>;
  readonly dataset: string;
  forget(id: string): Promise<ForgetReport>;
  push(source: SourceSpec, rows: readonly WorldRow[]): Promise<number>;
  ingest(source: SourceSpec, rows: readonly WorldRow[], batchId: string): Promise<Readonly<Record<string, number>>>;
  readonly query: <T>(sql: string) => Promise<T[]>;
  close(): Promise<void>;
}

const sent = (row: WorldRow): Record<string, unknown> => ({
  ...row,
  at: formatTime(row['at'] as number),
  known: formatTime(row['known'] as number),
});

/** A shop with the forgotten customer in every place. */
async function aShop(blobsOf = (root: string) => new FileBlobStore(root)): Promise<Shop> {
  const database = connectDatabase(await createTestDatabase(), { name: 'forget-test', max: 8 });
  const { db, pool } = database;
  const workDir = await mkdtemp(join(tmpdir(), 'serin-forget-'));
  const blobs = blobsOf(join(workDir, 'blobs'));
  const store = createPostgresStore(pool);
  const dependencies = {
    db,
    pool,
    blobs,
    onlineStore: store,
    config: { workDir, duckdbMemory: '500MB', duckdbThreads: 1, datasetThreads: 1 },
    logger: pino({ level: 'silent' }),
    now: () => 1_000_000,
  };
  const activities = createActivities(dependencies);
  const upkeep = createLogUpkeep(dependencies);
  const ingestion = createIngestion(dependencies, upkeep);
  const index = openEventIndex(blobs);
  await putProject(db, { spec: PROJECT, digest: 'the-digest', bundleSha256: null, by: 'tests', at: 1 });

  const push: Shop['push'] = (source, rows) => {
    const contract = createSourceContract(source, keysOfSource(PROJECT, source.name));
    const events = rows.flatMap((row) => {
      const admission = contract.admit(sent(row), 60);
      return admission.ok ? [admission.event] : [];
    });
    return db.transaction().execute(async (tx) => (await bufferEvents(tx, source.name, events, index)).added);
  };
  const ingest: Shop['ingest'] = async (source, rows, batchId) => {
    const path = join(workDir, `${source.name}-${batchId}.jsonl`);
    await writeFile(path, rows.map((row) => `${JSON.stringify(sent(row))}\n`).join(''));
    const input = { path, format: 'jsonl' } as const;
    return (await ingestion.ingestFromFile({ source, keys: [], batchId, input }, BEATING)).quarantined;
  };

  for (let batch = 0; batch < 10; batch++) {
    const world = randomWorld(100 + batch, { rows: 24 });
    for (const source of SOURCES) {
      const rows = world[source.name as keyof typeof world].map((row) => ({
        ...row,
        ...(row['id'] && source.name === 'visits' && { id: `${row['id']}-${batch}` }),
      }));
      await ingest(source, rows, `batch-${batch}`);
    }
  }
  const refused = { at: 1, known: 1, id: 'bad', customer: FORGOTTEN, amount: 'many' };
  await ingest(
    SOURCES[0]!,
    [refused, { ...refused, customer: 'b' }, { at: 3, known: 3, id: 'fine', customer: 'b', amount: 2 }],
    'refused',
  );
  await upkeep.compact(SOURCES[0]!, BEATING);
  expect(await listRetiredFiles(db, 'orders')).not.toEqual([]);

  const worker = await temporal.startWorkers(activities);
  try {
    await temporal.client.workflow.execute('materializeFeatures', {
      workflowId: `materialize/${randomUUID()}`,
      taskQueue: TASK_QUEUE_CONTROL,
      args: [{ project: 'shop', foldAt: 0 }],
    });
    const built = await temporal.client.workflow.execute('buildDataset', {
      workflowId: `dataset/${randomUUID()}`,
      taskQueue: TASK_QUEUE_CONTROL,
      args: [{ project: 'shop', projectDigest: 'the-digest', model: 'shop', training: 'plain' }],
    });
    // of orders and visits some wait in the buffer
    const late = randomWorld(200, { rows: 30 });
    for (const source of [SOURCES[0]!, SOURCES[2]!]) {
      const rows = late[source.name as 'orders' | 'visits'];
      // after all that is asked for here
      const later = rows.map((row) => ({ ...row, at: Number(row['at']) + 1_000, known: Number(row['known']) + 1_000 }));
      expect(await push(source, later)).toBeGreaterThan(10);
    }
    await takeIn(
      db,
      { topic: 'orders', topicId: 't', source: 'orders' },
      [
        {
          partition: 0,
          fromOffset: 0,
          nextOffset: 2,
          events: [],
          refused: [FORGOTTEN, 'zz'].map((customer, offset) => ({
            offset,
            reasons: [{ code: 'COLUMN_TYPE', column: 'amount', value: 'x', rule: 'number' }],
            value: JSON.stringify({ id: 7, customer: customer === FORGOTTEN ? 'a' : 'zz', store: 's' }),
          })),
        },
      ],
      { index, at: 1 },
    );
    await insertPredictions(
      db,
      ['a', 'b', 'a'].map((customer, i) => ({
        predictionId: `p${i}`,
        model: 'shop',
        version: 0,
        arm: 'champion' as const,
        rung: 'champion',
        epoch: 1,
        unit: `u${i}`,
        asOf: 1,
        answeredAt: 1,
        score: 0.5,
        sampleWeight: 1,
        features: [1],
        request: { customer, home: 's', away: null },
        latencyMicros: 1,
        error: null,
        known: null,
        reason: null,
        statuses: [],
        servedModel: null,
        redacted: [],
        traceId: null,
      })),
    );
    await putOutcomes(
      db,
      'shop',
      ['p0', 'p1', 'p2'].map((predictionId) => ({ predictionId, value: 1, observedAt: 2 })),
    );
    return {
      database,
      store,
      blobs,
      workDir,
      activities,
      materialization: createMaterialization(dependencies),
      dataset: (built as { digest: string }).digest,
      push,
      ingest,
      async forget(id) {
        const key = { customer: FORGOTTEN };
        const request = { project: 'shop', entity: 'customer', key, reason: 'asked to', actor: 'ada', requestedAt: 5 };
        await putForgetRequest(db, { id, ...request });
        return temporal.client.workflow.execute<(input: ForgetEntityInput) => Promise<ForgetReport>>('forgetEntity', {
          workflowId: `forget/${id}`,
          taskQueue: TASK_QUEUE_CONTROL,
          args: [{ requestId: id }],
        });
      },
      async query<T>(sql: string) {
        const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir: workDir });
        try {
          return (await duckdb.rows(sql)) as T[];
        } finally {
          duckdb.close();
        }
      },
      async close() {
        index.close();
        await database.close();
        await rm(workDir, { recursive: true, force: true });
      },
    };
  } finally {
    await worker.stop();
  }
}

/** The rows of a log but for those of the forgotten customer, as text. */
async function othersInLog({ database, blobs, query }: Shop, source: SourceSpec): Promise<string[]> {
  const files = await listLogFiles(database.db, source.name);
  const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
  const others = source.columns.some(({ name }) => name === 'customer')
    ? `WHERE op <> 1 AND customer IS DISTINCT FROM 'a'`
    : '';
  const rows = await query(
    `SELECT *, CAST(event_id AS VARCHAR) AS event_id FROM ${logRelationSql(paths, source)} ${others} ORDER BY ingest_seq`,
  );
  return rows.map((row) => JSON.stringify(row));
}

/** The rows of the dataset but for those of the forgotten customer. */
async function othersInDataset({ database, blobs, dataset, query }: Shop): Promise<readonly object[]> {
  const { file } = await getDataset(database.db, dataset);
  const path = await blobs.localPath(file);
  return query<object>(
    `SELECT * FROM read_parquet(${textSql(path)}) WHERE customer IS DISTINCT FROM 'a' ORDER BY row_id`,
  );
}

/** What requests get of every view, for each customer and store. */
async function answers(store: OnlineStore, keys: readonly string[]): Promise<Record<string, unknown>> {
  const all = VIEWS.filter(({ key }) => key.length === 1);
  const result: Record<string, unknown> = {};
  for (const view of PROJECT.views.filter((each) => all.some(({ name }) => name === each.name))) {
    const source = SOURCES.find(({ name }) => name === view.source)!;
    const entity = PROJECT.entities.find(({ name }) => name === view.entity)!;
    const reader = createViewReader(compileView(view, source, entity));
    for (const key of keys) {
      const bytes = encodeKey(entity.keys, [key])!;
      const { states } = await store.read([{ viewId: versioned(view), key: bytes }]);
      const state = (states[0] ?? null) === null ? null : reader.decode(states[0]!);
      result[`${view.name} ${key}`] = reader.read(state, ASKED_AT);
    }
  }
  return result;
}

/** Whether some stored file holds a row of the customer: every Parquet file is looked into, named by something or not. */
async function filesWith({ workDir, query }: Shop): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(workDir, 'blobs'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path)).subarray(0, 4).toString() !== 'PAR1') continue;
    const columns = await query<{ column_name: string }>(`DESCRIBE SELECT * FROM read_parquet(${textSql(path)})`);
    const names = columns.map(({ column_name: name }) => name);
    const condition = names.includes('customer')
      ? `customer = 'a'`
      : names.includes('row')
        ? `json_extract_string("row", '$.customer') = 'a'`
        : null;
    if (condition === null) continue;
    const [row] = await query<{ n: number }>(
      `SELECT count(*) AS n FROM read_parquet(${textSql(path)}) WHERE ${condition}`,
    );
    if (row!.n > 0) found.push(entry.name);
  }
  return found;
}

describe('an entity that is in every place', () => {
  let shop: Shop;
  let before: {
    logs: string[][];
    answers: Record<string, unknown>;
    files: readonly string[];
    dataset: readonly object[];
  };
  let report: ForgetReport;
  let stale: ShadowBuild & Pick<FilledShadow, 'generation'>;

  beforeAll(async () => {
    shop = await aShop();
    before = {
      logs: await Promise.all(SOURCES.map((source) => othersInLog(shop, source))),
      answers: await answers(shop.store, OTHERS),
      files: await filesWith(shop),
      dataset: await othersInDataset(shop),
    };
    // a build that has read the log, and is to take its view's place when the customer is gone
    const view = { project: 'shop', view: 'customer_orders@1' };
    const { shadowId } = await shop.materialization.open({ ...view, label: 'stale' });
    const build = { ...view, shadowId, upToSeq: await getLastSequence(shop.database.db, 'orders'), foldAt: 0 };
    stale = { ...build, ...(await shop.materialization.fill(build, BEATING)) };
    const worker = await temporal.startWorkers(shop.activities);
    report = await within('the entity is forgotten', shop.forget('first'), 300_000);
    await worker.stop();
  }, 480_000);
  afterAll(() => shop.close());

  test('is taken out of each place, and the scan finds none of it', () => {
    expect(report.places.map(({ place }) => place)).toEqual(FORGET_PLACES);
    for (const { place, removed, left } of report.places) {
      expect(left, place).toBe(0);
      expect(removed, place).toBeGreaterThan(0);
    }
    expect(report.blobsRemoved).toBeGreaterThan(3);
  });

  test('is in no stored file any more', async () => {
    expect(before.files.length).toBeGreaterThan(5);
    expect(await filesWith(shop)).toEqual([]);
  });

  test('leaves the rows of others in the log as they were', async () => {
    const after = await Promise.all(SOURCES.map((source) => othersInLog(shop, source)));
    SOURCES.forEach((source, i) => {
      const stood = after[i]!.filter((row) => before.logs[i]!.includes(row));
      expect(stood, source.name).toEqual(before.logs[i]);
    });
  });

  test('leaves what the store says of other customers, and of quotes, as it was: also where a row moved between them', async () => {
    const independent = (all: Record<string, unknown>) =>
      Object.entries(all).filter(([name]) => !name.startsWith('store_orders'));
    expect(independent(before.answers).length).toBeGreaterThan(8);
    expect(independent(await answers(shop.store, OTHERS))).toEqual(independent(before.answers));
  });

  test('gets what a key gets that was never seen', async () => {
    const values = (key: string, all: unknown) =>
      Object.entries(all as object).flatMap(([name, value]) => (name === `customer_orders ${key}` ? [value] : []));
    expect(values('a', await answers(shop.store, ['a']))).toEqual(
      values('nobody', await answers(shop.store, ['nobody'])),
    );
  });

  test('marks the dataset and leaves its manifest; its other rows are as they were', async () => {
    const { manifest, redacted, file } = await getDataset(shop.database.db, shop.dataset);
    const [count] = await shop.query<{ n: number }>(
      `SELECT count(*) AS n FROM read_parquet(${textSql(await shop.blobs.localPath(file))})`,
    );
    expect(redacted).toMatchObject({
      requestId: 'first',
      was: manifest.file.sha256,
      rowsRemoved: manifest.rows - count!.n,
    });
    expect(redacted!.rowsRemoved).toBeGreaterThan(0);
    expect(await shop.blobs.has(manifest.file)).toBe(false);
    expect(before.dataset.length).toBeGreaterThan(20);
    expect(await othersInDataset(shop)).toEqual(before.dataset);
  });

  test('leaves a dataset that says why it cannot be explained or built again', async () => {
    const builds = createDatasetBuilds({
      db: shop.database.db,
      blobs: shop.blobs,
      config: { workDir: shop.workDir, duckdbMemory: '500MB', duckdbThreads: 1 },
      now: () => 1,
    });
    const { signal } = new AbortController();
    const refusal = { code: 'DATASET_REDACTED', message: expect.stringContaining('request first') };
    await expect(builds.explain({ dataset: shop.dataset, row: 1 }, signal)).rejects.toMatchObject(refusal);
    await expect(
      builds.rebuild({ dataset: shop.dataset }, { signal, progress: () => undefined }, null),
    ).rejects.toMatchObject(refusal);
  });

  test('does not come back by a late push or a late file', async () => {
    const { db } = shop.database;
    const rows = ['a', 'b'].map((customer) => ({ at: 65, known: 65, id: `after-${customer}`, customer, amount: 3 }));
    expect(await shop.push(SOURCES[0]!, rows)).toBe(1);
    const [pushed] = await readBuffer(db, { source: 'orders', afterSeq: 0, limit: 1_000 }).then((all) =>
      all.filter(({ row }) => row['id'] === 'after-a' || row['id'] === 'after-b'),
    );
    expect(pushed!.row['customer']).toBe('b');
    const file = rows.map((row) => ({ ...row, id: `file-${row.id}` }));
    expect(await shop.ingest(SOURCES[0]!, file, 'late')).toEqual({ FORGOTTEN: 1 });
    expect(await filesWith(shop)).toEqual([]);
  });

  test('does not come back by a build that had read the log before', async () => {
    const ref = { viewId: 'customer_orders@1', key: encodeKey(PROJECT.entities[0]!.keys, [FORGOTTEN])! };
    expect((await shop.store.read([{ ...ref, viewId: stale.shadowId }])).states).not.toEqual([null]);
    await shop.materialization.swap(stale, BEATING);
    expect((await shop.store.read([{ ...ref, viewId: stale.shadowId }])).states, 'it was not put in place').not.toEqual(
      [null],
    );
    await shop.materialization.drop(stale, BEATING);
    expect((await shop.store.read([ref])).states).toEqual([null]);
  });

  test('is known by a digest alone afterwards, and the chain says what was done', async () => {
    const { db } = shop.database;
    const request = await getForgetRequest(db, 'first');
    expect(request).toMatchObject({ key: null, report });
    const [decision] = await listDecisions(db, { subject: 'entity/shop/customer' });
    expect(decision).toMatchObject({ kind: 'forgotten', actor: 'ada', payload: { keyDigest: request.keyDigest } });
    await verifyDecisions(db);
    const { events } = await temporal.client.workflow.getHandle('forget/first').fetchHistory();
    const payloads = [...JSON.stringify(events).matchAll(/"data":"([^"]+)"/g)].map(([, data]) =>
      Buffer.from(data!, 'base64').toString(),
    );
    expect(payloads.length).toBeGreaterThan(10);
    expect(payloads.filter((text) => text.includes(`"${FORGOTTEN}"`))).toEqual([]);
  });

  test('when it is forgotten again nothing is found and nothing changes', async () => {
    const { db } = shop.database;
    const files = await listLogFiles(db, 'orders');
    const worker = await temporal.startWorkers(shop.activities);
    const again = await within('the second run', shop.forget('second'), 150_000);
    await worker.stop();
    expect(again.places.map(({ removed, left }) => removed + left)).toEqual(FORGET_PLACES.map(() => 0));
    expect(again.blobsRemoved).toBe(0);
    expect(await listLogFiles(db, 'orders')).toEqual(files);
  });
});

test('killed before and after each step, and between a change and the removal of a file, it ends the same', async () => {
  const deaths = { after: Infinity };
  class DyingBlobs extends FileBlobStore {
    override async remove(ref: Parameters<FileBlobStore['remove']>[0]): Promise<void> {
      deaths.after -= 1;
      if (deaths.after === 0) throw new Error('killed before a file is removed');
      await super.remove(ref);
    }
  }
  const shop = await aShop((root) => new DyingBlobs(root));
  try {
    deaths.after = 3;
    const attempts = new Map<string, number>();
    const dying = Object.fromEntries(
      Object.entries(shop.activities).map(([name, act]) => [
        name,
        async (input: unknown) => {
          const attempt = (attempts.get(name) ?? 0) + 1;
          attempts.set(name, attempt);
          if (attempt === 1) throw new Error(`killed before ${name}`);
          const result: unknown = await (act as (input: unknown) => Promise<unknown>)(input);
          if (attempt === 2) throw new Error(`killed after ${name}`);
          return result;
        },
      ]),
    ) as unknown as Activities;
    const worker = await temporal.startWorkers(dying);
    const report = await within('the entity is forgotten', shop.forget('dying'), 300_000);
    await worker.stop();
    expect([...attempts.values()].every((count) => count >= 3)).toBe(true);
    for (const { place, removed, left } of report.places) {
      expect(left, place).toBe(0);
      expect(removed, place).toBeGreaterThan(0);
    }
    expect(await filesWith(shop)).toEqual([]);
    expect((await listDecisions(shop.database.db, { subject: 'entity/shop/customer' })).length).toBe(1);
  } finally {
    await shop.close();
  }
}, 480_000);
