/** Keys that were forgotten, as digests: a row that has one is not taken in again, by whatever way it comes. */
import { createHash } from 'node:crypto';
import { createEventIdentity, eventIdOfDigest } from '../domain/features/row-contract.ts';
import type { Row } from '../domain/project/expression.ts';
import type { ColumnSpec } from '../domain/project/spec.ts';
import type { Db } from './database.ts';

/** Forgotten keys of a source over one list of columns. */
export interface ForgottenKeys {
  readonly columns: readonly Pick<ColumnSpec, 'name' | 'type'>[];
  readonly salt: string;
  /** `keyDigest` of each, in hexadecimal. */
  readonly digests: ReadonlySet<string>;
}

/** `SHA-256(salt || the id of the identity text)`; `forgottenSql` says the same in SQL. */
export function keyDigest(columns: ForgottenKeys['columns'], row: Row, salt: string): string {
  const identity = createEventIdentity({ columns, eventId: columns.map(({ name }) => name) })(row);
  const id = eventIdOfDigest(createHash('sha256').update(identity).digest('hex'));
  return createHash('sha256').update(`${salt}${id}`).digest('hex');
}

export async function getForgetSalt(db: Db): Promise<string> {
  return (await db.selectFrom('forget_salt').select('salt').executeTakeFirstOrThrow()).salt;
}

/** By lists of columns; empty for most sources. */
export async function listForgottenKeys(db: Db, source: string): Promise<ForgottenKeys[]> {
  const rows = await db
    .selectFrom('forgotten_key')
    .innerJoin('forget_salt', (join) => join.onTrue())
    .select(['columns', 'types', 'digest', 'salt'])
    .where('source', '=', source)
    .execute();
  const lists = new Map<string, { columns: ForgottenKeys['columns']; salt: string; digests: Set<string> }>();
  for (const { columns, types, digest, salt } of rows) {
    const name = columns.join('\0');
    const list = lists.get(name) ?? {
      columns: columns.map((column, i) => ({ name: column, type: types[i] as ColumnSpec['type'] })),
      salt,
      digests: new Set<string>(),
    };
    list.digests.add(digest);
    lists.set(name, list);
  }
  return [...lists.values()];
}

/** How many keys a source has forgotten: what was read under another number may hold one of them. */
export async function forgottenRevision(db: Db, source: string): Promise<number> {
  const { count } = await db
    .selectFrom('forgotten_key')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('source', '=', source)
    .executeTakeFirstOrThrow();
  return Number(count);
}

export function isForgotten(forgotten: readonly ForgottenKeys[], row: Row): boolean {
  return forgotten.some(({ columns, salt, digests }) => digests.has(keyDigest(columns, row, salt)));
}
