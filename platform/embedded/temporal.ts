import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SerinError } from '../../domain/errors.ts';
import { inheritedEnvironment } from '../config.ts';
import type { Logger } from '../logger.ts';
import { freePort } from './free-port.ts';
import { EarlyExit, startProgram, waitUntilReady, type RunningProgram } from './processes.ts';

const run = promisify(execFile);

export type SearchAttributeType = 'Text' | 'Keyword' | 'Int' | 'Double' | 'Bool' | 'Datetime' | 'KeywordList';

/** The typed search attributes of Serin's workflows. */
export const SEARCH_ATTRIBUTES = {
  ModelName: 'Keyword',
  ModelVersion: 'Keyword',
  Stage: 'Keyword',
  Decision: 'Keyword',
} as const satisfies Record<string, SearchAttributeType>;

export interface TemporalOptions {
  /** The `temporal` program (`obtainTemporalCli`). */
  readonly cli: string;
  /** Folder of its database; the next start goes on from it. */
  readonly dir: string;
  readonly port?: number;
  readonly uiPort?: number;
  readonly logFile: string;
  readonly logger: Logger;
  /** Called as soon as the process exists, before it is ready. */
  readonly onSpawn?: ((pid: number) => void) | undefined;
  readonly searchAttributes?: Readonly<Record<string, SearchAttributeType>>;
}

export interface RunningTemporal {
  /** `host:port` of the frontend. */
  readonly address: string;
  readonly uiUrl: string;
  readonly port: number;
  readonly uiPort: number;
  readonly pid: number;
  readonly exited: RunningProgram['exited'];
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const NAMESPACE = 'default';
/** Closed histories vanish after a day by default, and with them the refusal of a second start. */
const RETENTION = '30d';
const PORT_ATTEMPTS = 5;
/** A full drain takes 3 s; what it would have finished is in the write-ahead log, and lost by no kill -9 of three measured. */
const STOP_GRACE_MS = 1_000;

/** Starts a Temporal server with a database file and its UI, on loopback, and waits until its namespace answers. */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  const { cli, dir, logFile, logger, searchAttributes = SEARCH_ATTRIBUTES } = options;
  await mkdir(dir, { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const uiPort = options.uiPort ?? (await freePort());
    const address = `127.0.0.1:${port}`;
    const program = await startProgram({
      name: 'temporal',
      command: cli,
      args: [...serverArguments(join(dir, 'temporal.db'), port, uiPort), ...attributeArguments(searchAttributes)],
      env: inheritedEnvironment(),
      logFile,
      logger,
      onSpawn: options.onSpawn,
    });
    try {
      await waitUntilReady(program, () => keepsHistories(cli, address), { timeoutMs: 60_000, everyMs: 100, logFile });
    } catch (error) {
      if (!(error instanceof EarlyExit)) throw error;
      const taken = /can't set (frontend|UI|ui) port (\d+)|address already in use/i.exec(error.exit.lastWords);
      const given = [options.port, options.uiPort].find(
        (choice) => choice !== undefined && error.message.includes(String(choice)),
      );
      if (taken !== null && given !== undefined) {
        throw new SerinError('CONFIG_INVALID', `port ${given} for Temporal is taken by another program`, {
          cause: error,
        });
      }
      if (taken !== null && attempt < PORT_ATTEMPTS) continue;
      throw error;
    }
    return {
      address,
      uiUrl: `http://127.0.0.1:${uiPort}`,
      port,
      uiPort,
      pid: program.pid,
      exited: program.exited,
      stop: () => program.stop(STOP_GRACE_MS),
      kill: () => program.kill(),
    };
  }
}

/** Write-ahead log: half the CPU per workflow. 1 ms timers: without them nothing waits less than a second. */
function serverArguments(database: string, port: number, uiPort: number): string[] {
  return [
    'server',
    'start-dev',
    '--ip',
    '127.0.0.1',
    '--port',
    String(port),
    '--ui-port',
    String(uiPort),
    '--db-filename',
    database,
    '--sqlite-pragma',
    'journal_mode=wal',
    '--sqlite-pragma',
    'synchronous=normal',
    '--dynamic-config-value',
    'history.timerProcessorMaxTimeShift="1ms"',
    '--dynamic-config-value',
    'history.workflowIdReuseMinimalInterval="0s"',
    '--log-level',
    'warn',
    '--log-format',
    'json',
  ];
}

function attributeArguments(attributes: Readonly<Record<string, SearchAttributeType>>): string[] {
  return Object.entries(attributes).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]);
}

/** Answers only once the frontend serves the namespace, so it is the health check too. */
async function keepsHistories(cli: string, address: string): Promise<boolean> {
  const update = [
    'operator',
    'namespace',
    'update',
    '--namespace',
    NAMESPACE,
    '--retention',
    RETENTION,
    '--address',
    address,
  ];
  try {
    await run(cli, update, { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}
