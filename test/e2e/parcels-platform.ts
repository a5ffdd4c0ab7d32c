import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { seedCredentials } from '../../cli/seed-credentials.ts';
import { migrate } from '../../db/migrate.ts';
import { PlatformClient, ProblemAnswer } from '../../examples/flights/demo/platform-client.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { inheritedEnvironment, loadConfig } from '../../platform/config.ts';
import { type EmbeddedPlatform, startEmbeddedPlatform } from '../../platform/embedded/embedded-platform.ts';
import { freePort } from '../../platform/embedded/free-port.ts';
import { type RunningProgram, startProcess } from '../../platform/embedded/processes.ts';
import { createLogger, type Logger } from '../../platform/logger.ts';
import type { TrainModelResult } from '../../workflows/messages.ts';
import { eventually } from '../setup/eventually.ts';
import { ClientTraffic } from './client-traffic.ts';
import { FOLDED_AT, PARCELS, parcelsProject, writeParcels } from './parcels.ts';

/** Crashed work is found by heartbeats and time limits of up to half a minute; then it takes its time. */
const PATIENCE_MS = 150_000;

export interface Operation<T> {
  readonly workflowId: string;
  readonly status: string;
  readonly result?: T;
  readonly problem?: { readonly detail: string };
}

export type Trained = Pick<TrainModelResult, 'runId' | 'dataset'> & { readonly version: number };

/** What a rollout left behind, without what differs from one to the next: when, which version, how often it looked. */
export interface RolloutEnd {
  readonly phase: string;
  readonly reason: string | null;
  /** The kinds of its records, in their order. */
  readonly decisions: readonly string[];
  /** By how much the epoch of the route went up. */
  readonly routeMoves: number;
  readonly route: { readonly toVersion: boolean; readonly canary: number | null; readonly shadow: number | null };
  readonly stage: string;
}

interface ModelAnswer {
  readonly route: {
    readonly epoch: number;
    readonly champion: number;
    readonly canary: number | null;
    readonly shadow: number | null;
  };
  readonly versions: readonly { readonly version: number; readonly stage: string; readonly runId: string | null }[];
}

interface RolloutAnswer {
  readonly phase: string;
  readonly stage: string;
  readonly weightPercent: number;
  readonly state: { readonly reason?: string };
}

/** The whole system on the parcels, with callers who never pause. */
export class ParcelsPlatform {
  readonly platform: EmbeddedPlatform;
  readonly client: PlatformClient;
  readonly temporal: Client;
  readonly #folder: string;
  readonly #logger: Logger;
  #traffic: ClientTraffic | undefined;

  private constructor(folder: string, platform: EmbeddedPlatform, connection: Connection, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
    this.platform = platform;
    this.client = new PlatformClient(platform.apiUrl, platform.credentials);
    this.temporal = new Client({ connection });
  }

