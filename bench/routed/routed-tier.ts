/** The routed inference tier as it runs in production, on databases of the caller: real processes, a real registry, real features. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { migrate } from '../../db/migrate.ts';
import { getRouteReach } from '../../db/nodes.ts';
import { registerVersion } from '../../db/registry.ts';
import { getRoute, moveRoute, type RouteTarget } from '../../db/routes.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { ruleManifest } from '../../domain/registry/rule-manifest.ts';
import { openOnlineStore, prepareStore } from '../../features/online/open-store.ts';
import { openBlobStore } from '../../platform/file-blob-store.ts';
import { fillSerin } from '../online/stored-data.ts';
import { CUSTOMERS, MODEL, scoredProject, type ScoredOptions, type TrainedVersion } from './scored-project.ts';

const READY_WITHIN_MS = 60_000;

export interface TierOptions extends ScoredOptions {
  readonly databaseUrl: string;
  /** The database's own is used when not given. */
  readonly onlineStoreUrl?: string;
  readonly versions: readonly TrainedVersion[];
  readonly processes: number;
  /** What the tier knows as its database, when it is not to reach it directly. */
  readonly tierDatabaseUrl?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface RoutedTier {
  readonly url: string;
  readonly metricsUrl: string;
  readonly process: ChildProcess;
  readonly database: Database;
  /** Changes the route. @returns its epoch */
  move(target: Partial<RouteTarget>): Promise<number>;
  /** Settles when every live node has acknowledged the epoch. */
  reached(epoch: number): Promise<void>;
  /** The text of the metrics page, of all processes. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

export async function startRoutedTier(options: TierOptions): Promise<RoutedTier> {
  const { databaseUrl, onlineStoreUrl = databaseUrl, tierDatabaseUrl = databaseUrl, processes, env = {} } = options;
  const folder = await mkdtemp(join(tmpdir(), 'serin-routed-tier-'));
  const database = connectDatabase(databaseUrl, { name: 'bench', max: 4 });
  await declare(database, folder, options);
  if (options.stored) await fillStore(onlineStoreUrl, options);
  const child = fork(fileURLToPath(compiledModule(import.meta.url, '../../inference/main.ts')), [], {
    execArgv: [],
    env: {
      ...process.env,
      SERIN_DATABASE_URL: tierDatabaseUrl,
      SERIN_ONLINE_STORE_URL: onlineStoreUrl,
      SERIN_BLOB_URL: pathToFileURL(folder).href,
      SERIN_NODE_ID: 'tier',
      SERIN_INFERENCE_PORT: '0',
      SERIN_INFERENCE_GRPC_PORT: '-1',
      SERIN_INFERENCE_PROCESSES: String(processes),
      SERIN_METRICS_PORT: '0',
      SERIN_LOG_LEVEL: 'fatal',
      ...env,
    },
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    await database.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const { url, metricsUrl } = await listening(child);
    await answers(`${metricsUrl}/health/ready`);
    return {
      url,
      metricsUrl,
      process: child,
      database,
      async move(target) {
        const route = await getRoute(database.db, MODEL);
        const next = {
          model: MODEL,
          expectedEpoch: route.epoch,
          target: { ...route, ...target },
          at: 2,
          reason: 'bench',
        };
        return (await moveRoute(database.db, next)).epoch;
      },
      async reached(epoch) {
        for (;;) {
          const { live, behind } = await getRouteReach(database.db, MODEL, epoch);
          if (live.length >= processes && behind.length === 0) return;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
      async metrics() {
        return (await fetch(`${metricsUrl}/metrics`)).text();
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function declare({ db }: Database, folder: string, options: TierOptions): Promise<void> {
  await migrate(options.databaseUrl);
  const spec = scoredProject(options);
  const { digest } = await applyProject(db, { spec, bundleSha256: null, by: 'bench', at: 1 });
  const rule = ruleManifest(spec, spec.models[0]!, { projectDigest: digest, author: 'bench' });
  const blobs = openBlobStore(pathToFileURL(folder).href);
  for (const { version, onnx } of options.versions) {
    const modelFile = await blobs.put(onnx);
    await registerVersion(db, {
      manifest: { ...rule, version, kind: 'onnx', modelFile, runId: `run-${version}` },
      sha256: `v${version}`,
      at: 1,
    });
  }
}

async function fillStore(url: string, options: ScoredOptions): Promise<void> {
  await prepareStore(url);
  const opened = openOnlineStore(url, { name: 'bench', connections: 2 });
  try {
    await fillSerin(opened.store, scoredProject(options), CUSTOMERS);
  } finally {
    await opened.close();
  }
}

async function listening(child: ChildProcess): Promise<{ url: string; metricsUrl: string }> {
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`the inference tier has ended with ${String(code)} before it listened`);
  });
  for (;;) {
    const [message] = (await Promise.race([once(child, 'message'), died])) as [
      { type?: string; url: string; metricsUrl: string },
    ];
    if (message.type === 'listening') return message;
  }
}

async function answers(url: string): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const response = await fetch(url).catch(() => null);
    if (response?.ok === true) return;
    if (Date.now() > deadline) throw new Error(`${url} is not ready: ${await response?.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
