import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { SerinError } from '../../domain/errors.ts';
import { inheritedEnvironment, type Config } from '../config.ts';
import type { Logger } from '../logger.ts';
import { freePort } from './free-port.ts';
import { EarlyExit, startProgram, waitUntilReady, type RunningProgram } from './processes.ts';

const run = promisify(execFile);

export interface ObtainRedisOptions {
  readonly config: Pick<Config, 'redisServer' | 'cacheDir'>;
  /** A line for a person who waits. */
  readonly onProgress: (line: string) => void;
  /** Directories to look for `redis-server` and `apt-get` in; PATH when not given. */
  readonly searchPath?: string;
}

/** The server and what the dynamic linker needs to find beside it. */
export interface RedisProgram {
  readonly command: string;
  readonly libraryPath: string | null;
}

/**
 * The `redis-server` program: as configured, on PATH, kept from an earlier time, or, on Debian and its like, from the
 * system's own packages, unpacked into the user's cache without installing anything.
 * @throws SerinError `PREREQUISITE_MISSING` when there is no way to get one
 */
export async function obtainRedis(options: ObtainRedisOptions): Promise<RedisProgram> {
  const { config, searchPath = inheritedEnvironment()['PATH'] ?? '' } = options;
  if (config.redisServer !== '') {
    if (await isExecutable(config.redisServer)) return { command: config.redisServer, libraryPath: null };
    throw new SerinError(
      'CONFIG_INVALID',
      `SERIN_REDIS_SERVER is '${config.redisServer}', expected a program that can be run`,
    );
  }
  const found = await findOnPath('redis-server', searchPath);
  if (found !== undefined) return { command: found, libraryPath: null };
  const folder = join(resolve(config.cacheDir), 'serin', 'redis');
  const kept = await unpacked(folder);
  if (kept !== undefined) return kept;
  try {
    return await unpack(folder, searchPath, options.onProgress);
  } catch (cause) {
    throw new SerinError(
      'PREREQUISITE_MISSING',
      `there is no redis-server: install Redis (or Valkey) or set SERIN_REDIS_SERVER (${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)})`,
      { cause },
    );
  }
}

/** Of Debian and Ubuntu. The program is in the second; libraries that a release links it with, if the machine lacks them. */
const PACKAGES = ['redis-server', 'redis-tools'];
const LIBRARIES = ['libatomic1', 'libjemalloc2', 'liblzf1', 'liblua5.1-0', 'lua-cjson', 'lua-bitop'];

const DOWNLOAD_TIMEOUT_MS = 120_000;

async function unpack(folder: string, searchPath: string, onProgress: (line: string) => void): Promise<RedisProgram> {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if ((await findOnPath(tool, searchPath)) === undefined) throw new Error(`${tool} is not there to fetch one`);
  }
  onProgress('fetching the redis-server package (once per machine)');
  await mkdir(folder, { recursive: true });
  const staging = await mkdtemp(join(folder, 'staging-'));
  try {
    await run('apt-get', ['download', ...PACKAGES], { cwd: staging, timeout: DOWNLOAD_TIMEOUT_MS });
    for (const library of LIBRARIES) {
      // not every release has every one of them; whether the program runs is looked at below
      await run('apt-get', ['download', library], { cwd: staging, timeout: DOWNLOAD_TIMEOUT_MS }).catch(
        () => undefined,
      );
    }
    for (const name of await readdir(staging)) {
      if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(staging, name), join(staging, 'root')]);
    }
    const target = join(folder, 'root');
    await rm(target, { recursive: true, force: true });
    await rename(join(staging, 'root'), target);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  const program = await unpacked(folder);
  if (program === undefined) throw new Error('the package holds no redis-server that runs here');
  return program;
}

async function unpacked(folder: string): Promise<RedisProgram | undefined> {
  const root = join(folder, 'root', 'usr');
  const command = join(root, 'bin', 'redis-server');
  if (!(await isExecutable(command))) return undefined;
  // libraries lie in folders named after the architecture
  const architectures = await readdir(join(root, 'lib')).catch(() => []);
  const libraryPath = architectures.map((name) => join(root, 'lib', name)).join(':');
  return run(command, ['--version'], { env: { LD_LIBRARY_PATH: libraryPath } }).then(
    () => ({ command, libraryPath }),
    () => undefined,
  );
}

export interface RedisOptions {
  readonly program: RedisProgram;
  /** Folder of its own: append-only file and snapshots. */
  readonly dir: string;
  /** A free one is taken when not given. */
  readonly port?: number;
  readonly logFile: string;
  readonly logger: Logger;
  /** For tests: nothing is written to disk. */
  readonly disposable?: boolean;
  readonly onSpawn?: ((pid: number) => void) | undefined;
}

export interface RunningRedis {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly exited: RunningProgram['exited'];
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** Ports another program may take between the choice and the start. */
const PORT_ATTEMPTS = 5;

/** Starts a Redis of its own on the loopback interface. With a folder that has data, it goes on with that. */
export async function startRedis(options: RedisOptions): Promise<RunningRedis> {
  const { program: redis, disposable = false } = options;
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const program = await startProgram({
      name: 'redis',
      command: redis.command,
      args: [
        '--bind',
        '127.0.0.1',
        '--port',
        String(port),
        '--dir',
        dir,
        '--daemonize',
        'no',
        '--save',
        '',
        '--appendfsync',
        'everysec',
        '--appendonly',
        disposable ? 'no' : 'yes',
      ],
      env: { PATH: '/usr/bin:/bin', ...(redis.libraryPath === null ? {} : { LD_LIBRARY_PATH: redis.libraryPath }) },
      cwd: dir,
      logFile: options.logFile,
      logger: options.logger,
      onSpawn: options.onSpawn,
    });
    try {
      await waitUntilReady(program, () => answersPing(port), { timeoutMs: 30_000, logFile: options.logFile });
    } catch (error) {
      const taken = error instanceof EarlyExit && /bind|Address already in use/i.test(error.exit.lastWords);
      if (taken && options.port === undefined && attempt < PORT_ATTEMPTS) continue;
      throw error;
    }
    return {
      url: `redis://127.0.0.1:${port}`,
      port,
      pid: program.pid,
      exited: program.exited,
      stop: () => program.stop(10_000),
      kill: () => program.kill(),
    };
  }
}

const PING_TIMEOUT_MS = 1_000;

function answersPing(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'));
    const finish = (answer: boolean): void => {
      socket.destroy();
      done(answer);
    };
    socket.setTimeout(PING_TIMEOUT_MS, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('data', (data) => finish(data.toString('latin1').startsWith('+PONG')));
  });
}

async function findOnPath(name: string, searchPath: string): Promise<string | undefined> {
  for (const folder of searchPath.split(delimiter).filter((entry) => entry !== '')) {
    const candidate = join(folder, name);
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
