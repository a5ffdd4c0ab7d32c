import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertPredictions } from '../../db/predictions.ts';
import { readBuffer } from '../../db/ingest.ts';
import { takeIn } from '../../db/kafka.ts';
import { type ApiFixture, type Caller, createApiFixture, NOW } from '../setup/api-fixture.ts';

let api: ApiFixture;
let engineer: Caller;
let operator: Caller;
beforeAll(async () => {
  api = await createApiFixture();
  [engineer, operator] = [await api.as('engineer', 'ada'), await api.as('operator', 'grace')];
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
});
afterAll(() => api.close());

const flight = (overrides: object = {}) => ({
  date: '2001-06-01T06:10:00',
  delay: 12,
  distance: 600,
  origin: 'SEA',
  destination: 'SFO',
  ...overrides,
});

test('a project that is applied again changes nothing; its author and code are kept', async () => {
  const again = await engineer.send('POST', '/v1/projects', {
    spec: api.flights.spec,
    bundle: Buffer.from('code').toString('base64'),
  });
  expect(again).toMatchObject({
    status: 200,
    body: { project: 'flights', digest: api.flights.digest, created: false, models: ['flight-delay'] },
  });
  expect((await engineer.get('/v1/projects/flights')).body).toMatchObject({
    digest: api.flights.digest,
    appliedBy: 'ada',
  });
});

test('a spec with a reference to nothing is refused whole, naming the field', async () => {
  const broken = structuredClone(api.flights.spec) as unknown as { name: string; models: { spine: string }[] };
  broken.name = 'broken';
  broken.models[0]!.spine = 'nothing';
  const refused = await engineer.send('POST', '/v1/projects', { spec: broken });
  expect(refused).toMatchObject({
    status: 422,
    body: { code: 'REFERENCE_MISSING', detail: expect.stringContaining('nothing') },
  });
  expect((await engineer.get('/v1/projects/broken')).body.code).toBe('PROJECT_NOT_FOUND');
});

test('a source name of another project is refused', async () => {
  const refused = await engineer.send('POST', '/v1/projects', { spec: { ...api.flights.spec, name: 'other' } });
  expect(refused).toMatchObject({ status: 422, body: { code: 'DUPLICATE_NAME' } });
});

test('good events are kept, bad ones come back with their reasons, and a retried push adds nothing', async () => {
  const body = { events: [flight(), flight({ delay: '12' }), flight({ destination: 'JFK' }), flight({ tail: 'N1' })] };
  const first = await operator.send('POST', '/v1/sources/flights/events', body);
  expect(first).toMatchObject({
    status: 200,
    body: {
      accepted: 2,
      added: 2,
      rejected: [
        { index: 1, reasons: [{ code: 'COLUMN_TYPE', column: 'delay', value: '12' }] },
        { index: 3, reasons: [{ code: 'COLUMN_UNKNOWN', column: 'tail' }] },
      ],
    },
  });
  const second = await operator.send('POST', '/v1/sources/flights/events', body);
  expect(second.body).toMatchObject({ accepted: 2, added: 0 });
  const stored = await readBuffer(api.database.db, { source: 'flights', afterSeq: 0, limit: 10 });
  expect(stored).toHaveLength(2);
  // known when it has landed: 45 minutes, 600 miles at 7.5 a minute, and the delay
  expect(stored[0]).toMatchObject({
    eventAt: 991_375_800_000_000,
    availableAt: 991_375_800_000_000 + (45 + 80 + 12) * 60_000_000,
    clockAt: NOW,
  });
});

test('waiting for the online views answers as soon as they have applied the events, also after a retried push', async () => {
  const { db, pool } = api.database;
  await db
    .insertInto('view_progress')
    .values({ view_id: 'v@1', source: 'flights', applied_seq: 0, updated_at: 0 })
    .execute();
  const push = () =>
    operator.send('POST', '/v1/sources/flights/events?wait=applied', { events: [flight({ origin: 'LAX' })] });
  const waiting = push();
  // as the streamer does: the cursor, then the announcement
  for (let newest = 0; newest === 0;) {
    const { rows } = await pool.query<{ seq: number }>(`select seq from event_buffer where row ->> 'origin' = 'LAX'`);
    newest = rows[0]?.seq ?? 0;
    if (newest === 0) continue;
    await pool.query('update view_progress set applied_seq = $1', [newest]);
    await pool.query(`select pg_notify('serin_applied', 'flights')`);
  }
  expect((await waiting).body).toMatchObject({ added: 1, applied: true });
  expect((await push()).body).toMatchObject({ added: 0, applied: true });
  await db.deleteFrom('view_progress').execute();
});

