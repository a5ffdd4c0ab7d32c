/** Markers are planted wherever a client can put a personal value; afterwards they are looked for wherever Serin keeps anything. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { rolesOfModels } from '../../activities/forget-scan.ts';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { countPredictions, removePredictions } from '../../db/forget-rows.ts';
import { listPredictions } from '../../db/predictions.ts';
import { readRedactionKeys, redactionToken } from '../../db/redaction.ts';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute } from '../../db/routes.ts';
import { keyHoldersOf } from '../../domain/features/forgotten-keys.ts';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  label,
  model,
  project,
  source,
  spine,
  training,
  window,
} from '../../domain/project/authoring.ts';
import { checkProjectSpec } from '../../domain/project/check.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { linearOnnx } from '../../inference/model/onnx-fixture.ts';
import { openFeatures, type Features } from '../../inference/process/open-features.ts';
import { startRoutedNode } from '../../inference/process/routed-node.ts';
import type { ServingNode } from '../../inference/process/serving-node.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { createLogger } from '../../platform/logger.ts';
import { overSocket, throughFramework } from '../setup/both-ways.ts';
import { createTestDatabase } from '../setup/test-database.ts';
import { STORE_PATIENCE_MS } from '../setup/served-project.ts';

const visits = source('visits', {
  description: '',
  owner: 'clinic',
  columns: { visit: column.i64(), patient: column.str({ pii: true }), minutes: column.f64(), at: column.ts() },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(60),
  eventId: ['visit'],
  freshnessSla: days(1),
});
const patient = entity('patient', { keys: { id: 'str' }, description: '' });
const byPatient = featureView('by_patient', {
  version: 1,
  source: visits,
  entity: patient,
  key: { id: 'patient' },
  owner: 'clinic',
  description: '',
  features: () => ({ visits: count({ windows: { '7d': window(days(7)) } }) }),
});
const request = { patient: column.str(), income: column.i64({ pii: true }), ward: column.i64() };
const stay = featureSet('stay', {
  version: 1,
  description: '',
  request,
  views: { own: byPatient.as({ id: 'patient' }).pick({ visits: ['7d'] }) },
  derived: { money: (row) => row.request.income.plus(0), where: (row) => row.request.ward.plus(0) },
});
const stayNext = featureSet('stay', {
  version: 2,
  description: '',
  request: { ...request, mail: column.str({ pii: true }) },
  views: { own: byPatient.as({ id: 'patient' }).pick({ visits: ['7d'] }) },
  derived: { money: (row) => row.request.income.plus(0), where: (row) => row.request.ward.plus(0) },
});
const rollout = {
  stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
  guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
} as const;
const split = { trainFrom: '2001-01-08', testFrom: '2001-05-01', testTo: '2001-06-01' } as const;
const admissions = spine('admissions', {
  source: visits,
  asOf: (row) => row.at,
  request: (row) => ({ patient: row.patient, income: row.visit, ward: row.visit, mail: row.patient }),
});
const SPEC = checkProjectSpec(
  project('clinic', {
    description: '',
    models: [
      model('stay-long', {
        description: '',
        owner: 'clinic',
        riskTier: 'low',
        spine: admissions,
        label: label('long', { source: visits, of: (row) => row.minutes.ge(60), description: '' }),
        threshold: 0.5,
        latencyBudgetMsP99: 1_000,
        rule: { featureSet: stay, score: (row) => row.own.visits['7d'].times(0).plus(0.25) },
        gates: [{ kind: 'schema' }],
        rollout,
        monitors: [],
        logSampleRate: 1,
        trainings: [
          training('next', { featureSet: stayNext, trainer: { kind: 'logistic' }, split, seed: 1, description: '' }),
        ],
      }),
    ],
  }),
);

const PATIENT = 'Zebediah Markerson';
const MAIL = 'zebediah@marker.example';
const UNIT = 'unit-marker-7f3a';
const MISSPELT = 'misspelt-marker-11';
const WRONG = 'wrong-type-marker-22';
const BROKEN = 'broken-json-marker-33';
const NUMBER = 77_123_456_789;
const ALL = [PATIENT, MAIL, UNIT, MISSPELT, WRONG, BROKEN, String(NUMBER)];
/** As a client of the platform would: without knowing what is kept. */
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

