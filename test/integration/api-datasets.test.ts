import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { putDataset } from '../../db/runs.ts';
import type { DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import { type ApiFixture, type Caller, createApiFixture } from '../setup/api-fixture.ts';

let api: ApiFixture;
let engineer: Caller;
const OLD = 'a1'.repeat(32);
const NEW = 'b2'.repeat(32);

beforeAll(async () => {
  api = await createApiFixture();
  engineer = await api.as('engineer', 'ada');
  for (const digest of [OLD, NEW]) {
    const manifest = { featureSet: 'delay_features@1', rows: 3 } as DatasetManifest;
    await putDataset(api.database.db, { digest, project: 'flights', model: 'flight-delay', manifest, at: 1 });
  }
});
afterAll(() => api.close());
beforeEach(() => api.workflows.started.splice(0));

test('two datasets are compared once, whatever their digests are shortened to', async () => {
  const started = await engineer.send('POST', '/v1/datasets/b2b2/diffs', { before: 'a1a1a1a1' });
  expect(started).toMatchObject({ status: 202, body: { workflowId: `dataset-diff/${OLD}/${NEW}`, status: 'running' } });
  expect(api.workflows.started).toMatchObject([
    { type: 'diffDatasets', input: { before: OLD, after: NEW }, model: 'flight-delay', again: 'afterFailure' },
  ]);
});

test('a row is explained by its row_id', async () => {
  const started = await engineer.send('POST', `/v1/datasets/${OLD}/explanations`, { row: 41_207 });
  expect(started).toMatchObject({ status: 202, body: { workflowId: `dataset-row/${OLD}/41207` } });
  expect(api.workflows.started).toMatchObject([{ type: 'explainRow', input: { dataset: OLD, row: 41_207 } }]);
});

test('a dataset is built again under a key, so that the same request is one build', async () => {
  const again = () => engineer.send('POST', '/v1/datasets/a1a1/rebuilds', undefined, { 'idempotency-key': 'audit' });
  expect(await again()).toMatchObject({ status: 202, body: { workflowId: `dataset-rebuild/${OLD}/audit` } });
  expect((await again()).body.workflowId).toBe(`dataset-rebuild/${OLD}/audit`);
  expect(api.workflows.started[0]).toMatchObject({ type: 'rebuildDataset', input: { dataset: OLD } });
});

test('what is no dataset or no row is refused before a workflow starts', async () => {
  const unknown = await engineer.send('POST', `/v1/datasets/${NEW}/diffs`, { before: 'cccccccc' });
  expect(unknown).toMatchObject({ status: 404, body: { code: 'DATASET_NOT_FOUND' } });
  expect((await engineer.send('POST', `/v1/datasets/${NEW}/explanations`, { row: -1 })).status).toBe(400);
  expect((await engineer.send('POST', `/v1/datasets/${NEW}/explanations`, { row: 1.5 })).status).toBe(400);
  const viewer = await api.as('viewer');
  expect((await viewer.send('POST', `/v1/datasets/${NEW}/diffs`, { before: OLD })).status).toBe(403);
  expect(api.workflows.started).toEqual([]);
});
