/**
 * Streaming, measured as a client sees it: events pushed to the API over HTTP at a fixed rate, each timed from the moment its
 * request is sent to the first read of the online store that has it. The streamer is killed (SIGKILL) on the way and started
 * again; at the end every event is in the features once.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import { applyProject } from '../../db/apply-project.ts';
import { connectDatabase } from '../../db/database.ts';
import { migrate } from '../../db/migrate.ts';
import { createToken } from '../../db/tokens.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { replaceAll } from '../../features/online/guarded-write.ts';
import { openOnlineStore } from '../../features/online/open-store.ts';
import { compileFeatureReader } from '../../features/reader/feature-reader.ts';
import { inheritedEnvironment } from '../../platform/config.ts';
import { freePort } from '../../platform/embedded/free-port.ts';
import { startProcess } from '../../platform/embedded/processes.ts';
import { createLogger } from '../../platform/logger.ts';
import { usageOfTree } from '../serving/process-usage.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { quantile } from './latencies.ts';
import { STREAMING_PROJECT } from './streaming-project.ts';

export interface StreamingOptions {
  readonly databaseUrl: string;
  readonly onlineStoreUrl: string;
  readonly workDir: string;
  readonly eventsPerSecond: number;
  readonly eventsPerRequest: number;
  readonly seconds: number;
  /** Sent before, at the same rate, and not timed: the processes compile their code meanwhile. */
  readonly warmSeconds: number;
  readonly customers: number;
  /** Of the database and the store, whose CPU counts. */
  readonly serverPids: readonly number[];
  /** Kills the streamer after this share of the time and starts another; null: not. */
  readonly killAt: number | null;
}

export interface StreamingResult {
  readonly sent: number;
  readonly eventsPerSecond: number;
  /** From the request's start to the first read that has its events. */
  readonly readableMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Of the request alone. */
  readonly answeredMs: { readonly p50: number; readonly p99: number };
  /** Events in the features less events accepted; 0: none is lost and none counted twice. */
  readonly difference: number;
  /** CPU seconds of each part over the time of sending, the warming included. */
  readonly cpuSeconds: {
    readonly api: number;
    readonly streamer: number;
    readonly servers: number;
    readonly client: number;
  };
}

const POLL_MS = 2;

