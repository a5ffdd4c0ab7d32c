import { Type } from 'typebox';
import { listDecisions, verifyDecisions } from '../../db/decisions.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, At, Document, Maybe } from '../route-schema.ts';

const Decision = Type.Object({
  seq: Type.Integer(),
  subject: Type.String({ examples: ['rollout/flight-delay/2'] }),
  kind: Type.String({ examples: ['promoted'] }),
  actor: Type.String(),
  reason: Type.String(),
  evidenceSha256: Maybe(Type.String()),
  payload: Document('What belongs to the kind of decision.'),
  idempotencyKey: Type.String(),
  decidedAt: At,
  prevHash: Type.String(),
  hash: Type.String(),
});

export function registerDecisionRoutes(api: Api, { db }: ApiContext): void {
  api.get(
    '/decisions',
    {
      config: may.read,
      schema: {
        tags: ['audit'],
        summary: 'Who or what decided what, on which evidence',
        querystring: Type.Object({
          subject: Type.Optional(Type.String({ maxLength: 200, examples: ['rollout/flight-delay/2'] })),
          after: Type.Integer({ minimum: 0, default: 0, description: 'Only records behind this one.' }),
          limit: Type.Integer({ minimum: 1, maximum: 500, default: 100 }),
        }),
        response: answers({
          200: {
            description: 'In the order in which they were taken.',
            schema: Type.Object({ decisions: Type.Array(Decision) }),
          },
        }),
      },
    },
    async ({ query: { subject, after, limit } }) => ({
      decisions: await listDecisions(db, { after, limit, ...(subject !== undefined && { subject }) }),
    }),
  );

  api.get(
    '/audit/verify',
    {
      config: may.read,
      schema: {
        tags: ['audit'],
        summary: 'Check the hash chain of the decision log from its first record',
        response: answers(
          {
            200: {
              description: 'It holds.',
              schema: Type.Object({ holds: Type.Literal(true), records: Type.Integer(), head: Type.String() }),
            },
          },
          ['AUDIT_BROKEN'],
        ),
      },
    },
    async () => ({ holds: true, ...(await verifyDecisions(db)) }),
  );
}
