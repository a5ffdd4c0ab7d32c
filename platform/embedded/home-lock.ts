import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SerinError } from '../../domain/errors.ts';
import { identify, isAlive, type ProcessIdentity } from './process-table.ts';

/**
 * Takes a home for this process; the lock of an owner that has died is taken over.
 * @returns gives the home back
 * @throws SerinError `CONFIG_INVALID` when a living process uses the home
 */
export async function lockHome(home: string): Promise<() => Promise<void>> {
  await mkdir(home, { recursive: true });
  const lock = join(home, 'owner.json');
  const mine = `${lock}.${process.pid}`;
  const owner = JSON.stringify(identify('serin', process.pid));
  await writeFile(mine, owner);
  try {
    while (!(await linked(mine, lock))) await removeDeadOwner(lock, home);
  } finally {
    await rm(mine, { force: true });
  }
  return async () => {
    if ((await readFile(lock, 'utf8').catch(() => '')) === owner) await rm(lock, { force: true });
  };
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function removeDeadOwner(lock: string, home: string): Promise<void> {
  const found = await readFile(lock, 'utf8').catch(() => undefined);
  if (found === undefined) return; // given back in between
  refuseIfAlive(found, home);
  const aside = `${lock}.dead-${process.pid}`;
  await rename(lock, aside).catch(() => undefined);
  // another process may have taken the lock between the look and the rename: then it gets it back
  const taken = await readFile(aside, 'utf8').catch(() => found);
  if (taken !== found) await linked(aside, lock);
  await rm(aside, { force: true });
}

function refuseIfAlive(text: string, home: string): void {
  const owner = parsed(text);
  if (owner === undefined || !isAlive(owner)) return;
  throw new SerinError(
    'CONFIG_INVALID',
    `process ${owner.pid} runs Serin in ${home}: stop it, or choose another SERIN_HOME`,
    {
      fields: { home, pid: owner.pid },
    },
  );
}

function parsed(text: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(text) as ProcessIdentity;
  } catch {
    return undefined;
  }
}
