/** The messages of Serin's own routes of the inference tier, as JSON Schema (draft 2020-12). */
import { Type } from 'typebox';
import { FEATURE_STATUSES } from '../../domain/features/feature-status.ts';
import { Problem } from '../../platform/problem-schema.ts';
import { FALLBACK_REASONS } from '../scoring/answer.ts';

const Name = Type.String({ minLength: 1 });
const Instant = Type.String({ format: 'date-time', examples: ['2001-06-01T12:00:00.000000Z'] });

const PredictRequest = Type.Object(
  {
    id: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    unit: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    asOf: Type.Optional(Instant),
    instances: Type.Optional(Type.Array(Type.Object({}), { minItems: 1, maxItems: 1_000 })),
  },
  {
    description:
      'One instance, or `{"instances": […]}` with up to 1,000. An instance has the request fields of the model: `GET /v1/models/{model}/schema` has them with their types.',
  },
);

const ExplainedFeature = Type.Object({
  value: Type.Union([Type.Number(), Type.Null()], { description: 'As the model saw it; null: missing.' }),
  status: Type.String({ description: 'present, null, not_found, expired, defaulted or deleted' }),
  ageSeconds: Type.Union([Type.Number(), Type.Null()], { description: 'Back to the event behind the value.' }),
});

const Prediction = Type.Object(
  {
    predictionId: Type.String({ description: 'The id of the instance, or a new one. Outcomes refer to it.' }),
    score: Type.Number({ description: 'Calibrated where the version has a calibration.' }),
    label: Type.Integer({ minimum: 0, maximum: 1, description: 'By the threshold of the version, or of the slice.' }),
    class: Type.Optional(Type.String({ description: 'The name of the label, where the model names them.' })),
    version: Type.Integer({ minimum: 0, description: 'The version that gave the score; 0 is the rule.' }),
    answeredBy: Type.Optional(Type.String({ description: 'The fallback model, when it was one.' })),
    arm: Type.Enum(['champion', 'canary', 'override'], { description: 'Whom the unit is assigned to.' }),
    rung: Type.Enum(['override', 'canary', 'champion', 'last_known_good', 'fallback', 'rule', 'constant'], {
      description: 'Who answered: the arm itself, or the rung of the fallback ladder it came down to.',
    }),
    reason: Type.Optional(Type.Enum([...FALLBACK_REASONS], { description: 'Why it was not the arm itself.' })),
    epoch: Type.Integer({ description: 'Of the route it was answered by.' }),
    asOf: Instant,
    rawScore: Type.Optional(Type.Number({ description: 'What the model gave. With explain=features, as all below.' })),
    threshold: Type.Optional(Type.Number()),
    slice: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    readAt: Type.Optional(Type.Union([Instant, Type.Null()])),
    error: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    features: Type.Optional(Type.Object({}, { additionalProperties: ExplainedFeature })),
  },
  { description: 'The answer to one instance.' },
);

export const PredictResponse = Type.Object({
  model: Name,
  predictions: Type.Array(Prediction, { description: 'One per instance, in their order.' }),
});

const RoutedModel = Type.Object(
  {
    model: Name,
    route: Type.Object({
      epoch: Type.Integer(),
      champion: Type.Integer(),
      lastKnownGood: Type.Integer(),
      updatedAt: Instant,
    }),
    contract: Type.Object({
      latencyBudgetMsP99: Type.Number(),
      logSampleRate: Type.Number(),
      fallback: Type.Optional(Name),
    }),
    versions: Type.Array(
      Type.Object({
        version: Type.Integer(),
        kind: Type.Enum(['rule', 'onnx']),
        featureSet: Name,
        threshold: Type.Number(),
        timeoutMs: Type.Union([Type.Number(), Type.Null()], { description: 'To compute a batch; null: a rule.' }),
        mandatory: Type.Array(Type.String(), { description: 'Features without which it is not asked.' }),
        circuit: Type.Union([Type.Enum(['closed', 'half_open', 'open']), Type.Null()], {
          description: 'open: it fails too often and is not asked at the moment. Null: a rule, which is always asked.',
        }),
      }),
    ),
  },
  { description: 'A model of this node: its route, its contract, the versions that are loaded.' },
);

const FileModel = Type.Object(
  {
    model: Name,
    versions: Type.Array(Type.String()),
    state: Type.Enum(['READY', 'UNAVAILABLE', 'LOADING']),
    reason: Type.String(),
  },
  { description: 'A model of a plain file.' },
);

const ModelSchema = Type.Object(
  {
    model: Name,
    version: Type.String(),
    request: Type.Object({}, { description: 'JSON Schema of a request body.' }),
    response: Type.Object({}, { description: 'JSON Schema of the answer to it.' }),
    example: Type.Object({}, { description: 'A request body that is answered.' }),
  },
  { description: 'What one model takes and gives.' },
);

const LoggedPredictions = Type.Object({
  predictionId: Name,
  answers: Type.Array(
    Type.Object({
      model: Name,
      version: Type.Integer(),
      score: Type.Unknown(),
      asOf: Instant,
      answeredAt: Instant,
      features: Type.Array(Type.Union([Type.Number(), Type.Null()]), {
        description: 'In the order of `featureNames` of the version; null: missing.',
      }),
      statuses: Type.Array(Type.Integer(), {
        description: `Of each feature: ${FEATURE_STATUSES.map((status, at) => `${at} ${status}`).join(', ')}.`,
      }),
      known: Type.Union([Type.Object({ knownSeq: Type.Object({}), readAt: Instant }), Type.Null()], {
        description: 'What the online store knew: of each view the last event, and when the features hold.',
      }),
    }),
  ),
});

const Health = Type.Object({ status: Type.String() });

/** By the names they have in the description of the server. */
export const PRODUCT_SCHEMAS = {
  PredictRequest,
  Prediction,
  PredictResponse,
  RoutedModel,
  FileModel,
  ModelSchema,
  LoggedPredictions,
  Problem,
  Health,
};
