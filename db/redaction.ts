/** Tokens that stand for personal values in what is logged. */
import { createHmac } from 'node:crypto';
import type { Db } from './database.ts';

/** No base64url has a colon: a value that looks like a token was not made by a client by chance. */
const TOKEN_PREFIX = 'pii:';
/** 22 characters of base64url: 132 bits. Two values of one installation with one token are not to be expected. */
const TOKEN_LENGTH = 22;

export type PersonalValue = string | number | boolean;

/**
 * `HMAC-SHA-256(key, the value as JSON)`, cut. The same value has the same token wherever it stands, so that answers about one
 * person still belong together and can be found by whoever has the key and the value; nobody else gets from one to the other.
 */
export function redactionToken(key: string, value: PersonalValue): string {
  const digest = createHmac('sha256', key).update(JSON.stringify(value)).digest('base64url');
  return TOKEN_PREFIX + digest.slice(0, TOKEN_LENGTH);
}

/**
 * The keys of this installation. The first makes tokens; the others made them before, and what they made must still be found: the
 * earlier ones of `SERIN_REDACTION_KEY`, and the one that the database made for itself.
 * @param configured `SERIN_REDACTION_KEY`: keys separated by commas, the newest first; empty: the database's own key
 */
export async function readRedactionKeys(db: Db, configured: string): Promise<readonly string[]> {
  const { key } = await db.selectFrom('redaction_key').select('key').executeTakeFirstOrThrow();
  return [
    ...configured
      .split(',')
      .map((each) => each.trim())
      .filter((each) => each !== ''),
    key,
  ];
}

/** All tokens that a value may have been given. */
export function tokensOf(keys: readonly string[], value: PersonalValue): string[] {
  return keys.map((key) => redactionToken(key, value));
}
