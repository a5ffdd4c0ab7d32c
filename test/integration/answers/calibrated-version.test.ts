import { execFile } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { asyncLocalStorage, type Context } from '@temporalio/activity';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTrainingActivities } from '../../../activities/training.ts';
import type { RunResult } from '../../../activities/training-plan.ts';
import { listPredictions } from '../../../db/predictions.ts';
import { getVersion } from '../../../db/registry.ts';
import { getRoute } from '../../../db/routes.ts';
import { getRun, putDataset } from '../../../db/runs.ts';
import { createToken, revokeTokens } from '../../../db/tokens.ts';
import { calibrate, calibrationText } from '../../../domain/calibration/calibration.ts';
import type { DatasetManifest } from '../../../domain/features/dataset-manifest.ts';
import { openBlobStore } from '../../../platform/file-blob-store.ts';
import { writeDataset } from '../../../training/testing/a-dataset.ts';
import { anOrder, fieldsOf, logger, type ServedShop, serveShop } from './served-shop.ts';
import { MODEL, NOW, NUMBERS } from './shop.ts';

let shop: ServedShop;
beforeAll(async () => {
  shop = await serveShop();
});
afterAll(() => shop.close());

/** Activities ask their context for the attempt, its heartbeats and its cancellation. */
function asActivity<T>(work: () => Promise<T>): Promise<T> {
  const context = {
    info: { attempt: 1, heartbeatDetails: undefined },
    cancellationSignal: new AbortController().signal,
    heartbeat: () => undefined,
    log: logger,
  };
  return asyncLocalStorage.run(context as unknown as Context, work);
}

