import { afterAll, beforeAll, expect, test } from 'vitest';
import { putExportedRange } from '../../db/prediction-exports.ts';
import { insertPredictions, type LoggedPrediction } from '../../db/predictions.ts';
import { getVersion } from '../../db/registry.ts';
import { openRollout } from '../../db/rollouts.ts';
import type { Workflows } from '../../api/workflow-client.ts';
import { type ApiFixture, type Caller, createApiFixture, NOW, RecordedWorkflows } from '../setup/api-fixture.ts';

/** A worker that finds one prediction in the files. */
class Finding extends RecordedWorkflows {
  found: readonly LoggedPrediction[] = [];

  override async find(workflowId: string) {
    const operation = await super.find(workflowId);
    if (operation?.type !== 'findPrediction') return operation;
    return { ...operation, status: 'completed' as const, result: { answers: this.found } };
  }
}

let api: ApiFixture;
let viewer: Caller;
let operator: Caller;
let workflows: Finding;
beforeAll(async () => {
  workflows = new Finding();
  api = await createApiFixture({ workflows: workflows satisfies Workflows });
  const engineer = await api.as('engineer', 'ada');
  [viewer, operator] = [await api.as('viewer'), await api.as('operator', 'grace')];
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
});
afterAll(() => api.close());

async function aPrediction(predictionId: string, overrides: Partial<LoggedPrediction> = {}): Promise<LoggedPrediction> {
  const { manifest } = await getVersion(api.database.db, 'flight-delay', 0);
  return {
    predictionId,
    model: 'flight-delay',
    version: 0,
    arm: 'champion',
    rung: 'champion',
    epoch: 1,
    unit: predictionId,
    asOf: NOW,
    answeredAt: NOW,
    score: 0.75,
    sampleWeight: 50,
    features: manifest.featureNames.map((_, i) => (i === 0 ? null : i / 8)),
    statuses: manifest.featureNames.map((_, i) => (i === 0 ? 3 : 0)),
    request: { origin: 'SEA', destination: 'SFO', distance: 679 },
    latencyMicros: 900,
    error: null,
    known: { knownSeq: { 'origin_delays@1': 7 }, readAt: NOW },
    reason: null,
    servedModel: null,
    redacted: [],
    traceId: null,
    ...overrides,
  };
}

test('an answer is explained: version and manifest, threshold, features by name with their statuses', async () => {
  const { db } = api.database;
  const { manifest, manifestSha256 } = await getVersion(db, 'flight-delay', 0);
  await insertPredictions(db, [await aPrediction('p1')]);
  const { status, body } = await viewer.get('/v1/predictions/p1');
  expect(status).toBe(200);
  const [{ explanation, known }] = body.answers;
  expect(known).toEqual({ knownSeq: { 'origin_delays@1': 7 }, readAt: NOW });
  expect(explanation).toMatchObject({
    version: { model: 'flight-delay', version: 0, kind: 'rule', manifestSha256, featureSet: manifest.featureSet },
    decision: { label: 0.75 >= manifest.threshold ? 1 : 0, threshold: manifest.threshold, slice: null },
    rollout: null,
    links: { version: '/v1/models/flight-delay/versions/0' },
  });
  expect(explanation.features).toHaveLength(manifest.featureNames.length);
  expect(explanation.features[0]).toEqual({
    name: manifest.featureNames[0],
    value: null,
    status: 'not_found',
    withheld: false,
  });
  expect(explanation.features[1]).toMatchObject({ value: 0.125, status: 'present' });
  expect(body).toMatchObject({ outcome: null, exported: false });
});