test('an instant without a zone is refused by its field', async () => {
  const refused = await operator.send('POST', '/v1/sources/flights/events', {
    events: [flight()],
    clockAt: '2001-06-01T06:10:00',
  });
  expect(refused).toMatchObject({ status: 422, body: { code: 'TIME_NO_ZONE', field: 'body/clockAt' } });
});

test('more events than a request may hold, and events of an unknown source, are refused', async () => {
  const many = await operator.send('POST', '/v1/sources/flights/events', {
    events: Array.from({ length: 5_001 }, () => ({})),
  });
  expect(many).toMatchObject({ status: 400, body: { code: 'INPUT_INVALID' } });
  expect((await operator.send('POST', '/v1/sources/nothing/events', { events: [{}] })).body.code).toBe(
    'SOURCE_NOT_FOUND',
  );
});

test('a batch starts one workflow by its id, with the request that started it', async () => {
  const body = { batchId: '2001-01', path: '/data/x.parquet', format: 'parquet' };
  const answer = await engineer.send('POST', '/v1/sources/flights/batches', body, { 'x-request-id': 'req-7' });
  expect(answer).toMatchObject({
    status: 202,
    body: {
      workflowId: 'ingest/flights/2001-01',
      status: 'running',
      links: { temporal: 'http://temporal.test/namespaces/default/workflows/ingest%2Fflights%2F2001-01' },
    },
  });
  expect(api.workflows.started.at(-1)).toMatchObject({ type: 'ingestSource', requestId: 'req-7', again: 'always' });
  const named = await engineer.send('POST', '/v1/sources/flights/batches', { ...body, batchId: '../x' });
  expect(named.body).toMatchObject({ code: 'INPUT_INVALID', detail: expect.stringContaining('batchId') });
});

test('a compaction is one workflow per source', async () => {
  const answer = await engineer.send('POST', '/v1/sources/flights/compactions');
  expect(answer).toMatchObject({ status: 202, body: { workflowId: 'compact/flights', status: 'running' } });
  expect(api.workflows.started.at(-1)).toMatchObject({ type: 'compactLog', input: { source: 'flights' } });
  expect((await engineer.send('POST', '/v1/sources/nothing/compactions')).body.code).toBe('SOURCE_NOT_FOUND');
});

test('records of Kafka that were refused are listed with where they were and why', async () => {
  const rule = 'a record is one JSON object in UTF-8';
  const reasons = [{ code: 'COLUMN_TYPE', column: null, value: null, rule }] as const;
  const refused = [4, 9].map((offset) => ({ offset, reasons, value: '{"date": ' }));
  const topic = { topic: 'flight-events', topicId: 'x', source: 'flights' };
  const intake = { partition: 2, fromOffset: 0, nextOffset: 10, events: [], refused };
  const index = { stored: () => Promise.resolve(new Set<string>()) };
  await api.database.db.transaction().execute((tx) => takeIn(tx, topic, [intake], { index, at: 1_000_000 }));
  const { body } = await engineer.get('/v1/sources/flights/refused?limit=1');
  expect(body).toEqual({
    records: [
      {
        topic: 'flight-events',
        partition: 2,
        offset: 9,
        reasons,
        value: '{"date": ',
        refusedAt: expect.anything(),
      },
    ],
  });
});

test('an Idempotency-Key makes two requests one training; without one they are two', async () => {
  const train = (headers: Record<string, string> = {}) =>
    engineer.send('POST', '/v1/models/flight-delay/runs', { training: 'logistic' }, headers);
  const first = await train({ 'idempotency-key': 'june' });
  const second = await train({ 'idempotency-key': 'june' });
  expect(first.body.workflowId).toBe('train/flight-delay/logistic/june');
  expect(second.body.workflowId).toBe(first.body.workflowId);
  expect((await train()).body.workflowId).not.toBe((await train()).body.workflowId);
  expect(api.workflows.started.at(-1)?.input).toEqual({ model: 'flight-delay', training: 'logistic', author: 'ada' });
});

test('an unknown training is refused before a workflow starts', async () => {
  const before = api.workflows.started.length;
  const refused = await engineer.send('POST', '/v1/models/flight-delay/runs', { training: 'nothing' });
  expect(refused.body).toMatchObject({ code: 'TRAINING_INVALID', known: expect.arrayContaining(['logistic']) });
  expect(api.workflows.started).toHaveLength(before);
});

