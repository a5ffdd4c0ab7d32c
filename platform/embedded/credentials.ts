import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Who the embedded platform lets in: one principal for each role, by role, with its API token. */
export interface Credentials {
  readonly viewer: string;
  readonly engineer: string;
  readonly approver: string;
  readonly operator: string;
  readonly admin: string;
}

const ROLES = ['viewer', 'engineer', 'approver', 'operator', 'admin'] as const satisfies (keyof Credentials)[];

/** `<home>/credentials.json`, mode 0600. */
export function credentialsFile(home: string): string {
  return join(home, 'credentials.json');
}

export async function readCredentials(home: string): Promise<Credentials | undefined> {
  try {
    const found = JSON.parse(await readFile(credentialsFile(home), 'utf8')) as Partial<Credentials>;
    return ROLES.every((role) => typeof found[role] === 'string') ? (found as Credentials) : undefined;
  } catch {
    return undefined; // none yet, or not ours: new ones are made
  }
}

/** The tokens of a home, made at its first start. The database keeps only their digests. */
export async function ensureCredentials(home: string): Promise<Credentials> {
  const kept = await readCredentials(home);
  if (kept !== undefined) return kept;
  const token = () => `serin_${randomBytes(24).toString('base64url')}`;
  const made: Credentials = {
    viewer: token(),
    engineer: token(),
    approver: token(),
    operator: token(),
    admin: token(),
  };
  await keepSecret(home, credentialsFile(home), `${JSON.stringify(made, null, 2)}\n`);
  return made;
}

/** The key of a home that turns personal values into tokens, made at its first start and kept outside the database that has them. */
export async function ensureRedactionKey(home: string): Promise<string> {
  const file = join(home, 'redaction.key');
  const kept = await readFile(file, 'utf8').catch(() => '');
  if (kept.trim() !== '') return kept.trim();
  const key = randomBytes(32).toString('base64url');
  await keepSecret(home, file, `${key}\n`);
  return key;
}

/** Whole or not at all, and for its owner alone. */
async function keepSecret(home: string, file: string, text: string): Promise<void> {
  await mkdir(home, { recursive: true });
  const staged = `${file}.${process.pid}`;
  await writeFile(staged, text, { mode: 0o600 });
  await rename(staged, file);
}
