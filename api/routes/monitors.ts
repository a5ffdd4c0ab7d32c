import { Type } from 'typebox';
import { listAlerts } from '../../db/monitors.ts';
import { SerinError } from '../../domain/errors.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { IdempotencyHeaders, keyOf, operationAnswers, startOperation, Waiting } from '../operations.ts';
import { readContract } from '../read-training.ts';
import { answers, type Api, At, Body, Maybe, Name } from '../route-schema.ts';

const Alert = Type.Object({
  alertId: Type.String(),
  model: Type.String(),
  monitor: Type.String(),
  severity: Type.Enum(['warning', 'critical']),
  status: Type.Enum(['firing', 'resolved']),
  owner: Type.String(),
  runbook: Type.String(),
  sentence: Type.String(),
  raisedAt: At,
  resolvedAt: Maybe(At),
});

export function registerMonitorRoutes(api: Api, context: ApiContext): void {
  const { db, workflows } = context;

  api.put(
    '/models/:model/monitor',
    {
      config: may.make,
      schema: {
        tags: ['monitors'],
        summary: 'Watch the production windows of a model from now on',
        params: Type.Object({ model: Name }),
        response: operationAnswers(['MODEL_NOT_FOUND', 'SPEC_INVALID']),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      const { contract } = await readContract(db, model);
      if (contract.monitors.length === 0) {
        throw new SerinError('SPEC_INVALID', `the model "${model}" declares no monitors: there is nothing to run`);
      }
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'monitorModel',
          workflowId: `monitor/${model}`,
          input: { model },
          summary: `monitors of ${model}`,
          model,
          again: 'always',
        },
        { wait: false },
      );
    },
  );

  api.delete(
    '/models/:model/monitor',
    {
      config: may.make,
      schema: {
        tags: ['monitors'],
        summary: 'Stop watching a model',
        params: Type.Object({ model: Name }),
        response: answers(
          { 200: { description: 'Whether it was watched.', schema: Type.Object({ stopped: Type.Boolean() }) } },
          ['TEMPORAL_UNAVAILABLE'],
        ),
      },
    },
    async ({ params: { model } }) => ({ stopped: await workflows.cancel(`monitor/${model}`) }),
  );

  api.post(
    '/models/:model/consistency-checks',
    {
      config: may.make,
      schema: {
        tags: ['monitors'],
        summary: 'Hold the features of the last hour’s logged answers against the log, once',
        params: Type.Object({ model: Name }),
        querystring: Waiting,
        headers: IdempotencyHeaders,
        response: operationAnswers(['MODEL_NOT_FOUND']),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      await readContract(db, model);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'checkConsistency',
          workflowId: `consistency/${model}/${keyOf(request.headers)}`,
          input: { model },
          summary: `features of ${model} against the log`,
          model,
          again: 'never',
        },
        request.query,
      );
    },
  );

  api.put(
    '/models/:model/consistency',
    {
      config: may.make,
      schema: {
        tags: ['monitors'],
        summary: 'Hold the features of logged answers against the log from now on, and alert on the first that differs',
        params: Type.Object({ model: Name }),
        body: Body(
          { everyMs: Type.Integer({ minimum: 60_000, default: 3_600_000 }) },
          { examples: [{ everyMs: 3_600_000 }] },
        ),
        response: operationAnswers(['MODEL_NOT_FOUND']),
      },
    },
    async (request, reply) => {
      const { model } = request.params;
      await readContract(db, model);
      return startOperation(
        context,
        request,
        reply,
        {
          type: 'checkConsistency',
          workflowId: `consistency/${model}`,
          input: { model, everyMs: request.body.everyMs },
          summary: `features of ${model} against the log`,
          model,
          again: 'always',
        },
        { wait: false },
      );
    },
  );

  api.delete(
    '/models/:model/consistency',
    {
      config: may.make,
      schema: {
        tags: ['monitors'],
        summary: 'Stop holding features against the log',
        params: Type.Object({ model: Name }),
        response: answers(
          { 200: { description: 'Whether it was done.', schema: Type.Object({ stopped: Type.Boolean() }) } },
          ['TEMPORAL_UNAVAILABLE'],
        ),
      },
    },
    async ({ params: { model } }) => ({ stopped: await workflows.cancel(`consistency/${model}`) }),
  );

  api.get(
    '/alerts',
    {
      config: may.read,
      schema: {
        tags: ['monitors'],
        summary: 'Alerts, newest first',
        querystring: Type.Object({
          model: Type.Optional(Name),
          status: Type.Optional(Type.Enum(['firing', 'resolved'])),
        }),
        response: answers({
          200: { description: 'The newest 200.', schema: Type.Object({ alerts: Type.Array(Alert) }) },
        }),
      },
    },
    async ({ query: { model, status } }) => ({
      alerts: await listAlerts(db, { ...(model !== undefined && { model }), ...(status !== undefined && { status }) }),
    }),
  );
}