test('outcomes count once, and a prediction shows its own', async () => {
  await insertPredictions(api.database.db, [prediction('p1', 0.9), prediction('p2', 0.2), prediction('p3', 0.6)]);
  const outcomes = { outcomes: [outcome('p1', 1), outcome('p2', 0), outcome('p3', 0), outcome('unlogged', 1)] };
  expect((await operator.send('POST', '/v1/models/flight-delay/outcomes', outcomes)).body).toEqual({
    received: 4,
    added: 4,
  });
  expect((await operator.send('POST', '/v1/models/flight-delay/outcomes', outcomes)).body).toEqual({
    received: 4,
    added: 0,
  });
  expect((await engineer.get('/v1/predictions/p1')).body).toMatchObject({
    answers: [{ version: 0, score: 0.9 }],
    outcome: { value: 1, observedAt: 991_396_800_000_000 },
  });
  expect((await engineer.get('/v1/predictions/nothing')).body.code).toBe('NOT_FOUND');
  expect((await engineer.get('/v1/models/flight-delay/quality')).body).toMatchObject({
    version: 0,
    labelled: 3,
    positives: 1,
    auc: { value: 1 },
    brier: { value: expect.closeTo((0.01 + 0.04 + 0.36) / 3, 12) },
  });
});

test('an outcome that is neither 0 nor 1 is refused by its place', async () => {
  const refused = await operator.send('POST', '/v1/models/flight-delay/outcomes', { outcomes: [outcome('p1', 0.5)] });
  expect(refused.body).toMatchObject({
    code: 'INPUT_INVALID',
    detail: expect.stringContaining('body/outcomes/0/value'),
  });
});

test('the decision log holds, and is found broken once a record was changed', async () => {
  expect((await engineer.get('/v1/audit/verify')).body).toMatchObject({ holds: true, records: expect.any(Number) });
  expect((await engineer.get('/v1/decisions?subject=project/flights')).body.decisions).toMatchObject([
    { kind: 'applied', actor: 'ada' },
  ]);
  await api.database.pool.query('alter table decision disable trigger user');
  await api.database.pool.query(`update decision set reason = 'other' where seq = 1`);
  expect(await engineer.get('/v1/audit/verify')).toMatchObject({ status: 500, body: { code: 'AUDIT_BROKEN' } });
});

function prediction(predictionId: string, score: number) {
  return {
    predictionId,
    model: 'flight-delay',
    version: 0,
    arm: 'champion' as const,
    rung: 'champion',
    epoch: 1,
    unit: predictionId,
    asOf: NOW,
    answeredAt: NOW,
    score,
    sampleWeight: 1,
    features: [1, null],
    request: { origin: 'SEA' },
    latencyMicros: 900,
    error: null,
    known: null,
    reason: null,
    statuses: [],
    servedModel: null,
    redacted: [],
    traceId: null,
  };
}

function outcome(predictionId: string, value: number) {
  return { predictionId, value, observedAt: '2001-06-01T12:00:00Z' };
}

test('how fresh the views in use are is told on two clocks, and a build may be slowed down', async () => {
  const { db } = api.database;
  await db
    .insertInto('view_progress')
    .values({
      view_id: 'origin_delays@1',
      source: 'flights',
      applied_seq: 1_000_000,
      updated_at: NOW,
      newest_event_at: NOW - 2_000_000,
    })
    .execute();
  const fresh = await engineer.get('/v1/features/freshness?project=flights');
  expect(fresh).toMatchObject({
    status: 200,
    body: { views: [{ view: 'origin_delays@1', dataAgeSeconds: 2, waitingSeconds: 0, breached: [] }] },
  });
  expect((await engineer.get('/v1/features/freshness?project=nothing')).body.code).toBe('PROJECT_NOT_FOUND');
  await db.deleteFrom('view_progress').execute();

  const build = { project: 'flights', views: ['origin_delays@1'], foldAt: 5, keysPerSecond: 100 };
  expect(await engineer.send('POST', '/v1/features/materializations', build)).toMatchObject({ status: 202 });
  expect(api.workflows.started.at(-1)?.input).toEqual(build);
  expect(await engineer.send('POST', '/v1/features/materializations', { ...build, keysPerSecond: 0 })).toMatchObject({
    status: 400,
    body: { code: 'INPUT_INVALID', violations: [{ field: 'body/keysPerSecond', rule: 'must be >= 1' }] },
  });
});
