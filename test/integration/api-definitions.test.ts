import { afterAll, beforeAll, expect, test } from 'vitest';
import { registerVersion } from '../../db/registry.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { type ApiFixture, type Caller, createApiFixture, NOW, flightsManifest } from '../setup/api-fixture.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- tests change one thing in a spec
type Loose = any;

let api: ApiFixture;
let engineer: Caller;
let viewer: Caller;
beforeAll(async () => {
  api = await createApiFixture();
  [engineer, viewer] = [await api.as('engineer', 'ada'), await api.as('viewer', 'vera')];
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
  await registerVersion(api.database.db, { manifest: flightsManifest(api), sha256: 'a'.repeat(64), at: NOW });
});
afterAll(() => api.close());

function changed(change: (spec: Loose) => void, from: ProjectSpec = api.flights.spec): ProjectSpec {
  const spec: Loose = structuredClone(from);
  change(spec);
  return spec as ProjectSpec;
}

const viewIn = (spec: Loose, name: string): Loose => spec.views.find((each: Loose) => each.name === name);
const longerWeek = (spec: Loose): void =>
  void (viewIn(spec, 'route_delays').features[0].windows[0].lengthMicros += 86_400_000_000);

test('a plan says sentence by sentence what an apply would do, to everybody who may read', async () => {
  const spec = changed((next) => {
    viewIn(next, 'origin_delays').description = 'better said';
    next.models[0].threshold = 0.4;
  });
  const plan = await viewer.send('POST', '/v1/projects/flights/plan', { spec });
  expect(plan).toMatchObject({
    status: 200,
    body: { project: 'flights', isNew: false, refused: false, backfill: [] },
  });
  expect(plan.body.changes.map(({ sentence }: { sentence: string }) => sentence)).toEqual([
    'view origin_delays@1: description "delays of the flights that left an airport" → "better said" — metadata only: nothing is computed otherwise',
    'model flight-delay: threshold 0.3 → 0.4 — holds for the next training and rollout',
  ]);
  expect((await viewer.get('/v1/projects/flights')).body.digest).toBe(api.flights.digest);
});

test('the description’s examples of projects are taken as they are, and name what there is', async () => {
  const { paths } = (await api.app.inject({ url: '/docs/json' })).json();
  const plan = paths['/v1/projects/{name}/plan'].post;
  const { example } = plan.requestBody.content['application/json'];
  const named = (described: Loose, parameter: string): string =>
    described.parameters.find(({ name }: Loose) => name === parameter).example;
  const planned = await viewer.send('POST', `/v1/projects/${named(plan, 'name')}/plan`, example);
  expect(planned).toMatchObject({ status: 200, body: { project: 'flights', isNew: false } });
  const source = named(paths['/v1/sources/{source}/batches'].get, 'source');
  expect((await viewer.get(`/v1/sources/${source}/batches`)).status).toBe(200);
});

test('a plan under the name of another project is refused', async () => {
  const plan = await viewer.send('POST', '/v1/projects/parcels/plan', { spec: api.flights.spec });
  expect(plan).toMatchObject({ status: 400, body: { code: 'INPUT_INVALID', field: 'body/spec/name' } });
});

test('a view that a version reads does not change under it: the plan says so, and apply refuses with its users', async () => {
  const spec = changed(longerWeek);
  const sentence =
    'view route_delays@1: feature delay_share: window 7d: length 7d → 8d — breaking: flight-delay v1 (staging) uses it; ' +
    'leave it as it is and declare route_delays@2';
  expect((await viewer.send('POST', '/v1/projects/flights/plan', { spec })).body).toMatchObject({
    refused: true,
    changes: [{ kind: 'view', id: 'route_delays@1', effect: 'breaking', sentence }],
  });
  const applied = await engineer.send('POST', '/v1/projects', { spec });
  expect(applied).toMatchObject({
    status: 409,
    body: {
      code: 'DEFINITION_IN_USE',
      detail: sentence,
      refused: [{ kind: 'view', id: 'route_delays@1', usedBy: ['flight-delay v1 (staging)'] }],
    },
  });
  expect((await viewer.get('/v1/projects/flights')).body.digest).toBe(api.flights.digest);
});

