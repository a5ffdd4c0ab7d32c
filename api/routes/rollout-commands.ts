import { randomUUID } from 'node:crypto';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { getModel } from '../../db/registry.ts';
import { rolloutIdOf } from '../../db/rollout-spec.ts';
import { findActiveRollout, getRollout } from '../../db/rollouts.ts';
import { SerinError } from '../../domain/errors.ts';
import { COMMANDS, type CommandType } from '../../domain/rollout/state.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { answers, type Api, Body, Digest, Key, Name, Reason, Version } from '../route-schema.ts';

const CommandAnswer = Type.Object({
  rolloutId: Type.String(),
  commandId: Type.String(),
  phase: Type.String(),
  details: Type.String({ description: 'Markdown, as the Temporal UI shows it.' }),
});

export function registerRolloutCommandRoutes(api: Api, context: ApiContext): void {
  const { db, workflows } = context;

  api.post(
    '/rollouts/:model/:version/commands',
    {
      config: may.command,
      schema: {
        tags: ['rollouts'],
        summary: 'Give a rollout a command',
        description:
          'Who may give which command when is decided by the rollout itself. The same commandId again is the same command.',
        params: Type.Object({ model: Name, version: Version }),
        body: Body(
          {
            type: Type.Enum([...COMMANDS]),
            reason: Reason,
            evidenceDigest: Type.Optional(Digest),
            commandId: Type.Optional(Key),
          },
          {
            examples: [
              { type: 'approve', reason: 'the loss is within its margin', evidenceDigest: '9f86d081884c7d65' },
            ],
          },
        ),
        response: answers({ 200: { description: 'It was obeyed.', schema: CommandAnswer } }, [
          'ROLLOUT_NOT_FOUND',
          'ROLLOUT_ENDED',
          'COMMAND_REFUSED',
          'APPROVAL_BY_AUTHOR',
          'APPROVAL_STALE',
          'TEMPORAL_UNAVAILABLE',
        ]),
      },
    },
    async (request) => {
      const { model, version } = request.params;
      return command(request, rolloutIdOf(model, version), request.body);
    },
  );

  api.post(
    '/models/:model/rollback',
    {
      config: may.command,
      schema: {
        tags: ['rollouts'],
        summary: 'Take the traffic of a model back to its last known good version',
        description: 'A rollout that is under way is rolled back by its own command; else the champion is taken down.',
        params: Type.Object({ model: Name }),
        headers: IdempotencyHeaders,
        querystring: Waiting,
        body: Body({ reason: Reason }, { examples: [{ reason: 'complaints from two airports' }] }),
        response: {
          ...operationAnswers(['MODEL_NOT_FOUND', 'COMMAND_REFUSED', 'ROUTE_NOT_FOUND', 'ROLLOUT_ENDED']),
        },
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { reason } = request.body;
      await getModel(db, model);
      const active = await findActiveRollout(db, model);
      let abandonedRollout: string | undefined;
      if (active !== undefined) {
        try {
          return await command(request, active.rolloutId, { type: 'rollback', reason });
        } catch (error) {
          // its row says that it runs, its workflow is gone: nobody but this rollback will ever take its traffic back
          if (!(error instanceof SerinError) || error.code !== 'ROLLOUT_ENDED') throw error;
          abandonedRollout = active.rolloutId;
        }
      }
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'rollbackModel',
          workflowId: `rollback/${model}/${keyOf(request.headers)}`,
          input: {
            model,
            actor: request.principal.principal,
            reason,
            ...(abandonedRollout !== undefined && { abandonedRollout }),
          },
          summary: `roll ${model} back: ${reason.slice(0, 100)}`,
          model,
          again: 'afterFailure',
        },
        request.query,
      );
    },
  );

  async function command(
    request: FastifyRequest,
    rolloutId: string,
    given: { type: CommandType; reason: string; evidenceDigest?: string; commandId?: string },
  ) {
    const { type, reason, evidenceDigest, commandId = randomUUID() } = given;
    const { principal: id, roles } = request.principal;
    request.workflowId = rolloutId;
    try {
      const answer = await workflows.command(rolloutId, type, {
        commandId,
        command: { type, reason, actor: { id, roles }, ...(evidenceDigest !== undefined && { evidenceDigest }) },
      });
      return { rolloutId, commandId, ...answer };
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      const { phase } = await getRollout(db, rolloutId);
      throw new SerinError('ROLLOUT_ENDED', `${rolloutId} has ended (${phase}) and takes no commands any more`, {
        cause: error,
        fields: { rolloutId, phase },
      });
    }
  }
}