export async function measureStreaming(options: StreamingOptions): Promise<StreamingResult> {
  const { databaseUrl, onlineStoreUrl, eventsPerSecond, eventsPerRequest, seconds, warmSeconds, customers } = options;
  await migrate(databaseUrl);
  const database = connectDatabase(databaseUrl, { name: 'bench', max: 2 });
  const online = openOnlineStore(onlineStoreUrl, { name: 'bench', connections: 2 });
  const agent = new Agent({ connections: 8 });
  const stops: (() => Promise<unknown>)[] = [() => agent.close(), () => online.close(), () => database.close()];
  try {
    const at = Date.now() * 1_000;
    await applyProject(database.db, { spec: STREAMING_PROJECT, bundleSha256: null, by: 'bench', at });
    const token = await createToken(database.db, { principal: 'bench', roles: ['admin'], at });
    const viewIds = STREAMING_PROJECT.views.map(({ name }) => `${name}@1`);
    for (const viewId of viewIds) {
      const cursor = { source: 'rides', appliedSeq: 0, foldedAt: null };
      await replaceAll(online.store, { viewId, cursor, entries: [], label: 'bench' });
    }
    const env = {
      ...inheritedEnvironment(),
      SERIN_DATABASE_URL: databaseUrl,
      SERIN_ONLINE_STORE_URL: onlineStoreUrl,
      SERIN_HOME: options.workDir,
      SERIN_LOG_LEVEL: 'error',
    };
    const port = await freePort();
    const api = await startProcess({
      name: 'api',
      module: compiledModule(import.meta.url, '../../api/main.ts'),
      env: { ...env, SERIN_API_PORT: String(port), SERIN_API_HOST: '127.0.0.1' },
      logFile: `${options.workDir}/api.log`,
      readyUrl: `http://127.0.0.1:${port}/health/live`,
      logger: createLogger({ service: 'bench', node: 'bench', level: 'error' }),
    });
    stops.unshift(() => api.stop());
    let streamer = await startStreamerProcess(env);
    stops.unshift(() => endProcess(streamer, 'SIGTERM'));

    const probe = encodeKey([{ name: 'customer', type: 'i64' }], [0])!;
    const waiting: { seq: number; sentAt: number; timed: boolean }[] = [];
    const readable: number[] = [];
    const answered: number[] = [];
    let sending = true;
    const watch = async (): Promise<void> => {
      while (sending || waiting.length > 0) {
        const { knownSeq } = await online.store.read(viewIds.map((viewId) => ({ viewId, key: probe })));
        const known = Math.min(...viewIds.map((viewId) => knownSeq.get(viewId)!));
        const now = performance.now();
        for (let i = waiting.length - 1; i >= 0; i--) {
          if (waiting[i]!.seq > known) continue;
          if (waiting[i]!.timed) readable.push(now - waiting[i]!.sentAt);
          waiting.splice(i, 1);
        }
        await delay(POLL_MS);
      }
    };
    const watching = watch();

    let ride = 0;
    const push = async (timed: boolean): Promise<void> => {
      const now = new Date().toISOString();
      const events = Array.from({ length: eventsPerRequest }, () => ({
        ride: ++ride,
        at: now,
        known: now,
        // few customers ride often
        customer: Math.floor(customers * Math.random() ** 3),
        minutes: ride % 90,
        fare: (ride % 1_000) / 8,
      }));
      const sentAt = performance.now();
      const { statusCode, body: stream } = await request(`http://127.0.0.1:${port}/v1/sources/rides/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ events }),
        dispatcher: agent,
      });
      const body = (await stream.json()) as { lastSeq: number; added: number };
      if (statusCode !== 200 || body.added !== eventsPerRequest) {
        throw new Error(`a push was answered ${statusCode} ${JSON.stringify(body)}`);
      }
      if (timed) answered.push(performance.now() - sentAt);
      waiting.push({ seq: body.lastSeq, sentAt, timed });
    };
    const everyMs = (1_000 * eventsPerRequest) / eventsPerSecond;
    const warming = Math.ceil((warmSeconds * 1_000) / everyMs);
    const requests = warming + Math.ceil((seconds * 1_000) / everyMs);
    const usage = (): StreamingResult['cpuSeconds'] => ({
      api: usageOfTree(api.pid).cpuSeconds,
      streamer: usageOfTree(streamer.pid!).cpuSeconds + killedCpu,
      servers: options.serverPids.reduce((sum, pid) => sum + usageOfTree(pid).cpuSeconds, 0),
      client: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
    });
    let killedCpu = 0;
    const before = usage();
    const startedAt = performance.now();
    const pushes: Promise<void>[] = [];
    for (let i = 0; i < requests; i++) {
      const waitMs = startedAt + i * everyMs - performance.now();
      if (waitMs > 0) await delay(waitMs);
      pushes.push(push(i >= warming));
      if (options.killAt !== null && i === Math.floor(requests * options.killAt)) {
        killedCpu = usageOfTree(streamer.pid!).cpuSeconds;
        await endProcess(streamer, 'SIGKILL');
        streamer = await startStreamerProcess(env);
      }
    }
    await Promise.all(pushes);
    const tookMs = performance.now() - startedAt;
    sending = false;
    await watching;
    const after = usage();

    const reader = compileFeatureReader(STREAMING_PROJECT, 'customer@1');
    const asOf = Date.now() * 1_000;
    let counted = 0;
    for (let from = 0; from < customers; from += 1_000) {
      const rows = Array.from({ length: Math.min(1_000, customers - from) }, (_, i) => ({
        request: { customer: from + i },
        asOf,
      }));
      const { values } = await reader.read(online.store, rows);
      for (let i = 0; i < rows.length; i++) counted += values[i * reader.columns.length]!;
    }
    return {
      sent: ride,
      eventsPerSecond: Math.round((ride / tookMs) * 1_000),
      readableMs: { p50: quantile(readable, 0.5), p99: quantile(readable, 0.99), max: quantile(readable, 1) },
      answeredMs: { p50: quantile(answered, 0.5), p99: quantile(answered, 0.99) },
      difference: counted - ride,
      cpuSeconds: {
        api: after.api - before.api,
        streamer: after.streamer - before.streamer,
        servers: after.servers - before.servers,
        client: after.client - before.client,
      },
    };
  } finally {
    for (const stop of stops) await stop().catch(() => undefined);
  }
}

async function startStreamerProcess(env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const child = fork(fileURLToPath(compiledModule(import.meta.url, './streamer-process.ts')), {
    env,
    stdio: 'inherit',
  });
  await once(child, 'message');
  return child;
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