test('a view that no trained version reads changes, until the online store holds it', async () => {
  const spec = changed((next) => void (viewIn(next, 'scheduled_delays').features[0].windows[0].lengthMicros *= 2));
  const plan = () => viewer.send('POST', '/v1/projects/flights/plan', { spec });
  expect((await plan()).body).toMatchObject({ refused: false, backfill: ['scheduled_delays@1'] });
  await api.database.db
    .insertInto('view_progress')
    .values({ view_id: 'scheduled_delays@1', source: 'flights_scheduled', applied_seq: 7, updated_at: NOW })
    .execute();
  expect((await plan()).body).toMatchObject({
    refused: true,
    changes: [{ effect: 'breaking', usedBy: ['the online store'] }],
  });
  await api.database.db.deleteFrom('view_progress').execute();
});

test('a feature is not retired while a live version reads it; once it is archived it may go', async () => {
  const { db } = api.database;
  const manifest = { ...flightsManifest(api), version: 2, runId: 'run-2', featureSet: 'delay_features@2' };
  await registerVersion(db, { manifest, sha256: 'b'.repeat(64), at: NOW });
  const spec = changed((next) => {
    next.models[0].trainings = next.models[0].trainings.filter(({ name }: Loose) => name !== 'with-airport-status');
    next.featureSets = next.featureSets.filter(({ version }: Loose) => version === 1);
    next.views = next.views.filter(({ name }: Loose) => name !== 'airport_status_now');
    next.sources = next.sources.filter(({ name }: Loose) => name !== 'airport_status');
  });
  const plan = () => viewer.send('POST', '/v1/projects/flights/plan', { spec });
  expect((await plan()).body.refused).toBe(true);
  expect((await engineer.send('POST', '/v1/projects', { spec })).body).toMatchObject({
    code: 'DEFINITION_IN_USE',
    detail: expect.stringContaining('flight-delay v2 (staging) uses it; keep it until no live version reads it'),
  });
  await db.updateTable('model_version').set({ stage: 'archived' }).where('version', '=', 2).execute();
  expect((await plan()).body.refused).toBe(false);
  // a route that names it keeps it, whatever its stage
  await db.updateTable('route').set({ last_known_good: 2 }).execute();
  expect((await plan()).body.refused).toBe(true);
  await db.updateTable('route').set({ last_known_good: 0 }).execute();
});

test('what changes without touching anything is applied and recorded', async () => {
  const spec = changed((next) => (viewIn(next, 'route_delays').owner = 'routes'));
  const applied = await engineer.send('POST', '/v1/projects', { spec });
  expect(applied).toMatchObject({ status: 201, body: { created: true } });
  const { decisions } = (await viewer.get('/v1/decisions?subject=project/flights')).body;
  expect(decisions.at(-1).payload.changes).toEqual([
    'view route_delays@1: owner "flight-operations" → "routes" — metadata only: nothing is computed otherwise',
  ]);
  await engineer.send('POST', '/v1/projects', { spec: api.flights.spec });
});

test('the catalogue lists every feature with its owner, lineage and readers', async () => {
  const { body } = await viewer.get('/v1/features?project=flights');
  const names = body.features.map(({ definition, name }: Loose) => `${definition}/${name}`);
  expect(names).toEqual(expect.arrayContaining(['origin_delays@1/delay_share', 'delay_features@1/hour']));
  const one = await viewer.get('/v1/features/origin_delays@1/delay_share');
  expect(one.body).toMatchObject({
    type: 'f64',
    owner: 'flight-operations',
    pii: false,
    freshnessSlaSeconds: 3600,
    readBy: {
      models: expect.arrayContaining([
        { model: 'flight-delay', version: 0, stage: 'production' },
        { model: 'flight-delay', version: 1, stage: 'staging' },
      ]),
    },
  });
  expect(one.body.lineage).toContainEqual({
    source: 'flights',
    column: 'delay',
    type: 'i64',
    pii: false,
    roles: ['value'],
  });
});

test('a misspelt feature is answered with the nearest one', async () => {
  expect(await viewer.get('/v1/features/origin_delays@1/delay_chare')).toMatchObject({
    status: 404,
    body: { code: 'FEATURE_NOT_FOUND', detail: expect.stringContaining('did you mean "origin_delays@1/delay_share"') },
  });
});

test('a feature set gives the schemas and the signature of its models', async () => {
  const { body } = await viewer.get('/v1/projects/flights/feature-sets/delay_features@1');
  expect(body.fields).toHaveLength(12);
  expect(body.signature.input.shape).toEqual([null, 12]);
  expect(body.requestSchema.required).toEqual(['origin', 'destination', 'distance']);
  expect(Object.keys(body.rowSchema.properties)).toEqual(body.fields.map(({ name }: Loose) => name));
  expect(await viewer.get('/v1/projects/flights/feature-sets/delay_features@9')).toMatchObject({
    status: 422,
    body: { code: 'REFERENCE_MISSING' },
  });
});
