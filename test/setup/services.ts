import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../db/migrate.ts';
import { loadConfig } from '../../platform/config.ts';
import { removePostgresData, startPostgres } from '../../platform/embedded/postgres.ts';
import { endLeftBehind, identify, isAlive, type ProcessIdentity } from '../../platform/embedded/process-table.ts';
import { obtainTemporalCli } from '../../platform/embedded/temporal-cli.ts';
import { startTemporal } from '../../platform/embedded/temporal.ts';
import { createLogger } from '../../platform/logger.ts';
import { createDatabase } from './test-database.ts';

/** What tests reach by `inject('services')`. */
export interface Services {
  /** The cluster's maintenance connection; test files take a database of their own with `createTestDatabase`. */
  readonly databaseUrl: string;
  readonly templateDatabase: string;
  readonly temporalAddress: string;
  readonly temporalUiUrl: string;
  readonly temporalCli: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    services: Services;
  }
}

interface Running {
  readonly services: Services;
  readonly stop: () => Promise<void>;
}

interface Shared {
  running?: Promise<Running> | undefined;
  users: number;
}

/** The projects of one run load this module separately, and share one set of services by this symbol. */
const SHARED = Symbol.for('serin.test.services');
const PREFIX = 'serin-test-services-';
const shared = ((globalThis as { [SHARED]?: Shared })[SHARED] ??= { users: 0 });

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  shared.users += 1;
  const { services } = await (shared.running ??= start());
  project.provide('services', services);
  return async () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    await (await shared.running)?.stop();
    shared.running = undefined;
  };
}

async function start(): Promise<Running> {
  // whoever runs one test is told of type errors elsewhere but not stopped by them; `npm test` has built strictly before
  const bootstrap = fileURLToPath(new URL('../../scripts/bootstrap.mjs', import.meta.url));
  execFileSync(process.execPath, [bootstrap, 'build', '--keep-going'], { stdio: 'inherit' });
  await sweep();
  const dir = await mkdtemp(join(tmpdir(), PREFIX));
  await chmod(dir, 0o755); // PostgreSQL may run as another user
  const logger = createLogger({ service: 'test', node: 'services', level: 'warn' });
  const identities: ProcessIdentity[] = [];
  const record = (name: string) => (pid: number) => {
    const identity = identify(name, pid);
    if (identity !== undefined) identities.push(identity);
  };
  record('vitest')(process.pid);
  const cli = await obtainTemporalCli({ config: loadConfig(), onProgress: (line) => console.error(line) });
  const [postgres, temporal] = await Promise.all([
    startPostgres({
      dir: join(dir, 'postgres'),
      logFile: join(dir, 'postgres.log'),
      logger,
      disposable: true,
      onSpawn: record('postgres'),
    }),
    startTemporal({
      cli,
      dir: join(dir, 'temporal'),
      logFile: join(dir, 'temporal.log'),
      logger,
      onSpawn: record('temporal'),
    }),
  ]);
  await writeFile(join(dir, OWNERS), JSON.stringify(identities));
  const templateDatabase = 'serin_template';
  await migrate(await createDatabase(postgres.url, templateDatabase));
  return {
    services: {
      databaseUrl: postgres.url,
      templateDatabase,
      temporalAddress: temporal.address,
      temporalUiUrl: temporal.uiUrl,
      temporalCli: cli,
    },
    async stop() {
      await Promise.all([postgres.stop(), temporal.kill()]);
      await removeFolder(dir);
    },
  };
}

const OWNERS = 'processes.json';

/** Ends and removes what runs that were killed have left behind. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const dir = join(tmpdir(), name);
    const text = await readFile(join(dir, OWNERS), 'utf8').catch(() => undefined);
    if (text === undefined) continue; // still starting
    const [owner, ...servers] = JSON.parse(text) as ProcessIdentity[];
    if (owner !== undefined && isAlive(owner)) continue;
    await endLeftBehind(servers, 1_000);
    await removeFolder(dir);
  }
}

async function removeFolder(dir: string): Promise<void> {
  await removePostgresData(join(dir, 'postgres'));
  await rm(dir, { recursive: true, force: true });
}
