/** What goes on beside the workflow: the API, and batches that are under way when a key is blocked. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Beating } from '../../activities/heartbeat.ts';
import { createIngestion } from '../../activities/ingest-batch.ts';
import { createLogUpkeep } from '../../activities/log-upkeep.ts';
import { getForgetRequest } from '../../db/forget-requests.ts';
import { blockKey, removeFromBuffer } from '../../db/forget-rows.ts';
import { keyDigest } from '../../db/forgotten-keys.ts';
import { bufferEvents, listLogFiles } from '../../db/ingest.ts';
import { putProject } from '../../db/projects.ts';
import { createSourceContract } from '../../db/source-contracts.ts';
import type { ProjectSpec, SourceSpec } from '../../domain/project/spec.ts';
import { DuckDb, textSql } from '../../features/offline/duckdb.ts';
import { forgottenSql } from '../../features/offline/forget-rows.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import { type ApiFixture, type Caller, createApiFixture } from '../setup/api-fixture.ts';

let api: ApiFixture;
let operator: Caller;
let workDir: string;
let blobs: HookedBlobs;
let ingestion: ReturnType<typeof createIngestion>;

/** Does something when a file of a batch is about to be stored: the batch was read, and is no part of the log. */
class HookedBlobs extends FileBlobStore {
  beforeFile: (() => Promise<void>) | null = null;

  override async putFile(path: string): ReturnType<FileBlobStore['putFile']> {
    const hook = this.beforeFile;
    this.beforeFile = null;
    await hook?.();
    return super.putFile(path);
  }
}
const BEATING: Beating = { signal: new AbortController().signal, progress: () => undefined };

const ORDERS: SourceSpec = {
  name: 'orders',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'id', type: 'i64', nullable: false, pii: false, description: '' },
    { name: 'customer', type: 'str', nullable: true, pii: true, description: '' },
    { name: 'branch', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'vip', type: 'bool', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: { op: 'column', name: 'at' },
  eventId: ['id'],
  freshnessSlaSeconds: 60,
};
const PROJECT = {
  name: 'shop',
  sources: [ORDERS],
  entities: [
    { name: 'customer', keys: [{ name: 'customer', type: 'str' }], description: '' },
    { name: 'branch', keys: [{ name: 'branch', type: 'i64' }], description: '' },
  ],
  views: [],
  featureSets: [],
  spines: [],
  labels: [],
  models: [],
} as unknown as ProjectSpec;

beforeAll(async () => {
  api = await createApiFixture();
  operator = await api.as('operator', 'grace');
  workDir = await mkdtemp(join(tmpdir(), 'serin-forgetting-'));
  blobs = new HookedBlobs(join(workDir, 'blobs'));
  const { db, pool } = api.database;
  await putProject(db, { spec: PROJECT, digest: 'one', bundleSha256: null, by: 'tests', at: 1 });
  const dependencies = {
    db,
    pool,
    blobs,
    config: { workDir, duckdbMemory: '500MB', duckdbThreads: 1 },
    logger: pino({ level: 'silent' }),
    now: () => 1,
  };
  ingestion = createIngestion(dependencies, createLogUpkeep(dependencies));
});
afterAll(async () => {
  await api.close();
  await rm(workDir, { recursive: true, force: true });
});

describe('a request to forget', () => {
  const ask = (body: object, path = '/v1/entities/customer/forget', as = operator) => as.send('POST', path, body);
  const body = { key: { customer: 'walter' }, reason: 'asked to, ticket 1', requestId: 'ticket-1' };

  test('starts the workflow under its id, with nothing of the key', async () => {
    expect(await ask(body)).toMatchObject({ status: 202, body: { workflowId: 'forget/ticket-1', status: 'running' } });
    const started = api.workflows.started.find(({ workflowId }) => workflowId === 'forget/ticket-1')!;
    expect(started).toMatchObject({ type: 'forgetEntity', input: { requestId: 'ticket-1' } });
    expect(JSON.stringify(started)).not.toContain('walter');
    expect(await getForgetRequest(api.database.db, 'ticket-1')).toMatchObject({
      key: { customer: 'walter' },
      actor: 'grace',
    });
  });

  test('is shown without the key', async () => {
    const { status, body: shown } = await operator.get('/v1/forget-requests/ticket-1');
    expect(status).toBe(200);
    expect(shown).toMatchObject({
      id: 'ticket-1',
      project: 'shop',
      entity: 'customer',
      finishedAt: null,
      report: null,
    });
    expect(JSON.stringify(shown)).not.toContain('walter');
    expect(await operator.get('/v1/forget-requests/nothing')).toMatchObject({ status: 404 });
  });

  test('sent again is the same one; for another key its id is taken', async () => {
    expect((await ask(body)).status).toBe(202);
    expect(await ask({ ...body, key: { customer: 'c2' } })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('another key') },
    });
  });

  test('is refused for what is no key, no entity, no project, and to those who may not', async () => {
    expect(await ask({ ...body, key: {} })).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('"customer"') },
    });
    expect(await ask(body, '/v1/entities/plane/forget')).toMatchObject({
      status: 404,
      body: { code: 'ENTITY_NOT_FOUND' },
    });
    expect(await ask({ ...body, project: 'none' })).toMatchObject({ status: 404, body: { code: 'PROJECT_NOT_FOUND' } });
    const engineer = await api.as('engineer', 'ada');
    expect(await ask(body, undefined, engineer)).toMatchObject({ status: 403 });
  });
});

