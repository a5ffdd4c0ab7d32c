import type { Principal, Role } from '../../db/tokens.ts';
import { SerinError } from '../../domain/errors.ts';

/** Who may say which version is to answer: everybody with a hand in rollouts. An admin may, too. */
const TESTERS: readonly Role[] = ['engineer', 'approver', 'operator', 'admin'];

/** A revoked token is refused after at most this long; an unknown one is not looked up again sooner. */
const TTL_MS = 30_000;
const MAX_TOKENS = 1_000;
/** Reads of the database under way: made-up tokens must not take its few connections from the log. */
const MAX_LOOK_UPS = 4;
/** A database that has stopped answering must not hold a request for ever. */
const PATIENCE_MS = 2_000;

export interface TesterAccessDeps {
  /** undefined: the token is unknown or revoked. */
  readonly findPrincipal: (token: string) => Promise<Principal | undefined>;
  readonly nowMs: () => number;
}

export interface TesterAccess {
  /**
   * @param authorization of the request
   * @throws SerinError UNAUTHENTICATED without a known token, FORBIDDEN without the role, DATABASE_UNAVAILABLE for a token
   *   that is not known here while PostgreSQL is away, OVERLOADED while too many such tokens are looked up
   */
  readonly authorize: (authorization: string | undefined) => Promise<Principal>;
}

/**
 * Checks testers' tokens without a read of the database per request: what was found, and that nothing was found, is known for
 * half a minute, and requests that come with a token while it is being looked up wait for the one read.
 */
export function createTesterAccess({ findPrincipal, nowMs }: TesterAccessDeps): TesterAccess {
  let lookUps = 0;
  const known = new Map<string, { readonly untilMs: number; readonly found: Promise<Principal | undefined> }>();

  function lookUp(token: string): Promise<Principal | undefined> {
    const standing = known.get(token);
    if (standing !== undefined && standing.untilMs > nowMs()) return standing.found;
    if (lookUps >= MAX_LOOK_UPS) throw new SerinError('OVERLOADED', 'too many tokens are being looked up; try again');
    known.delete(token);
    // the oldest goes first
    if (known.size >= MAX_TOKENS) known.delete(known.keys().next().value!);
    const entry = { untilMs: nowMs() + TTL_MS, found: findPrincipal(token) };
    known.set(token, entry);
    lookUps++;
    const forget = (): void => {
      if (known.get(token) === entry) known.delete(token);
    };
    void entry.found.then(() => undefined, forget).then(() => lookUps--);
    return entry.found;
  }

  return {
    async authorize(authorization) {
      const token = /^Bearer (\S{1,512})$/i.exec(authorization ?? '')?.[1];
      if (token === undefined)
        throw unauthenticated('to say which version answers, send the header "Authorization: Bearer <token>"');
      let principal: Principal | undefined;
      try {
        principal = await within(PATIENCE_MS, lookUp(token));
      } catch (error) {
        if (error instanceof SerinError) throw error;
        throw new SerinError('DATABASE_UNAVAILABLE', 'the token cannot be looked up now, so no version can be chosen', {
          cause: error,
        });
      }
      if (principal === undefined)
        throw unauthenticated('the token is unknown or revoked; an admin makes tokens with: serin token create');
      const { roles } = principal;
      if (roles.some((role) => TESTERS.includes(role))) return principal;
      throw new SerinError(
        'FORBIDDEN',
        `to say which version answers needs one of the roles ${TESTERS.join(', ')}; ${principal.principal} has ${roles.join(', ') || 'none'}`,
        { fields: { principal: principal.principal, held: roles, required: TESTERS } },
      );
    },
  };
}

/** What is under way goes on, and counts as such: it has a connection of the database. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unauthenticated(detail: string): SerinError {
  return new SerinError('UNAUTHENTICATED', detail);
}
