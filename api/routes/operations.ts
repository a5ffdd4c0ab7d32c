import { Type } from 'typebox';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { findOperation, OperationView, viewOf, Waiting } from '../operations.ts';
import { answers, type Api } from '../route-schema.ts';

export function registerOperationRoutes(api: Api, context: ApiContext): void {
  api.get(
    '/operations/*',
    {
      config: may.read,
      schema: {
        tags: ['operations'],
        summary: 'How far a workflow has come',
        description: 'The id may be written as it is or percent-encoded (`train%2Fflight-delay%2F…`).',
        // a property named * is taken for a pattern by the validator, so the wildcard is left unnamed in the schema
        params: Type.Unsafe<{ '*': string }>({
          type: 'object',
          additionalProperties: { type: 'string', minLength: 1, maxLength: 500 },
        }),
        querystring: Waiting,
        response: answers({ 200: { description: 'The workflow.', schema: OperationView } }, [
          'NOT_FOUND',
          'TEMPORAL_UNAVAILABLE',
        ]),
      },
    },
    async (request, reply) => {
      request.workflowId = request.params['*'];
      return viewOf(context, await findOperation(context, reply, request.params['*'], request.query.wait));
    },
  );
}
