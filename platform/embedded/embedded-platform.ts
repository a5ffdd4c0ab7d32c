import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compiledModule } from '../../domain/compiled-module.ts';
import { SerinError } from '../../domain/errors.ts';
import { inheritedEnvironment, type Config } from '../config.ts';
import type { Logger } from '../logger.ts';
import { type Credentials, ensureRedactionKey } from './credentials.ts';
import { freePort } from './free-port.ts';
import { lockHome } from './home-lock.ts';
import { removePostgresData, startPostgres } from './postgres.ts';
import { endLeftBehind, identify, readProcesses, writeProcesses, type ProcessIdentity } from './process-table.ts';
import { startProcess, type RunningProgram } from './processes.ts';
import { obtainRedis, startRedis } from './redis.ts';
import { obtainTemporalCli } from './temporal-cli.ts';
import { startTemporal } from './temporal.ts';

export const PARTS = ['postgres', 'redis', 'temporal', 'api', 'worker', 'inference'] as const;
export type Part = (typeof PARTS)[number];

export interface EmbeddedPorts {
  readonly postgres: number;
  readonly redis: number;
  readonly temporal: number;
  readonly temporalUi: number;
  readonly api: number;
  readonly inference: number;
  readonly workerMetrics: number;
  readonly inferenceMetrics: number;
}

export interface EmbeddedPlatformOptions {
  /** Everything the platform writes lies under it (`.serin`). */
  readonly home: string;
  /** Forgets what an earlier run left in the home. */
  readonly fresh?: boolean;
  readonly config: Pick<
    Config,
    | 'given'
    | 'temporalAddress'
    | 'temporalUiUrl'
    | 'temporalNamespace'
    | 'temporalCli'
    | 'cacheDir'
    | 'logLevel'
    | 'onlineStoreUrl'
    | 'redisServer'
    | 'redactionKey'
  >;
  /** Given ones are used or refused; the others are chosen free. */
  readonly ports?: Partial<EmbeddedPorts>;
  readonly inferenceProcesses?: number;
  /** Keeps online features in a Redis of its own instead of PostgreSQL. */
  readonly redis?: boolean;
  /** Laid over the environment of api, worker and inference. */
  readonly env?: Readonly<Record<string, string>>;
  readonly logger: Logger;
  /** One line for each step, for a person who waits. */
  readonly onProgress?: (line: string) => void;
  /** Brings the schema up to date; the platform does not know the schema. */
  readonly migrate: (databaseUrl: string) => Promise<unknown>;
  /** Makes the tokens of the home (`ensureCredentials`) known to the database. */
  readonly seedCredentials: (databaseUrl: string, home: string) => Promise<Credentials>;
  /** The programs of api, worker and inference: URLs of compiled modules. */
  readonly modules?: Partial<Record<'api' | 'worker' | 'inference', string>>;
}

export interface EmbeddedPlatform {
  readonly home: string;
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly temporalUiUrl: string;
  readonly apiUrl: string;
  readonly inferenceUrl: string;
  readonly metricsUrls: { readonly api: string; readonly worker: string; readonly inference: string };
  readonly blobUrl: string;
  readonly credentials: Credentials;
  /** Process ids of what runs now. */
  pids(): Partial<Record<Part, number>>;
  /** kill -9, as a crash would. */
  kill(part: Part): Promise<void>;
  /** Starts a part again where it was, stopping it first when it still runs. */
  restart(part: Part): Promise<void>;
  /** Stops everything in order and gives the home back; once. */
  stop(): Promise<void>;
}

type Running = Pick<RunningProgram, 'pid' | 'exited' | 'stop' | 'kill'>;

