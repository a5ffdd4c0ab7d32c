/** A project whose model reads what the request says, and versions of it by their ONNX files. */
import { pathToFileURL } from 'node:url';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute, type RouteTarget } from '../../db/routes.ts';
import {
  column,
  featureSet,
  hours,
  label,
  model,
  project,
  source,
  spine,
  training,
} from '../../domain/project/authoring.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import type { ServedProject } from './served-project.ts';

/** The published vectors of the assignment are of its rollouts. */
export const MODEL = 'late-arrival';

const parcels = source('parcels', {
  description: '',
  owner: 'team',
  columns: { at: column.ts(), customer: column.str(), kg: column.f64() },
  eventAt: 'at',
  availableAt: (row) => row.at.plusMinutes(1),
  eventId: ['at'],
  freshnessSla: hours(1),
});
const weight = featureSet('weight', {
  version: 1,
  description: '',
  request: { customer: column.str(), kg: column.f64() },
  views: {},
  derived: { kg_now: (row) => row.request.kg.times(1) },
});
const declared = model(MODEL, {
  description: '',
  owner: 'team',
  riskTier: 'low',
  spine: spine('parcels', {
    source: parcels,
    asOf: (row) => row.at,
    request: (row) => ({ customer: row.customer, kg: row.kg }),
  }),
  label: label('heavy', { source: parcels, of: (row) => row.kg.ge(10), description: '' }),
  threshold: 0.5,
  latencyBudgetMsP99: 1_000,
  rule: { featureSet: weight, score: (row) => row.derived.kg_now.div(100) },
  gates: [{ kind: 'schema' }],
  rollout: {
    stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
    guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
  },
  monitors: [],
  logSampleRate: 1,
  trainings: [
    training('logistic', {
      featureSet: weight,
      trainer: { kind: 'logistic' },
      split: { trainFrom: '2001-01-01', testFrom: '2001-05-01', testTo: '2001-06-01' },
      seed: 1,
      description: '',
    }),
  ],
});
/** The rule says a hundredth of the weight, `kg`; a version gets the weight as its one feature. */
export const spec = project('post', { description: '', models: [declared] });

export async function registerOnnx(served: ServedProject, version: number, bytes: Uint8Array): Promise<void> {
  const modelFile = await openBlobStore(pathToFileURL(served.folder).href).put(bytes);
  const rule = ruleManifest(spec, spec.models[0]!, { projectDigest: served.digest, author: 'ada' });
  const manifest = { ...rule, version, kind: 'onnx', modelFile, runId: `run-${version}` } as const;
  await registerVersion(served.database.db, { at: 1, manifest, sha256: `v${version}` });
}

/** Changes members of the route, and waits for the node to follow. */
export async function route({ database: { db }, node }: ServedProject, target: Partial<RouteTarget>): Promise<void> {
  const standing = await getRoute(db, MODEL);
  await moveRoute(db, {
    model: MODEL,
    expectedEpoch: standing.epoch,
    target: { ...standing, ...target },
    at: 2,
    reason: 'test',
  });
  await node.refreshRoutes();
}
