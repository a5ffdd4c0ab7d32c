import { Type } from 'typebox';
import { appendDecision } from '../../db/decisions.ts';
import { createToken, revokeTokens, ROLES } from '../../db/tokens.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, Body } from '../route-schema.ts';

const Principal = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$', examples: ['ada'] });

export function registerTokenRoutes(api: Api, { db, now, access }: ApiContext): void {
  api.post(
    '/tokens',
    {
      config: may.administer,
      schema: {
        tags: ['access'],
        summary: 'Make a token; it is shown this once',
        body: Body(
          { principal: Principal, roles: Type.Array(Type.Enum([...ROLES]), { minItems: 1, uniqueItems: true }) },
          { examples: [{ principal: 'ada', roles: ['engineer'] }] },
        ),
        response: answers({
          201: {
            description: 'The token.',
            schema: Type.Object({
              principal: Type.String(),
              roles: Type.Array(Type.String()),
              token: Type.String({ examples: ['serin_…'] }),
            }),
          },
        }),
      },
    },
    async ({ body: { principal, roles }, principal: by, id }, reply) => {
      const token = await db.transaction().execute(async (tx) => {
        await appendDecision(tx, {
          subject: `token/${principal}`,
          kind: 'tokenCreated',
          actor: by.principal,
          reason: `roles ${roles.join(', ')}`,
          evidenceSha256: null,
          payload: { roles },
          idempotencyKey: `token/${id}`,
          decidedAt: now(),
        });
        return createToken(tx, { principal, roles, at: now() });
      });
      return reply.code(201).send({ principal, roles, token });
    },
  );

  api.delete(
    '/tokens/:principal',
    {
      config: may.administer,
      schema: {
        tags: ['access'],
        summary: 'Revoke every token of a principal',
        params: Type.Object({ principal: Principal }),
        response: answers({
          200: {
            description: 'How many were revoked.',
            schema: Type.Object({ principal: Type.String(), revoked: Type.Integer() }),
          },
        }),
      },
    },
    async ({ params: { principal }, principal: by, id }) => {
      const revoked = await db.transaction().execute(async (tx) => {
        const count = await revokeTokens(tx, { principal, at: now() });
        await appendDecision(tx, {
          subject: `token/${principal}`,
          kind: 'tokensRevoked',
          actor: by.principal,
          reason: `${count} revoked`,
          evidenceSha256: null,
          payload: { revoked: count },
          idempotencyKey: `token/${id}`,
          decidedAt: now(),
        });
        return count;
      });
      access.forget();
      return { principal, revoked };
    },
  );
}