/** Starts PostgreSQL, Temporal, api, worker and inference on loopback; when a part does not start, those before it are stopped. */
export async function startEmbeddedPlatform(options: EmbeddedPlatformOptions): Promise<EmbeddedPlatform> {
  const home = resolve(options.home);
  const unlock = await lockHome(home);
  try {
    return await startLocked({ ...options, home }, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function startLocked(options: EmbeddedPlatformOptions, unlock: () => Promise<void>): Promise<EmbeddedPlatform> {
  const { home, config, logger, onProgress = () => undefined, migrate, seedCredentials } = options;
  const parts = new PartList(home);
  await parts.endLeftBehind();
  if (options.fresh) await forget(home);
  await setLogsAside(home);
  const ports = await choosePorts(options.ports ?? {});
  const logFile = (part: Part) => join(home, 'logs', `${part}.log`);
  const started = (part: Part) => (pid: number) => parts.record(part, pid);

  try {
    onProgress('starting PostgreSQL');
    const startDatabase = () =>
      startPostgres({
        dir: join(home, 'postgres'),
        port: ports.postgres,
        logFile: logFile('postgres'),
        logger,
        onSpawn: started('postgres'),
      });
    const postgres = await startDatabase();
    parts.add('postgres', postgres, startDatabase);
    const databaseUrl = postgres.url;

    let onlineStoreUrl = config.given.has('SERIN_ONLINE_STORE_URL') ? config.onlineStoreUrl : databaseUrl;
    if (options.redis === true) {
      const program = await obtainRedis({ config, onProgress });
      onProgress('starting Redis');
      const startStore = () =>
        startRedis({
          program,
          dir: join(home, 'redis'),
          port: ports.redis,
          logFile: logFile('redis'),
          logger,
          onSpawn: started('redis'),
        });
      const redis = await startStore();
      parts.add('redis', redis, startStore);
      onlineStoreUrl = redis.url;
    }

    let temporalAddress = config.temporalAddress;
    let temporalUiUrl = config.temporalUiUrl;
    if (!config.given.has('TEMPORAL_ADDRESS')) {
      const cli = await obtainTemporalCli({ config, onProgress });
      onProgress('starting Temporal');
      const startServer = () =>
        startTemporal({
          cli,
          dir: join(home, 'temporal'),
          port: ports.temporal,
          uiPort: ports.temporalUi,
          logFile: logFile('temporal'),
          logger,
          onSpawn: started('temporal'),
        });
      const temporal = await startServer();
      parts.add('temporal', temporal, startServer);
      temporalAddress = temporal.address;
      temporalUiUrl = temporal.uiUrl;
    }

    onProgress('bringing the database schema up to date');
    await migrate(databaseUrl);
    const credentials = await seedCredentials(databaseUrl, home);
    const blobUrl = pathToFileURL(join(home, 'blobs')).href;
    const apiUrl = `http://127.0.0.1:${ports.api}`;
    const inferenceUrl = `http://127.0.0.1:${ports.inference}`;
    const workerUrl = `http://127.0.0.1:${ports.workerMetrics}`;
    const inferenceProcesses = options.inferenceProcesses ?? 2;
    // several processes share the port of the predictions; health and metrics of all of them are asked of their primary
    const inferenceHealthUrl = inferenceProcesses > 1 ? `http://127.0.0.1:${ports.inferenceMetrics}` : inferenceUrl;
    const env = {
      ...inheritedEnvironment(),
      ORT_DISABLE_TELEMETRY: '1',
      SERIN_DATABASE_URL: databaseUrl,
      SERIN_ONLINE_STORE_URL: onlineStoreUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      TEMPORAL_NAMESPACE: config.temporalNamespace,
      TEMPORAL_UI_URL: temporalUiUrl,
      SERIN_BLOB_URL: blobUrl,
      SERIN_HOME: home,
      SERIN_WORK_DIR: join(home, 'work'),
      SERIN_API_HOST: '127.0.0.1',
      SERIN_API_PORT: String(ports.api),
      SERIN_API_URL: apiUrl,
      SERIN_INFERENCE_HOST: '127.0.0.1',
      SERIN_INFERENCE_PORT: String(ports.inference),
      SERIN_INFERENCE_URL: inferenceUrl,
      SERIN_INFERENCE_PROCESSES: String(inferenceProcesses),
      SERIN_METRICS_HOST: '127.0.0.1',
      SERIN_TOKEN: credentials.admin,
      SERIN_REDACTION_KEY: config.redactionKey || (await ensureRedactionKey(home)),
      SERIN_LOG_LEVEL: config.logLevel,
      ...options.env,
    };
    await mkdir(env.SERIN_WORK_DIR, { recursive: true });

    onProgress('starting api, worker and inference');
    const services = [
      { part: 'api', url: apiUrl, metricsPort: 0 },
      { part: 'worker', url: workerUrl, metricsPort: ports.workerMetrics },
      { part: 'inference', url: inferenceHealthUrl, metricsPort: ports.inferenceMetrics },
    ] as const;
    await allOrNone(
      services.map(({ part, url, metricsPort }) => async (signal: AbortSignal) => {
        const startService = (startSignal?: AbortSignal) =>
          startProcess({
            name: part,
            module: options.modules?.[part] ?? MODULES[part],
            logFile: logFile(part),
            logger,
            onSpawn: started(part),
            env: { ...env, SERIN_NODE_ID: `${part}-1`, SERIN_METRICS_PORT: String(metricsPort) },
            readyUrl: `${url}/health/ready`,
            ...(startSignal === undefined ? {} : { signal: startSignal }),
          });
        parts.add(part, await startService(signal), startService);
      }),
    );

    const addresses = {
      home,
      databaseUrl,
      temporalAddress,
      temporalNamespace: config.temporalNamespace,
      temporalUiUrl,
      apiUrl,
      inferenceUrl,
      blobUrl,
      metricsUrls: {
        api: `${apiUrl}/metrics`,
        worker: `${workerUrl}/metrics`,
        inference: `${inferenceHealthUrl}/metrics`,
      },
    };
    await writePlatformFile(home, addresses);
    let stopping: Promise<void> | undefined;
    const stop = async () => {
      await rm(platformFile(home), { force: true });
      await parts.stopAll();
      await unlock();
    };
    return {
      ...addresses,
      credentials,
      pids: () => parts.pids(),
      kill: (part) => parts.kill(part),
      restart: (part) => parts.restart(part),
      stop: () => (stopping ??= stop()),
    };
  } catch (error) {
    await parts.stopAll();
    throw error;
  }
}

/** Where a running platform says its addresses, for the CLI in another terminal. Holds the database password: mode 0600. */
export function platformFile(home: string): string {
  return join(home, 'platform.json');
}

async function writePlatformFile(home: string, addresses: object): Promise<void> {
  const staged = `${platformFile(home)}.${process.pid}`;
  await writeFile(staged, `${JSON.stringify(addresses, null, 2)}\n`, { mode: 0o600 });
  await rename(staged, platformFile(home));
}

const MODULES = {
  api: compiledModule(import.meta.url, '../../api/main.ts'),
  worker: compiledModule(import.meta.url, '../../workers/main.ts'),
  inference: compiledModule(import.meta.url, '../../inference/main.ts'),
} as const;

/** What runs, and its record on disk, by which the next start finds what a killed owner left behind. */
class PartList {
  readonly #file: string;
  readonly #parts = new Map<Part, { running: Running; readonly start: () => Promise<Running> }>();
  readonly #identities = new Map<Part, ProcessIdentity>();
  #written: Promise<void> = Promise.resolve();

  constructor(home: string) {
    this.#file = join(home, 'processes.json');
  }

  async endLeftBehind(): Promise<void> {
    const left = await readProcesses(this.#file);
    // clients first, so that the servers find nobody to wait for
    const servers = new Set<string>(['postgres', 'redis', 'temporal']);
    await endLeftBehind(left.filter(({ name }) => !servers.has(name)));
    await endLeftBehind(left.filter(({ name }) => servers.has(name)));
    await rm(this.#file, { force: true });
  }

  /** Called as soon as a process exists, before it is ready. */
  record(part: Part, pid: number): void {
    const identity = identify(part, pid);
    if (identity !== undefined) this.#identities.set(part, identity);
    this.#written = this.#written.then(() => writeProcesses(this.#file, [...this.#identities.values()]));
  }

  add(part: Part, running: Running, start: () => Promise<Running>): void {
    this.#parts.set(part, { running, start });
  }

  pids(): Partial<Record<Part, number>> {
    return Object.fromEntries([...this.#parts].map(([part, { running }]) => [part, running.pid]));
  }

  async kill(part: Part): Promise<void> {
    await this.#get(part).running.kill();
  }

  async restart(part: Part): Promise<void> {
    const { running, start } = this.#get(part);
    await running.stop();
    this.add(part, await start(), start);
  }

  async stopAll(): Promise<void> {
    await Promise.all(
      (['inference', 'worker', 'api'] as const).map(async (part) => this.#parts.get(part)?.running.stop()),
    );
    await this.#parts.get('temporal')?.running.stop();
    await this.#parts.get('redis')?.running.stop();
    await this.#parts.get('postgres')?.running.stop();
    await this.#written;
    await rm(this.#file, { force: true });
  }

  #get(part: Part) {
    const found = this.#parts.get(part);
    if (found === undefined) throw new SerinError('INPUT_INVALID', `${part} was not started by this platform`);
    return found;
  }
}

async function forget(home: string): Promise<void> {
  await removePostgresData(join(home, 'postgres'));
  for (const folder of ['redis', 'temporal', 'blobs', 'work', 'logs'])
    await rm(join(home, folder), { recursive: true, force: true });
}

/** Each run has its own logs; those of the run before are kept beside them. */
async function setLogsAside(home: string): Promise<void> {
  await mkdir(home, { recursive: true });
  await rm(join(home, 'logs.before'), { recursive: true, force: true });
  await rename(join(home, 'logs'), join(home, 'logs.before')).catch(() => undefined);
  await mkdir(join(home, 'logs'), { recursive: true });
  await chmod(join(home, 'logs'), 0o700);
}

async function choosePorts(given: Partial<EmbeddedPorts>): Promise<EmbeddedPorts> {
  const chosen = new Set<number>(Object.values(given));
  const choose = async () => {
    let port = await freePort();
    while (chosen.has(port)) port = await freePort();
    chosen.add(port);
    return port;
  };
  return {
    postgres: given.postgres ?? (await choose()),
    redis: given.redis ?? (await choose()),
    temporal: given.temporal ?? (await choose()),
    temporalUi: given.temporalUi ?? (await choose()),
    api: given.api ?? (await choose()),
    inference: given.inference ?? (await choose()),
    workerMetrics: given.workerMetrics ?? (await choose()),
    inferenceMetrics: given.inferenceMetrics ?? (await choose()),
  };
}

/** Like Promise.all, but the first failure calls the others off, and nothing is still starting when it is thrown. */
async function allOrNone(starts: readonly ((signal: AbortSignal) => Promise<void>)[]): Promise<void> {
  const calledOff = new AbortController();
  const failures: unknown[] = [];
  await Promise.all(
    starts.map((start) =>
      start(calledOff.signal).catch((error: unknown) => {
        failures.push(error);
        calledOff.abort();
      }),
    ),
  );
  if (failures.length > 0) throw failures[0];
}
