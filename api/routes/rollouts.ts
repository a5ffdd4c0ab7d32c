import { Type } from 'typebox';
import { getVersion, listVersions } from '../../db/registry.ts';
import { readRolloutSpec, rolloutIdOf } from '../../db/rollout-spec.ts';
import {
  findActiveRollout,
  getRollout,
  listLooks,
  listRollouts,
  type Rollout,
  type RolloutLook,
} from '../../db/rollouts.ts';
import { SerinError } from '../../domain/errors.ts';
import { describe, stageLabel } from '../../domain/rollout/describe.ts';
import type { Analysis } from '../../domain/rollout/evidence.ts';
import { planRollout } from '../../domain/rollout/plan.ts';
import { COMMANDS_BY_PHASE } from '../../domain/rollout/commands.ts';
import { canaryWeightPercent, type RolloutState } from '../../domain/rollout/state.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { operationAnswers, startOperation, temporalLink, Waiting } from '../operations.ts';
import { answers, type Api, At, Body, Document, Limit, Maybe, Name, Version } from '../route-schema.ts';

const RolloutView = {
  rolloutId: Type.String({ examples: ['rollout/flight-delay/2'] }),
  model: Type.String(),
  version: Type.Integer(),
  author: Type.String(),
  phase: Type.String({ examples: ['ramping'] }),
  stage: Type.String({ examples: ['20 %'] }),
  weightPercent: Type.Number(),
  startedAt: At,
  endedAt: Maybe(At),
  links: Type.Object({ temporal: Type.String() }),
};
const Look = Type.Object({
  look: Type.Integer(),
  lookedAt: At,
  phase: Type.String(),
  verdict: Type.Enum(['advance', 'rollback', 'hold', 'void']),
  evidenceDigest: Type.String(),
  findings: Type.Array(Document('Metric, estimate, bounds, margin, verdict, sentence.')),
});

