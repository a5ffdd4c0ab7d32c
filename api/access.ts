import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import assert from 'node:assert';
import type { Tables } from '../db/schema.ts';
import { findPrincipal, type Principal, type Role, ROLES } from '../db/tokens.ts';
import { SerinError } from '../domain/errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route: one of these roles is enough. An admin may call every route. */
    readonly roles?: readonly Role[];
  }
  interface FastifyRequest {
    principal: Principal;
  }
}

/** A revoked token is refused after at most this long by the other API processes, at once by the one that revoked it. */
const TTL_MS = 5_000;
const CACHED_TOKENS = 1_000;

const ANYONE = ROLES;
const MAKERS = ['engineer'] as const;
const FEEDERS = ['engineer', 'operator'] as const;
const ROLLOUT_HANDS = ['engineer', 'approver', 'operator'] as const;
const REMOVERS = ['approver', 'operator'] as const;
const NOBODY_BUT_ADMINS = ['admin'] as const;

/** Declares who may call a route: `config: may.read`. */
export const may = {
  read: { roles: ANYONE },
  /** Definitions, ingestion, trainings, rollouts. */
  make: { roles: MAKERS },
  /** Events and outcomes as they happen. */
  feed: { roles: FEEDERS },
  /** Commands: the rollout itself decides which of them may give which. */
  command: { roles: ROLLOUT_HANDS },
  /** What cannot be undone: an entity leaves every place. */
  remove: { roles: REMOVERS },
  administer: { roles: NOBODY_BUT_ADMINS },
} as const satisfies Record<string, { readonly roles: readonly Role[] }>;

export interface Access {
  /** Forgets what is cached, so that a change of tokens holds at once here. */
  forget(): void;
}

/** Every route of `app` that is registered after this asks for a token and one of its roles. */
export function guardRoutes(app: FastifyInstance, db: Kysely<Tables>): Access {
  const cache = new Map<string, { readonly principal: Principal; readonly until: number }>();
  app.decorateRequest('principal', null as unknown as Principal);
  app.addHook('onRoute', ({ config, method, url }) => {
    assert(config?.roles !== undefined, `${String(method)} ${url} does not say who may call it`);
  });
  app.addHook('onRequest', async (request) => {
    request.principal = await authenticate(request);
    const { roles = [] } = request.routeOptions.config;
    const held = request.principal.roles;
    if (held.includes('admin') || roles.some((role) => held.includes(role))) return;
    throw new SerinError(
      'FORBIDDEN',
      `${request.method} ${request.routeOptions.url ?? request.url} needs one of the roles ${[...new Set([...roles, 'admin'])].join(', ')}; ${request.principal.principal} has ${held.join(', ') || 'none'}`,
      { fields: { principal: request.principal.principal, held, required: roles } },
    );
  });
  return { forget: () => cache.clear() };

  async function authenticate(request: FastifyRequest): Promise<Principal> {
    const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) {
      throw new SerinError(
        'UNAUTHENTICATED',
        'send the header "Authorization: Bearer <token>"; an admin makes tokens with: serin token create',
      );
    }
    const now = performance.now();
    const cached = cache.get(token);
    if (cached !== undefined && cached.until > now) return cached.principal;
    const principal = await findPrincipal(db, token);
    if (principal === undefined) {
      cache.delete(token);
      throw new SerinError(
        'UNAUTHENTICATED',
        'the token is unknown or revoked; an admin makes tokens with: serin token create',
      );
    }
    if (cache.size >= CACHED_TOKENS) cache.clear();
    cache.set(token, { principal, until: now + TTL_MS });
    return principal;
  }
}