describe('a calibrated version', () => {
  let result: RunResult;
  let version: number;

  beforeAll(async () => {
    const blobs = openBlobStore(pathToFileURL(shop.folder).href);
    const activities = createTrainingActivities({
      db: shop.database.db,
      pool: shop.database.pool,
      blobs,
      onlineStore: shop.features.store as never,
      config: { workDir: shop.folder, duckdbMemory: '500MB', duckdbThreads: 1 },
      logger,
      now: () => NOW,
    });
    const path = join(shop.folder, 'dataset.parquet');
    await writeDataset(path, { rows: 6_000 });
    const manifest = {
      featureSet: 'trained@1',
      features: NUMBERS,
      rows: 6_000,
      leakage: [],
      file: await blobs.putFile(path),
    } as unknown as DatasetManifest;
    await putDataset(shop.database.db, { digest: 'dataset', project: 'shop', model: MODEL, manifest, at: NOW });

    const { runId } = await activities.openRun({ model: MODEL, training: 'gbt', author: 'ada', key: 'x'.repeat(12) });
    await asActivity(() => activities.train({ runId, dataset: 'dataset' }));
    await asActivity(() => activities.evaluate({ runId, dataset: 'dataset' }));
    const decided = await activities.decideGates({ runId, dataset: 'dataset', kinds: 'all' });
    if (decided.verdict !== 'pass') throw new Error(decided.sentences.join('\n'));
    result = (await getRun(shop.database.db, runId)).result as RunResult;
    ({ version } = await activities.registerVersion({ runId }));
    await shop.route({ champion: version, lastKnownGood: 0 });
  }, 180_000);

  test('is judged by what it answers: the gate passes a model that it would stop uncalibrated', async () => {
    const { calibration } = result.evaluation!;
    expect(calibration.before!.ece).toBeGreaterThan(0.08);
    expect(calibration.ece).toBeLessThan(0.08);
    const { manifest } = await getVersion(shop.database.db, MODEL, version);
    expect(manifest).toMatchObject({
      calibration: { method: 'platt', rows: 1_440 },
      classes: ['kept', 'returned'],
      slices: { by: 'origin', thresholds: { JFK: 0.3, SEA: 0.7 } },
      threshold: 0.5,
    });
    expect(manifest.calibration).toEqual(result.calibration);
  });

  test('carries golden rows, with missing values among them, and is served since it answers them', async () => {
    const { manifest } = await getVersion(shop.database.db, MODEL, version);
    const { features: rows, scores } = manifest.goldens!;
    expect([rows.length, scores.length]).toEqual([16, 16]);
    expect(rows.every((row) => row.length === NUMBERS.length)).toBe(true);
    expect(rows.flat()).toContain(null);
    expect(new Set(scores).size).toBeGreaterThan(4);
    expect((await shop.node.app.inject(`/v1/models/${MODEL}`)).json()).toMatchObject({
      versions: [{ version, loaded: { goldenRows: 16 } }, { version: 0 }],
    });
  });

  test('answers with the calibrated score of what its model file gives', async () => {
    const { manifest } = await getVersion(shop.database.db, MODEL, version);
    const values = [-1.5, -0.5, 0, 0.5, 1.5];
    const { predictions } = await shop.ask({ instances: values.map((a) => anOrder({ a })) });
    for (const { score, rawScore, version: answering, rung } of predictions) {
      expect([answering, rung]).toEqual([version, 'champion']);
      expect(score).toBe(calibrate(manifest.calibration!, rawScore));
    }
    const tensor = await shop.node.app.inject({
      method: 'POST',
      url: `/v2/models/${MODEL}/infer`,
      payload: {
        inputs: [
          {
            name: 'features',
            datatype: 'FP32',
            shape: [values.length, NUMBERS.length],
            data: values.flatMap((a) => [a, 0.4, 3, 0.5]),
          },
        ],
      },
    });
    const [output] = tensor.json<{ outputs: { data: number[] }[] }>().outputs;
    expect(output!.data).toEqual(predictions.map(({ rawScore }) => rawScore));
    expect(new Set(output!.data).size).toBeGreaterThan(1);
  });

  test('labels and names the class by the threshold of the slice', async () => {
    const { predictions } = await shop.ask({
      instances: ['JFK', 'SEA', 'ORD', null].flatMap((origin) =>
        [-1.5, -0.5, 0, 0.5, 1.5].map((a) => anOrder({ origin, a })),
      ),
    });
    const seen = new Set<string>();
    for (const { score, label, class: name, threshold, slice } of predictions) {
      expect(threshold).toBe(slice === 'JFK' ? 0.3 : slice === 'SEA' ? 0.7 : 0.5);
      expect(label).toBe(score >= threshold ? 1 : 0);
      expect(name).toBe(label === 1 ? 'returned' : 'kept');
      seen.add(`${slice} ${label}`);
    }
    expect([...seen].map((each) => each.split(' ')[0])).toEqual(expect.arrayContaining(['JFK', 'SEA', 'null']));
    expect(new Set([...seen].map((each) => each.split(' ')[1]))).toEqual(new Set(['0', '1']));
  });

  test('says what is done to its scores', async () => {
    const { manifest } = await getVersion(shop.database.db, MODEL, version);
    const response = await shop.node.app.inject({ url: `/v1/models/${MODEL}` });
    const { versions } = response.json<{ versions: { version: number }[] }>();
    const { calibration, classes, slices, threshold } = manifest;
    expect(versions.find((each) => each.version === version)).toMatchObject({
      calibration: calibrationText(calibration!),
      classes,
      slices,
      threshold,
    });
    // names and thresholds are the model's, whoever answers; a rule has no calibration
    const rule = versions.find((each) => each.version === 0);
    expect(rule).toMatchObject({ classes, slices, threshold, calibration: null });
  });

  test('answers plainly when no explanation is asked for', async () => {
    const { predictions } = await shop.ask(anOrder(), { explain: false });
    expect(Object.keys(predictions[0]!)).toEqual([
      'predictionId',
      'score',
      'label',
      'class',
      'version',
      'arm',
      'rung',
      'epoch',
      'asOf',
    ]);
  });

  test('is answered for a tester by the version they name, which is no evidence', async () => {
    const epoch = await shop.route({});
    const authorization = `Bearer ${shop.tokens.engineer}`;
    const asked = await shop.ask(anOrder({ id: 'tested' }), { headers: { authorization, 'x-serin-version': '0' } });
    expect(asked.predictions[0]).toMatchObject({ version: 0, arm: 'override', predictionId: 'tested' });
    const arm = await shop.ask(anOrder({ id: 'tested-arm' }), {
      headers: { authorization, 'x-serin-arm': 'champion' },
    });
    expect(arm.predictions[0]).toMatchObject({ version, arm: 'override' });
    await shop.ask(anOrder({ id: 'served' }));
    await shop.node.flush();
    const tallies = await shop.database.db.selectFrom('arm_tally').selectAll().where('epoch', '=', epoch).execute();
    expect(tallies.map(({ arm: each, requests }) => [each, requests])).toEqual([['champion', 1]]);
    expect(await listPredictions(shop.database.db, 'tested')).toMatchObject([{ arm: 'override', version: 0 }]);
  });

  test('is asked on the command line, by version and with the reasons', async () => {
    await shop.node.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = shop.node.app.server.address() as AddressInfo;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        'dist/cli/main.js',
        'predict',
        MODEL,
        '--by',
        `v${version}`,
        '--explain',
        ...fieldsOf(anOrder({ origin: 'JFK' })),
      ],
      {
        env: {
          ...process.env,
          SERIN_HOME: shop.folder,
          SERIN_INFERENCE_URL: `http://127.0.0.1:${port}`,
          SERIN_TOKEN: shop.tokens.engineer,
        },
      },
    );
    const lines = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/: +/) as [string, string]),
    );
    expect(lines).toMatchObject({
      threshold: '0.3 (of JFK)',
      label: expect.stringMatching(/^[01] \((kept|returned)\)$/) as string,
      'answered by': `v${version} (override)`,
      'raw score': expect.stringMatching(/^0\.\d+$/) as string,
      linear: '0.2',
    });
  });

  test.each([
    [401, 'UNAUTHENTICATED', () => ({})],
    [401, 'UNAUTHENTICATED', () => ({ authorization: 'Bearer made-up' })],
    [403, 'FORBIDDEN', () => ({ authorization: `Bearer ${shop.tokens.viewer}` })],
  ])('refuses to be chosen with %i %s', async (status, code, headers) => {
    const refused = await shop.ask(anOrder(), { headers: { 'x-serin-version': '0', ...headers() } });
    expect(refused).toMatchObject({ status, problem: { type: expect.stringContaining(code) as string } });
  });

  test('names what a tester may ask for when they ask for something else', async () => {
    const headers = { authorization: `Bearer ${shop.tokens.engineer}`, 'x-serin-version': '77' };
    expect(await shop.ask(anOrder(), { headers })).toMatchObject({
      status: 404,
      problem: { detail: `version 77 of "${MODEL}" is not loaded here; ${version}, 0 are` },
    });
  });

  test('is answered for a tester as canary, before any unit is assigned to it', async () => {
    const standing = await getRoute(shop.database.db, MODEL);
    await shop.route({ champion: 0, canary: version, canaryWeight: 0 });
    const headers = { authorization: `Bearer ${shop.tokens.engineer}`, 'x-serin-arm': 'canary' };
    const asked = await shop.ask({ instances: [anOrder(), anOrder()] }, { headers });
    expect(asked.predictions).toMatchObject([
      { version, arm: 'override', rung: 'canary' },
      { version, arm: 'override', rung: 'canary' },
    ]);
    expect((await shop.ask(anOrder())).predictions[0]).toMatchObject({ version: 0, arm: 'champion' });
    await shop.route({ champion: standing.champion, canary: null, canaryWeight: 0 });
    expect(await shop.ask(anOrder(), { headers })).toMatchObject({
      status: 404,
      problem: { detail: `"${MODEL}" has no canary now` },
    });
  });

  test('a token is known for half a minute, not looked up for each request', async () => {
    const token = await createToken(shop.database.db, { principal: 'eve', roles: ['operator'], at: NOW });
    const headers = { authorization: `Bearer ${token}`, 'x-serin-version': '0' };
    expect((await shop.ask(anOrder(), { headers })).status).toBe(200);
    await revokeTokens(shop.database.db, { principal: 'eve', at: NOW });
    // known for half a minute
    expect((await shop.ask(anOrder(), { headers })).status).toBe(200);
  });
});