let folder: string;
let database: Database;
let features: Features;
let node: ServingNode;
let logFile: string;
let port: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-personal-'));
  logFile = join(folder, 'log.ndjson');
  const databaseUrl = await createTestDatabase();
  database = connectDatabase(databaseUrl, { name: 'test', max: 4 });
  const { db } = database;
  const blobUrl = pathToFileURL(join(folder, 'blobs')).href;
  const { digest } = await applyProject(db, { spec: SPEC, bundleSha256: null, by: 'test', at: 1 });
  const modelFile = await openBlobStore(blobUrl).put(linearOnnx({ weights: [0, 0, 0], bias: 0.75 }));
  await registerVersion(db, {
    at: 1,
    manifest: {
      ...ruleManifest(SPEC, SPEC.models[0]!, { projectDigest: digest, author: 'test' }),
      version: 1,
      kind: 'onnx',
      featureSet: 'stay@2',
      modelFile,
      runId: 'run-1',
    },
    sha256: 'v1',
  });
  // every unit goes to the canary, which asks for one field more than the champion
  const route = await getRoute(db, 'stay-long');
  await moveRoute(db, {
    model: 'stay-long',
    expectedEpoch: route.epoch,
    target: { ...route, canary: 1, canaryWeight: 10_000 },
    at: 2,
    reason: 'test',
  });
  features = openFeatures(databaseUrl, STORE_PATIENCE_MS);
  node = await startRoutedNode({
    config: { databaseUrl, blobUrl, nodeId: 'node-1', inferenceHost: '127.0.0.1', inferencePort: 0 },
    logger: createLogger({ service: 'inference', node: 'node-1', level: 'trace', file: logFile }),
    inputOf: features.inputOf,
    store: features.store,
    storeTimeoutMs: features.storeTimeoutMs,
  });
  port = Number(new URL(await node.app.listen({ host: '127.0.0.1', port: 0 })).port);
});
afterEach(async () => {
  await node.close();
  await features.close();
  await database.close();
  await rm(folder, { recursive: true });
});

/** Over a socket most requests are answered before the framework sees them (inference/http/direct-predict.ts). */
const WAYS = ['over a socket', 'through the framework'] as const;

async function askBy(way: (typeof WAYS)[number], payload: object | string, headers: Record<string, string> = {}) {
  const ask = way === 'over a socket' ? overSocket(port) : throughFramework(node.app);
  const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
  const {
    status,
    headers: given,
    body: bytes,
  } = await ask('/v1/models/stay-long/predict', body, {
    'content-type': 'application/json',
    ...headers,
  });
  const text = bytes.toString();
  return { status, headers: given, text, json: JSON.parse(text) as Answer };
}

interface Answer {
  readonly detail?: string;
  readonly predictions: readonly { readonly version: number }[];
}

const ask = (payload: object, headers?: Record<string, string>) => askBy('over a socket', payload, headers);
const fields = { patient: PATIENT, income: NUMBER, ward: 3 };

/** Every row of every table, as text. */
async function tablesWith(marker: string): Promise<string[]> {
  const { db } = database;
  const { rows: tables } = await sql<{ name: string }>`
    select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`.execute(
    db,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await sql<{ count: number }>`
      select count(*)::int as count from ${sql.table(name)} as t where strpos(t::text, ${marker}) > 0`.execute(db);
    if (rows[0]!.count > 0) found.push(name);
  }
  return found;
}