test('what was left out because it is personal is said to be, and the rollout of its time is named', async () => {
  const { db } = api.database;
  const { manifest } = await getVersion(db, 'flight-delay', 0);
  const state = { phase: 'canary' } as unknown as Parameters<typeof openRollout>[1]['state'];
  const policy = {} as Parameters<typeof openRollout>[1]['policy'];
  await openRollout(db, {
    rolloutId: 'rollout/flight-delay/0',
    model: 'flight-delay',
    version: 0,
    author: 'ada',
    state,
    policy,
    startedAt: NOW + 10,
  });
  await insertPredictions(db, [
    await aPrediction('p2', { answeredAt: NOW + 20, redacted: [`features.${manifest.featureNames[0]!}`] }),
    await aPrediction('p2', { arm: 'shadow', rung: 'shadow', version: 99, answeredAt: NOW + 20 }),
  ]);
  const { answers } = (await viewer.get('/v1/predictions/p2')).body;
  expect(answers[0].explanation.features[0]).toMatchObject({ value: null, withheld: true });
  expect(answers[0].explanation).toMatchObject({
    rollout: { rolloutId: 'rollout/flight-delay/0', version: 0, phase: 'canary' },
    links: { rollout: '/v1/rollouts/flight-delay/0' },
  });
  expect(answers[1]).toMatchObject({ arm: 'shadow', explanation: { version: null, decision: null } });
});

test('an answer that is exported alone is asked of a worker, one that nothing can hold is not', async () => {
  const { db } = api.database;
  workflows.found = [await aPrediction('e5')];
  expect((await viewer.get('/v1/predictions/e5')).body.code).toBe('NOT_FOUND');
  expect(workflows.started).toEqual([]);
  const file = { uri: `sha256:${'a'.repeat(64)}`, sha256: 'a'.repeat(64), bytes: 1 };
  const part = { model: 'flight-delay', from: 0, to: 5, day: '2001-06-01', rows: 0, firstId: 'e1', lastId: 'e9' };
  await putExportedRange(db, {
    model: 'flight-delay',
    range: { from: 0, to: 5 },
    parts: [{ ...part, file, exportedAt: 1 }],
  });
  expect((await viewer.get('/v1/predictions/e5')).body).toMatchObject({
    exported: true,
    answers: [{ predictionId: 'e5', explanation: { version: { kind: 'rule' } } }],
  });
  expect(workflows.started).toMatchObject([{ type: 'findPrediction', input: { predictionId: 'e5' } }]);
  workflows.found = [];
  expect((await viewer.get('/v1/predictions/e6')).body.code).toBe('NOT_FOUND');
  expect((await viewer.get('/v1/predictions/f1')).body.code).toBe('NOT_FOUND');
  expect(workflows.started).toHaveLength(2);
});

test('operators export the log; everybody sees its files and can have what is listed', async () => {
  const asked = { models: ['flight-delay'], until: '2001-06-02T00:00:00Z', drop: true };
  expect((await viewer.send('POST', '/v1/prediction-exports', asked)).body.code).toBe('FORBIDDEN');
  expect(await operator.send('POST', '/v1/prediction-exports', asked, { 'idempotency-key': 'nightly' })).toMatchObject({
    status: 202,
    body: { workflowId: 'prediction-export/nightly' },
  });
  expect(workflows.started.at(-1)).toMatchObject({
    type: 'exportPredictions',
    input: { models: ['flight-delay'], until: 991_440_000_000_000, drop: true },
  });
  expect((await operator.send('POST', '/v1/prediction-exports', { until: 'yesterday' })).body.code).toBe(
    'TIME_INVALID',
  );

  const { files } = (await viewer.get('/v1/prediction-exports?model=flight-delay')).body;
  expect(files).toMatchObject([{ path: 'model=flight-delay/date=2001-06-01/part-0.parquet', rows: 0 }]);
  // it is listed, and its bytes are gone
  expect((await viewer.get(`/v1/prediction-exports/${'a'.repeat(64)}`)).body.code).toBe('BLOB_NOT_FOUND');
  expect((await viewer.get(`/v1/prediction-exports/${'b'.repeat(64)}`)).body.code).toBe('BLOB_NOT_FOUND');
});

test('what is asked for later belongs to the trace of who asked', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const asked = await operator.send(
    'POST',
    '/v1/models/flight-delay/predictions',
    { instances: [{ origin: 'SEA', destination: 'SFO', distance: 679 }] },
    { traceparent: `00-${trace}-00f067aa0ba902b7-01`, tracestate: 'a=b' },
  );
  const ours = asked.headers['traceparent'];
  expect(ours).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
  expect(workflows.started.at(-1)).toMatchObject({
    type: 'inferAsync',
    input: { trace: { traceparent: ours, tracestate: 'a=b' } },
  });
});
