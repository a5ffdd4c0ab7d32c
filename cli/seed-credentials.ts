import { connectDatabase } from '../db/database.ts';
import { putToken } from '../db/tokens.ts';
import { type Credentials, ensureCredentials } from '../platform/embedded/credentials.ts';
import { PRINCIPALS } from './principals.ts';

/** Makes the tokens of a home known to its database. Doing it again changes nothing. */
export async function seedCredentials(databaseUrl: string, home: string): Promise<Credentials> {
  const credentials = await ensureCredentials(home);
  const database = connectDatabase(databaseUrl, { name: 'credentials', max: 1 });
  try {
    for (const { name, role } of PRINCIPALS) {
      await putToken(database.db, { token: credentials[role], principal: name, roles: [role], at: Date.now() * 1_000 });
    }
  } finally {
    await database.close();
  }
  return credentials;
}