test.each(WAYS)(
  'what is personal is in no log line, table, metric or header, wherever it was planted: %s',
  async (way) => {
    const ask = (...asked: [object | string, Record<string, string>?]) => askBy(way, ...asked);
    const answered = [
      await ask(
        { ...fields, mail: MAIL, unit: UNIT },
        { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, tracestate: `m=${UNIT}` },
      ),
      // the canary's feature set refuses it and the champion answers, with the reason
      await ask({ ...fields, mail: [MAIL], unit: UNIT }),
      await ask({ ...fields, unit: UNIT }),
    ];
    for (const answer of answered) expect(answer.status).toBe(200);
    expect(answered.map((answer) => answer.json.predictions[0]!.version)).toEqual([1, 0, 0]);
    const refused = [
      await ask({ ...fields, patiend: MISSPELT }),
      await ask({ ...fields, income: WRONG }),
      await ask({ ...fields, patient: { first: WRONG } }),
      await ask(`{"patient":"${BROKEN}`),
      await ask({ ...fields, id: `visit of ${PATIENT}` }),
      await ask({ ...fields, id: String(NUMBER) }),
    ];
    for (const answer of refused) {
      expect(answer.status).toBe(400);
      for (const marker of ALL) if (marker !== BROKEN) expect(answer.text).not.toContain(marker);
    }
    expect(refused[4]!.json.detail).toContain('must not hold the value of "patient"');
    await node.flush();

    const { rows } = await sql<{ rows: number }>`select count(*)::int as rows from prediction`.execute(database.db);
    expect(rows[0]!.rows).toBe(3);
    const page = await node.registry.metrics();
    const log = await readFile(logFile, 'utf8');
    expect(log).toContain('route in force');
    // the search finds what is there
    expect(await tablesWith('stay-long')).toContain('prediction');
    for (const marker of ALL) {
      expect(await tablesWith(marker)).toEqual([]);
      expect(page).not.toContain(marker);
      expect(log).not.toContain(marker);
      for (const { headers } of [...answered, ...refused]) expect(JSON.stringify(headers)).not.toContain(marker);
    }
  },
);

test('a record without them still says what happened, and belongs to its trace', async () => {
  const traceparent = `00-${TRACE}-00f067aa0ba902b7-01`;
  const answer = await ask({ ...fields, mail: [MAIL], unit: UNIT, id: 'visit-1' }, { traceparent });
  expect(answer.headers['traceparent']).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
  await node.flush();
  const [logged] = await listPredictions(database.db, 'visit-1');
  const [key] = await readRedactionKeys(database.db, '');
  expect(logged).toMatchObject({
    version: 0,
    arm: 'canary',
    reason: 'refused_request',
    request: { patient: redactionToken(key!, PATIENT), income: redactionToken(key!, NUMBER), ward: 3 },
    unit: redactionToken(key!, UNIT),
    features: [expect.anything(), null, 3],
    redacted: expect.arrayContaining(['request.patient', 'request.income', 'unit', 'features.money']),
    traceId: TRACE,
  });
});

test('whom a token stands for is still found, and forgotten', async () => {
  await ask({ ...fields, id: 'visit-1' });
  await ask({ ...fields, patient: 'Another One', id: 'visit-2' });
  await node.flush();
  const { db } = database;
  const holders = keyHoldersOf([SPEC], 'patient')!;
  const roles = rolesOfModels({ holders, values: [PATIENT], redactionKeys: await readRedactionKeys(db, '') });
  expect(roles.map((each) => each.model)).toEqual(['stay-long']);
  expect(await countPredictions(db, 'stay-long', roles[0]!.roles)).toBe(1);
  await db.transaction().execute((tx) => removePredictions(tx, 'request', 'stay-long', roles[0]!.roles));
  expect(await countPredictions(db, 'stay-long', roles[0]!.roles)).toBe(0);
  expect(await listPredictions(db, 'visit-1')).toEqual([]);
  expect(await listPredictions(db, 'visit-2')).toHaveLength(1);
});
