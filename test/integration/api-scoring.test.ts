import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiFixture, type Caller, createApiFixture } from '../setup/api-fixture.ts';

let fixture: ApiFixture;
let engineer: Caller;

beforeAll(async () => {
  fixture = await createApiFixture();
  engineer = await fixture.as('engineer');
  await engineer.send('POST', '/v1/projects', { spec: fixture.flights.spec });
});
afterAll(() => fixture.close());

const PATH = '/v1/models/flight-delay/score-batches';
const BATCH = { input: '/data/flights-*.parquet', output: '/data/scores', asOfColumn: 'scheduled_at' };

test('a batch is a workflow named by what is asked for: the same request joins it, another is another', async () => {
  const first = await engineer.send('POST', PATH, BATCH);
  expect(first.status).toBe(202);
  expect(first.body.workflowId).toMatch(/^score\/flight-delay\/[0-9a-f]{16}$/);
  expect((await engineer.send('POST', PATH, BATCH)).body.workflowId).toBe(first.body.workflowId);
  const other = await engineer.send('POST', PATH, { ...BATCH, asOfColumn: undefined, asOf: '2001-06-01T12:00:00Z' });
  expect(other.body.workflowId).not.toBe(first.body.workflowId);
  const started = fixture.workflows.started.find(({ workflowId }) => workflowId === other.body.workflowId);
  expect(started).toMatchObject({
    type: 'scoreBatch',
    input: {
      request: {
        model: 'flight-delay',
        input: BATCH.input,
        output: BATCH.output,
        asOf: { kind: 'fixed', at: 991_396_800_000_000 },
        featuresReady: false,
      },
    },
  });
});

test.each([
  [{ ...BATCH, input: 'flights.parquet' }, 400, 'input'],
  [{ ...BATCH, output: 'scores' }, 400, 'output'],
  [{ ...BATCH, asOf: '2001-06-01T12:00:00Z' }, 400, 'asOf'],
  [{ input: BATCH.input, output: BATCH.output }, 400, 'asOfColumn'],
  [{ ...BATCH, asOfColumn: undefined, asOf: '2001-06-01T12:00:00' }, 422, 'asOf'],
])('a request that says too little or too much is refused by its field: %j', async (body, status, field) => {
  const before = fixture.workflows.started.length;
  expect(await engineer.send('POST', PATH, body)).toMatchObject({ status, body: { field } });
  expect(fixture.workflows.started).toHaveLength(before);
});

test('a version that does not exist and a model that does not are refused before a workflow starts', async () => {
  expect(await engineer.send('POST', PATH, { ...BATCH, version: 9 })).toMatchObject({
    status: 404,
    body: { code: 'VERSION_NOT_FOUND' },
  });
  expect(await engineer.send('POST', PATH.replace('flight-delay', 'no-model'), BATCH)).toMatchObject({
    status: 404,
    body: { code: 'MODEL_NOT_FOUND' },
  });
});

test('only an engineer may have files written', async () => {
  const viewer = await fixture.as('viewer');
  expect(await viewer.send('POST', PATH, BATCH)).toMatchObject({ status: 403 });
});
