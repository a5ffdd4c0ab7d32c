import { createHash, randomBytes } from 'node:crypto';
import type { Db } from './database.ts';

export const ROLES = ['viewer', 'engineer', 'approver', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface Principal {
  readonly principal: string;
  readonly roles: readonly Role[];
}

/** A token is shown once, when it is made; the database keeps its digest. */
export async function createToken(
  db: Db,
  { principal, roles, at }: { principal: string; roles: readonly Role[]; at: number },
): Promise<string> {
  const token = `serin_${randomBytes(24).toString('base64url')}`;
  await putToken(db, { token, principal, roles, at });
  return token;
}

/** Stores a token the caller already has (the embedded platform's own): storing it again changes nothing. */
export async function putToken(
  db: Db,
  { token, principal, roles, at }: { token: string; principal: string; roles: readonly Role[]; at: number },
): Promise<void> {
  await db
    .insertInto('api_token')
    .values({ token_sha256: digest(token), principal, roles: [...roles], created_at: at })
    .onConflict((conflict) => conflict.column('token_sha256').doNothing())
    .execute();
}

export async function findPrincipal(db: Db, token: string): Promise<Principal | undefined> {
  const row = await db
    .selectFrom('api_token')
    .select(['principal', 'roles'])
    .where('token_sha256', '=', digest(token))
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return row && { principal: row.principal, roles: row.roles as Role[] };
}

export async function revokeTokens(db: Db, { principal, at }: { principal: string; at: number }): Promise<number> {
  const result = await db
    .updateTable('api_token')
    .set({ revoked_at: at })
    .where('principal', '=', principal)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