const row = (id: number, customer: string | null) => ({ at: '2001-01-01T00:00:00Z', id, customer });

async function fileOf(name: string, rows: readonly object[]) {
  const path = join(workDir, `${name}.jsonl`);
  await writeFile(path, rows.map((each) => `${JSON.stringify(each)}\n`).join(''));
  return { source: ORDERS, keys: [], batchId: name, input: { path, format: 'jsonl' as const } };
}

const block = (customer: string) =>
  api.database.db
    .transaction()
    .execute((tx) => blockKey(tx, ORDERS, { keys: [['customer']], values: [customer] }, { requestId: 'r', at: 1 }));

/** Parquet files of the blob store with the customer in them, named by something or not. */
async function filesWith(customer: string): Promise<number> {
  const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir: workDir });
  try {
    let found = 0;
    for (const entry of await readdir(join(workDir, 'blobs', 'sha256'), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = textSql(join(entry.parentPath, entry.name));
      const [count] = await duckdb
        .rows(`SELECT count(*) AS n FROM read_parquet(${path}) WHERE customer = ${textSql(customer)}`)
        .catch(() => [{ n: 0 }]); // no Parquet file
      found += Number(count!['n']);
    }
    return found;
  } finally {
    duckdb.close();
  }
}

test('a push says how many of its events were left out as forgotten', async () => {
  await block('j');
  const events = [row(20, 'j'), row(21, 'k')];
  const push = () => operator.send('POST', '/v1/sources/orders/events', { events });
  expect(await push()).toMatchObject({ status: 200, body: { accepted: 1, added: 1, forgotten: 1, rejected: [] } });
  expect(await push()).toMatchObject({ status: 200, body: { accepted: 1, added: 0, forgotten: 1 } });
});

describe('a key that is blocked while a batch is under way', () => {
  test('is not in the log afterwards when the batch was a file, nor in a file that was written in vain', async () => {
    blobs.beforeFile = () => block('f');
    const batch = await fileOf('racing', [row(1, 'f'), row(2, 'g'), row(3, null)]);
    const result = await ingestion.ingestFromFile(batch, BEATING);
    expect(result).toMatchObject({ rowsIn: 3, rowsAccepted: 2, quarantined: { FORGOTTEN: 1 } });
    expect(await filesWith('f')).toBe(0);
    expect(await filesWith('g')).toBe(1);
  });

  test('makes a flush of the buffer fail, to be tried again with what is left in it', async () => {
    const { db } = api.database;
    const contract = createSourceContract(ORDERS, []);
    const index = openEventIndex(blobs);
    const events = [row(10, 'h'), row(11, 'i')].map((each) => {
      const admission = contract.admit(each, 1);
      if (!admission.ok) throw new Error(JSON.stringify(admission.reasons));
      return admission.event;
    });
    const { lastSeq } = await db.transaction().execute((tx) => bufferEvents(tx, 'orders', events, index));
    index.close();
    const before = await listLogFiles(db, 'orders');
    blobs.beforeFile = () => block('h');
    const flush = { source: ORDERS, batchId: `pushed-${lastSeq}`, upToSeq: lastSeq };
    await expect(ingestion.ingestPushed(flush, BEATING)).rejects.toThrow('forgotten meanwhile');
    expect(await listLogFiles(db, 'orders')).toEqual(before);
    expect(await filesWith('h')).toBe(0);

    await db.transaction().execute((tx) => removeFromBuffer(tx, 'r', ORDERS, { keys: [['customer']], values: ['h'] }));
    // the one of the test before, and the one that is left here
    expect(await ingestion.ingestPushed(flush, BEATING)).toMatchObject({ rowsIn: 2 });
    expect([await filesWith('h'), await filesWith('i')]).toEqual([0, 1]);
  });
});

test('a digest is the same in SQL and out of it, and null is no key', async () => {
  const duckdb = await DuckDb.open({ memory: '500MB', threads: 1, tempDir: workDir });
  const names = ['customer', 'branch', 'vip'];
  const columns = names.map((name) => ORDERS.columns.find((each) => each.name === name)!);
  const key = fc.record({
    customer: fc
      .oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('', "o'b", '🛫', '1'))
      .filter((text) => !text.includes('\0')),
    branch: fc.maxSafeInteger(),
    vip: fc.boolean(),
  });
  const sqlOf = ({ customer, branch, vip }: { customer: string | null; branch: number; vip: boolean }): string =>
    `SELECT ${customer === null ? 'NULL' : textSql(customer)}::VARCHAR AS customer, ${branch}::BIGINT AS branch, ${vip} AS vip`;
  try {
    await fc.assert(
      fc.asyncProperty(key, async (one) => {
        const digests = new Set([keyDigest(columns, one, 'salt')]);
        const match = forgottenSql(ORDERS, { columns: names, salt: 'salt', digests });
        const others = [
          { ...one, customer: `${one.customer}x` },
          { ...one, branch: -one.branch - 1 },
          { ...one, vip: !one.vip },
          { ...one, customer: null },
        ];
        const rows = await duckdb.rows(
          [one, ...others]
            .map((each, i) => `SELECT ${i} AS i, ${match} AS hit FROM (${sqlOf(each)})`)
            .join(' UNION ALL ') + ' ORDER BY i',
        );
        expect(rows.map(({ hit }) => hit)).toEqual([true, false, false, false, false]);
      }),
      { numRuns: 100, seed: 4 },
    );
  } finally {
    duckdb.close();
  }
});
