import { Type } from 'typebox';
import { readLiveScores } from '../../db/outcomes.ts';
import { getModel, getVersion, listModels, listVersions, type ModelVersion } from '../../db/registry.ts';
import { findActiveRollout } from '../../db/rollouts.ts';
import { findRoute, getRoute, listRoutes } from '../../db/routes.ts';
import { CALIBRATION_METHODS } from '../../domain/calibration/calibration.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { liveQuality } from '../live-quality.ts';
import { answers, type Api, At, Document, Maybe, Name, Version } from '../route-schema.ts';

const Estimate = Maybe(
  Type.Object({ value: Type.Number(), low: Type.Number(), high: Type.Number(), standardError: Type.Number() }),
);
const VersionView = Type.Object({
  version: Type.Integer(),
  kind: Type.Enum(['rule', 'onnx']),
  stage: Type.Enum(['staging', 'candidate', 'production', 'archived']),
  stageReason: Type.String(),
  training: Maybe(Type.String()),
  featureSet: Type.String(),
  author: Type.String(),
  runId: Maybe(Type.String()),
  registeredAt: At,
  evaluation: Document('The offline evaluation; null for the rule.'),
  calibration: Maybe(
    Type.Enum([...CALIBRATION_METHODS], { description: 'Null: scores are answered as the model gives them.' }),
  ),
});
const Params = Type.Object({ model: Name });

export function registerModelRoutes(api: Api, { db }: ApiContext): void {
  api.get(
    '/models',
    {
      config: may.read,
      schema: {
        tags: ['models'],
        summary: 'The models, and who answers for each',
        response: answers({
          200: {
            description: 'By name.',
            schema: Type.Object({
              models: Type.Array(
                Type.Object({
                  name: Type.String(),
                  project: Type.String(),
                  projectDigest: Type.String(),
                  route: Document('Champion, canary, weight, epoch.'),
                }),
              ),
            }),
          },
        }),
      },
    },
    async () => {
      const [models, routes] = await Promise.all([listModels(db), listRoutes(db)]);
      return {
        models: models.map((model) => ({
          ...model,
          route: routes.find((route) => route.model === model.name) ?? null,
        })),
      };
    },
  );

  api.get(
    '/models/:model',
    {
      config: may.read,
      schema: {
        tags: ['models'],
        summary: 'One model: route, versions, the rollout under way',
        params: Params,
        response: answers(
          {
            200: {
              description: 'The model.',
              schema: Type.Object({
                name: Type.String(),
                project: Type.String(),
                projectDigest: Type.String(),
                route: Document('Champion, last known good, canary, weight, shadow, epoch.'),
                versions: Type.Array(VersionView),
                activeRollout: Maybe(
                  Type.Object({ rolloutId: Type.String(), version: Type.Integer(), phase: Type.String() }),
                ),
              }),
            },
          },
          ['MODEL_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { model: name } }) => {
      const model = await getModel(db, name);
      const [route, versions, active] = await Promise.all([
        findRoute(db, name),
        listVersions(db, name),
        findActiveRollout(db, name),
      ]);
      return {
        ...model,
        route: route ?? null,
        versions: versions.map(viewOf),
        activeRollout:
          active === undefined ? null : { rolloutId: active.rolloutId, version: active.version, phase: active.phase },
      };
    },
  );

  api.get(
    '/models/:model/versions/:version',
    {
      config: may.read,
      schema: {
        tags: ['models'],
        summary: 'One version with its manifest',
        params: Type.Object({ model: Name, version: Version }),
        response: answers(
          { 200: { description: 'The version.', schema: Document('The registry row and the immutable manifest.') } },
          ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { model, version } }) => getVersion(db, model, version),
  );

  api.get(
    '/models/:model/quality',
    {
      config: may.read,
      schema: {
        tags: ['models'],
        summary: 'Live quality of a version: answers whose outcome is known',
        description: 'Weighted by the sampling of the log; 95 % intervals.',
        params: Params,
        querystring: Type.Object({
          version: Type.Optional(Version),
          from: Type.Integer({ default: 0, description: 'Answered at or after, in microseconds.' }),
          to: Type.Integer({ default: Number.MAX_SAFE_INTEGER, description: 'Answered before, in microseconds.' }),
        }),
        response: answers(
          {
            200: {
              description: 'The champion where no version is named.',
              schema: Type.Object({
                model: Type.String(),
                version: Type.Integer(),
                labelled: Type.Integer(),
                positives: Type.Integer(),
                auc: Estimate,
                logLoss: Estimate,
                brier: Estimate,
              }),
            },
          },
          ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND', 'ROUTE_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { model }, query }) => {
      const version = query.version ?? (await getRoute(db, model)).champion;
      await getVersion(db, model, version);
      const scores = await readLiveScores(db, { model, version, from: query.from, to: query.to });
      return { model, version, ...liveQuality(scores) };
    },
  );
}

function viewOf({ version, kind, stage, stageReason, manifest, author, runId, registeredAt }: ModelVersion) {
  const { training, featureSet, evaluation } = manifest;
  const calibration = manifest.calibration?.method ?? null;
  return {
    version,
    kind,
    stage,
    stageReason,
    training,
    featureSet,
    author,
    runId,
    registeredAt,
    evaluation,
    calibration,
  };
}