  static async start(): Promise<ParcelsPlatform> {
    const folder = await mkdtemp(join(tmpdir(), 'serin-parcels-'));
    await chmod(folder, 0o755); // PostgreSQL may run as another user
    const home = join(folder, '.serin');
    const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });
    const platform = await startEmbeddedPlatform({
      home,
      config: { ...loadConfig(), logLevel: 'info' },
      logger,
      migrate,
      seedCredentials,
    });
    const connection = await Connection.connect({ address: platform.temporalAddress });
    const parcels = new ParcelsPlatform(folder, platform, connection, logger);
    try {
      await parcels.#feed();
      return parcels;
    } catch (error) {
      await parcels.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#traffic?.stop();
    await this.temporal.connection.close();
    await this.platform.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get traffic(): ClientTraffic {
    if (this.#traffic === undefined) throw new Error('nobody asks yet');
    return this.#traffic;
  }

  /** Starts a workflow by the API and waits for its result. */
  async operation<T>(path: string, body: object): Promise<T> {
    return this.result((await this.client.post<Operation<T>>('engineer', path, body)).workflowId);
  }

  async result<T>(workflowId: string): Promise<T> {
    const ended = await eventually(
      `the end of ${workflowId}`,
      async () => {
        const path = `/v1/operations/${encodeURIComponent(workflowId)}`;
        const operation = await this.client.get<Operation<T>>('viewer', path);
        return operation.status !== 'running' && operation;
      },
      PATIENCE_MS,
    );
    if (ended.status !== 'completed') throw new Error(`${workflowId} ${ended.status}: ${ended.problem?.detail}`);
    return ended.result as T;
  }

  async train(training: string): Promise<Trained> {
    return this.trained((await this.startTraining(training)).workflowId);
  }

  startTraining(training: string): Promise<Operation<Trained>> {
    return this.client.post<Operation<Trained>>('engineer', `/v1/models/${PARCELS}/runs`, { training });
  }

  async trained(workflowId: string): Promise<Trained> {
    const { version, stoppedBy, ...run } = await this.result<TrainModelResult>(workflowId);
    if (version === null) throw new Error(`${run.runId} was stopped by ${stoppedBy.join('; ')}`);
    return { ...run, version };
  }

  async modelFile({ runId }: Trained): Promise<string> {
    const run = await this.client.get<{ result: { modelFile: { sha256: string } } }>('viewer', `/v1/runs/${runId}`);
    return run.result.modelFile.sha256;
  }

  model(): Promise<ModelAnswer> {
    return this.client.get<ModelAnswer>('viewer', `/v1/models/${PARCELS}`);
  }

  rollout(version: number): Promise<RolloutAnswer> {
    return this.client.get<RolloutAnswer>('viewer', `/v1/rollouts/${PARCELS}/${version}`);
  }

  /** Rolls a version out; `disturb` is called when its canary answers at `atPercent`, and breaks what it likes. */
  async rollOut(
    version: number,
    { atPercent, disturb }: { atPercent: number; disturb: () => Promise<void> },
  ): Promise<RolloutEnd> {
    const { route: before } = await this.model();
    await this.client.post('engineer', `/v1/models/${PARCELS}/rollouts`, { version });
    await this.#untilCanaryAnswers(version, atPercent);
    await disturb();
    return this.#endOf(version, before.epoch);
  }

  /** The one log of a part, parsed: one object a line. */
  async log(part: string): Promise<Readonly<Record<string, unknown>>[]> {
    const text = await readFile(join(this.platform.home, 'logs', `${part}.log`), 'utf8');
    return text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** One inference process more, under a node id of its own. */
  async startSpareInference(): Promise<RunningProgram> {
    const { home, databaseUrl, blobUrl } = this.platform;
    const [port, metricsPort] = [await freePort(), await freePort()];
    return startProcess({
      name: 'spare',
      module: compiledModule(import.meta.url, '../../inference/main.ts'),
      logFile: join(home, 'logs', 'spare.log'),
      logger: this.#logger,
      env: {
        ...inheritedEnvironment(),
        SERIN_NODE_ID: 'spare',
        SERIN_DATABASE_URL: databaseUrl,
        SERIN_ONLINE_STORE_URL: databaseUrl,
        SERIN_BLOB_URL: blobUrl,
        SERIN_HOME: home,
        SERIN_INFERENCE_HOST: '127.0.0.1',
        SERIN_INFERENCE_PORT: String(port),
        SERIN_INFERENCE_PROCESSES: '1',
        SERIN_METRICS_HOST: '127.0.0.1',
        SERIN_METRICS_PORT: String(metricsPort),
      },
      readyUrl: `http://127.0.0.1:${metricsPort}/health/ready`,
    });
  }

  async #feed(): Promise<void> {
    await this.client.post('engineer', '/v1/projects', { spec: parcelsProject() });
    const path = join(this.#folder, 'parcels.csv');
    await writeParcels(path);
    await this.operation(`/v1/sources/${PARCELS}/batches`, { batchId: 'all', path, format: 'csv' });
    await this.operation('/v1/features/materializations', { project: PARCELS, foldAt: FOLDED_AT });
    await eventually(
      'the rule answers',
      async () => (await fetch(`${this.platform.inferenceUrl}/v1/models/${PARCELS}`)).ok,
    );
    this.#traffic = new ClientTraffic(this.platform.inferenceUrl);
  }

  async #untilCanaryAnswers(version: number, atPercent: number): Promise<void> {
    await eventually(
      `v${version} at ${atPercent} %`,
      async () => (await this.rollout(version)).weightPercent === atPercent,
      PATIENCE_MS,
    );
    const before = this.traffic.byVersion.get(version) ?? 0;
    await eventually(
      `answers of v${version} at ${atPercent} %`,
      () => (this.traffic.byVersion.get(version) ?? 0) > before + 10,
      PATIENCE_MS,
    );
  }

  async #endOf(version: number, epochBefore: number): Promise<RolloutEnd> {
    const { phase, state } = await eventually(
      `the end of the rollout of v${version}`,
      async () => {
        const rollout = await this.rollout(version);
        return ['promoted', 'rolledBack'].includes(rollout.phase) && rollout;
      },
      PATIENCE_MS,
    );
    await this.result(`rollout/${PARCELS}/${version}`);
    const { route, versions } = await this.model();
    const subject = encodeURIComponent(`rollout/${PARCELS}/${version}`);
    const { decisions } = await this.client.get<{ decisions: { kind: string }[] }>(
      'viewer',
      `/v1/decisions?subject=${subject}`,
    );
    return {
      phase,
      reason: state.reason ?? null,
      decisions: decisions.map(({ kind }) => kind),
      routeMoves: route.epoch - epochBefore,
      route: { toVersion: route.champion === version, canary: route.canary, shadow: route.shadow },
      stage: versions.find((each) => each.version === version)?.stage ?? 'none',
    };
  }
}

/** The code of the problem that a call is refused with; null when it is not refused. */
export async function problemOf(call: Promise<unknown>): Promise<string | null> {
  try {
    await call;
    return null;
  } catch (error) {
    if (error instanceof ProblemAnswer) return `${error.status} ${error.code}`;
    throw error;
  }
}