export function registerRolloutRoutes(api: Api, context: ApiContext): void {
  const { db } = context;

  api.post(
    '/models/:model/rollouts',
    {
      config: may.feed,
      schema: {
        tags: ['rollouts'],
        summary: 'Roll a version out by the policy of its project',
        params: Type.Object({ model: Name }),
        querystring: Waiting,
        body: Body({ version: Version }, { examples: [{ version: 2 }] }),
        response: operationAnswers([
          'MODEL_NOT_FOUND',
          'VERSION_NOT_FOUND',
          'ROLLOUT_ACTIVE',
          'STAGE_TRANSITION_REFUSED',
        ]),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { version } = request.body;
      const spec = await readRolloutSpec(db, { model, version });
      await refuseUnlessStartable(model, version);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'rolloutModel',
          workflowId: spec.rolloutId,
          input: { spec },
          summary: `roll out ${model} v${version}`,
          model,
          version,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  api.get(
    '/rollouts',
    {
      config: may.read,
      schema: {
        tags: ['rollouts'],
        summary: 'Rollouts, newest first',
        querystring: Type.Object({ model: Type.Optional(Name), limit: Limit }),
        response: answers({
          200: {
            description: 'The rollouts.',
            schema: Type.Object({ rollouts: Type.Array(Type.Object(RolloutView)) }),
          },
        }),
      },
    },
    async ({ query: { model, limit } }) => ({
      rollouts: (await listRollouts(db, { limit, ...(model !== undefined && { model }) })).map(summaryOf),
    }),
  );

  api.get(
    '/rollouts/:model/:version',
    {
      config: may.read,
      schema: {
        tags: ['rollouts'],
        summary: 'Where a rollout stands, and what it saw',
        params: Type.Object({ model: Name, version: Version }),
        querystring: Type.Object({
          looks: Type.Integer({ minimum: 1, maximum: 200, default: 5, description: 'How many of the last looks.' }),
        }),
        response: answers(
          {
            200: {
              description: 'The rollout.',
              schema: Type.Object({
                ...RolloutView,
                state: Document('The state of the state machine.'),
                policy: Document('The policy it runs by.'),
                details: Type.String({ description: 'Markdown, as the Temporal UI shows it.' }),
                commands: Type.Array(Type.String(), { description: 'Those it takes now.' }),
                evidenceDigest: Maybe(Type.String({ description: 'What an approval must name.' })),
                looks: Type.Array(Look),
              }),
            },
          },
          ['ROLLOUT_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { model, version }, query }) => {
      const rollout = await getRollout(db, rolloutIdOf(model, version));
      const looks = (await listLooks(db, rollout.rolloutId, { last: query.looks })).map(lookOf);
      return {
        ...summaryOf(rollout),
        state: rollout.state,
        policy: rollout.policy,
        details: describe(rollout, rollout.state, looks.at(-1)?.findings),
        commands: COMMANDS_BY_PHASE[rollout.state.phase],
        evidenceDigest: evidenceDigestOf(rollout.state) ?? null,
        looks,
      };
    },
  );

  api.post(
    '/models/:model/rollouts/plan',
    {
      config: may.read,
      schema: {
        tags: ['rollouts'],
        summary: 'What a rollout could find out with so much traffic, before it starts',
        params: Type.Object({ model: Name }),
        body: Body(
          {
            version: Type.Optional(Version),
            requestsPerSecond: Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000 }),
            errorRate: Type.Optional(
              Type.Number({ minimum: 0, maximum: 1, description: 'Of the champion; 0.001 when left out.' }),
            ),
            slowRate: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: '0.01 when left out.' })),
            positiveRate: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: '0.2 when left out.' })),
            labelledShare: Type.Optional(
              Type.Number({
                minimum: 0,
                maximum: 1,
                description: 'Share of requests whose outcome arrives while it counts; 0 when left out.',
              }),
            ),
          },
          { examples: [{ version: 2, requestsPerSecond: 200 }] },
        ),
        response: answers(
          {
            200: {
              description: 'The plan, stage by stage.',
              schema: Document('Stages, whether each can decide, sentences.'),
            },
          },
          ['MODEL_NOT_FOUND', 'VERSION_NOT_FOUND'],
        ),
      },
    },
    async ({ params: { model }, body }) => {
      const version = body.version ?? (await newestVersion(model));
      const { policy } = await readRolloutSpec(db, { model, version });
      const { manifest } = await getVersion(db, model, version);
      const { requestsPerSecond, errorRate = 0.001, slowRate = 0.01, positiveRate = 0.2, labelledShare = 0 } = body;
      const brier = manifest.evaluation?.brier.value ?? positiveRate * (1 - positiveRate);
      const plan = planRollout(policy, {
        requestsPerSecond,
        errorRate,
        slowRate,
        positiveRate,
        // the Brier loss of one answer lies in [0, 1]: its spread is at most √(m (1 − m)) at mean m
        loss:
          labelledShare === 0
            ? null
            : { mean: brier, standardDeviation: Math.sqrt(brier * (1 - brier)), labelledShare },
      });
      return { model, version, ...plan };
    },
  );

  /** Says at once what the workflow would say first. A rollout of this version that is under way is joined. */
  async function refuseUnlessStartable(model: string, version: number): Promise<void> {
    const active = await findActiveRollout(db, model);
    if (active !== undefined && active.version === version) return;
    if (active !== undefined) {
      throw new SerinError(
        'ROLLOUT_ACTIVE',
        `the model "${model}" is rolling out v${active.version} (${active.rolloutId}); wait for its end or abort it`,
        {
          fields: { model, active: active.rolloutId },
        },
      );
    }
    const { stage } = await getVersion(db, model, version);
    if (stage !== 'staging') {
      throw new SerinError(
        'STAGE_TRANSITION_REFUSED',
        `${model} v${version} is in ${stage}; only a version in staging can be rolled out: train it anew`,
        {
          fields: { model, version, stage },
        },
      );
    }
  }

  async function newestVersion(model: string): Promise<number> {
    return (await listVersions(db, model)).at(-1)?.version ?? 0;
  }

  function summaryOf({ rolloutId, model, version, author, phase, state, startedAt, endedAt }: Rollout) {
    return {
      rolloutId,
      model,
      version,
      author,
      phase,
      stage: stageLabel(state),
      weightPercent: canaryWeightPercent(state),
      startedAt,
      endedAt,
      links: { temporal: temporalLink(context, rolloutId) },
    };
  }
}

function lookOf({ look, lookedAt, phase, verdict, evidenceSha256, evidence }: RolloutLook) {
  const { analysis } = evidence as { readonly analysis: Analysis };
  return { look, lookedAt, phase, verdict, evidenceDigest: evidenceSha256, findings: analysis.findings };
}

/** What the state rests on; of a paused one, what it goes back to. */
function evidenceDigestOf(state: RolloutState): string | null | undefined {
  switch (state.phase) {
    case 'shadowing':
    case 'ramping':
    case 'awaitingApproval':
      return state.evidenceDigest;
    case 'paused':
    case 'frozen':
      return state.resumeTo.evidenceDigest;
    default:
      return undefined;
  }
}
