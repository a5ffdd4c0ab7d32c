import { execFile, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { access, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { inheritedEnvironment, type Config } from '../config.ts';

const run = promisify(execFile);

/** Newer ones cannot be built by `go install` (1.9.1 replaces a module by an unpublished one). */
export const TEMPORAL_CLI_VERSION = '1.5.1';

export interface ObtainOptions {
  readonly config: Pick<Config, 'temporalCli' | 'cacheDir'>;
  /** A line for a person who waits. */
  readonly onProgress: (line: string) => void;
  /** Directories to look for `temporal` and `go` in; PATH when not given. */
  readonly searchPath?: string;
  /** Where releases are downloaded from. */
  readonly downloadUrl?: string;
}

/**
 * The `temporal` program, which carries the Temporal server: as configured, on PATH, kept from an earlier time, downloaded,
 * or built with Go; the latter two are kept in the user's cache, once for all checkouts of a machine.
 * @throws SerinError `PREREQUISITE_MISSING` when there is no way to get one
 */
export async function obtainTemporalCli(options: ObtainOptions): Promise<string> {
  const { config, searchPath = inheritedEnvironment()['PATH'] ?? '' } = options;
  if (config.temporalCli !== '') {
    if (await isExecutable(config.temporalCli)) return config.temporalCli;
    throw new SerinError(
      'CONFIG_INVALID',
      `SERIN_TEMPORAL_CLI is '${config.temporalCli}', expected a program that can be run`,
    );
  }
  const found = await findOnPath('temporal', searchPath);
  if (found !== undefined) return found;
  const folder = join(config.cacheDir, 'serin', `temporal-${TEMPORAL_CLI_VERSION}`);
  const kept = join(folder, executable('temporal'));
  if (await isExecutable(kept)) return kept;

  await mkdir(folder, { recursive: true });
  const staging = await mkdtemp(join(folder, 'staging-'));
  try {
    const failures: string[] = [];
    for (const obtain of [download, build]) {
      try {
        await rename(await obtain(staging, options, searchPath), kept);
        return kept;
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    throw new SerinError(
      'PREREQUISITE_MISSING',
      `Serin needs the Temporal server: install the Temporal CLI (https://docs.temporal.io/cli) or Go, or set TEMPORAL_ADDRESS or SERIN_TEMPORAL_CLI (${failures.join('; ')})`,
    );
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

const CONNECT_TIMEOUT_MS = 5_000;
const DOWNLOAD_TIMEOUT_MS = 180_000;

/** The official release. Offline it gives up in seconds. */
async function download(
  staging: string,
  { onProgress, downloadUrl = 'https://temporal.download' }: ObtainOptions,
): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const url = `${downloadUrl}/cli/archive/v${TEMPORAL_CLI_VERSION}?platform=${platform}&arch=${architecture}`;
  const giveUp = new AbortController();
  let timer = setTimeout(() => giveUp.abort(), CONNECT_TIMEOUT_MS);
  try {
    const reply = await fetch(url, { signal: giveUp.signal });
    if (!reply.ok || reply.body === null) throw new Error(`it answered ${reply.status}`);
    onProgress(`downloading the Temporal CLI ${TEMPORAL_CLI_VERSION} from ${new URL(url).host}`);
    clearTimeout(timer);
    timer = setTimeout(() => giveUp.abort(), DOWNLOAD_TIMEOUT_MS);
    const archive = join(staging, 'temporal.tar.gz');
    await pipeline(Readable.fromWeb(reply.body), createWriteStream(archive));
    await run('tar', ['-xzf', archive, '-C', staging]);
    return await working(join(staging, executable('temporal')));
  } catch (error) {
    throw new Error(`${new URL(url).host} could not be used (${reasonOf(error, giveUp)})`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(error: unknown, giveUp: AbortController): string {
  if (giveUp.signal.aborted) return 'no answer in time';
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

const PROGRESS_EVERY_MS = 15_000;

async function build(staging: string, { onProgress }: ObtainOptions, searchPath: string): Promise<string> {
  const go = await findOnPath('go', searchPath);
  if (go === undefined) throw new Error('Go is not installed');
  onProgress(`building the Temporal server with go install (once per machine, about five minutes)`);
  const startedAtMs = Date.now();
  let packages = 0;
  let words = '';
  const timer = setInterval(() => {
    onProgress(`  ${Math.round((Date.now() - startedAtMs) / 1000)} s, ${packages} packages compiled`);
  }, PROGRESS_EVERY_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      const child = spawn(go, ['install', '-v', `github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_CLI_VERSION}`], {
        env: { ...inheritedEnvironment(), GOBIN: staging, GOFLAGS: '' },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        packages += chunk.split('\n').filter((line) => line !== '' && !line.startsWith('go: ')).length;
        words = (words + chunk).slice(-500);
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`go install ended with code ${String(code)}: ${words.trim().split('\n').at(-1) ?? ''}`));
      });
    });
  } finally {
    clearInterval(timer);
  }
  return working(join(staging, executable('temporal')));
}

async function working(program: string): Promise<string> {
  await run(program, ['--version']);
  return program;
}

async function findOnPath(name: string, searchPath: string): Promise<string | undefined> {
  for (const folder of searchPath.split(delimiter).filter((entry) => entry !== '')) {
    const candidate = join(folder, executable(name));
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

function executable(name: string): string {
  return process.platform === 'win32' ? `${name}.exe` : name;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
