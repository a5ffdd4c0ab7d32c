import cluster, { type Worker } from 'node:cluster';
import type { AddressInfo } from 'node:net';
import { AggregatorRegistry, type PrometheusContentType } from 'prom-client';
import type { Config } from '../../platform/config.ts';
import { createHttpServer } from '../../platform/http-server.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Shutdown } from '../../platform/shutdown.ts';
import { relayBetween } from './process-group.ts';
import { ALIVE_EVERY_MS, announceListening, isAliveMessage, isReadinessMessage } from './process-messages.ts';

const RESTART_AFTER_MS = 500;

interface Slot {
  readonly nodeId: string;
  worker: Worker;
  ready: boolean;
  /** How often it was looked at since it was last heard; null: it has not said yet that it is alive. */
  silentLooks: number | null;
}

/** The metrics of all workers as one page; the workers' own labels keep them apart where they must be. */
class ClusterRegistry extends AggregatorRegistry<PrometheusContentType> {
  override metrics(): Promise<string> {
    return this.clusterMetrics();
  }
}

/**
 * Runs N serving processes behind one port, restarts those that die, and answers for all of them on the metrics port.
 * A worker joins the port only when it can answer, so that a restarted one takes no request it would refuse.
 */
export async function startPrimary(config: Config, logger: Logger, shutdown: Shutdown): Promise<void> {
  let stopping = false;
  let announced = false;
  const registry = new ClusterRegistry();
  const slots = new Map<string, Slot>();
  const relay = relayBetween(() => [...slots.values()].map(({ worker }) => worker));

  function start(nodeId: string): void {
    const worker = cluster.fork({ SERIN_NODE_ID: nodeId });
    const slot: Slot = { nodeId, worker, ready: false, silentLooks: null };
    slots.set(nodeId, slot);
    worker.on('message', (message: unknown) => {
      if (isAliveMessage(message)) slot.silentLooks = 0;
      else if (isReadinessMessage(message)) slot.ready = message.ready;
      else relay(worker, message);
    });
    const startAgain = (): void => {
      setTimeout(() => !stopping && start(nodeId), RESTART_AFTER_MS);
    };
    worker.once('exit', (code, signal) => {
      slot.ready = false;
      if (stopping) return;
      logger.error({ worker: nodeId, code, signal }, 'a serving process has ended; starting it again');
      startAgain();
    });
    // unheard, either would end this process, and the serving ones with it
    worker.on('error', (error) => {
      if (worker.process.pid !== undefined) {
        // it has died and its end is not known here yet: a scrape or a question of another process came in between
        logger.warn({ err: error, worker: nodeId }, 'a message did not reach a serving process');
        return;
      }
      // of one that never began there is no exit
      logger.error({ err: error, worker: nodeId }, 'a serving process could not be started; trying again');
      startAgain();
    });
  }

  const monitor = createHttpServer({
    logger,
    registry,
    readiness: () => ({
      ready: [...slots.values()].every(({ ready }) => ready),
      checks: Object.fromEntries([...slots.values()].map(({ nodeId, ready }) => [nodeId, ready ? 'ok' : 'not ready'])),
    }),
  });
  const metricsUrl = await monitor.listen({ host: config.metricsHost, port: config.metricsPort });
  shutdown.onClose('metrics', () => monitor.close());
  shutdown.onClose('serving processes', async () => {
    stopping = true;
    await Promise.all([...slots.values()].map(({ worker }) => ended(worker)));
  });

  /** Counted in looks, not by the clock: when the machine stood still, so did this process. */
  const looksAllowed = (config.inferenceHangSeconds * 1_000) / ALIVE_EVERY_MS;
  const look = (): void => {
    for (const slot of slots.values()) {
      const { nodeId, worker } = slot;
      if (slot.silentLooks === null || ++slot.silentLooks <= looksAllowed) continue;
      slot.silentLooks = null;
      logger.error({ worker: nodeId, seconds: config.inferenceHangSeconds }, 'a serving process hangs; ending it');
      worker.process.kill('SIGKILL');
    }
  };
  if (looksAllowed > 0) setInterval(look, ALIVE_EVERY_MS).unref();

  cluster.on('listening', (_worker, address) => {
    if (announced) return;
    announced = true;
    announceListening(logger, { url: urlOf(config.inferenceHost, address), metricsUrl });
  });
  for (let i = 1; i <= config.inferenceProcesses; i++) start(`${config.nodeId}-${i}`);
}

function ended(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.isDead()) {
      resolve();
      return;
    }
    worker.once('exit', () => resolve());
    worker.process.kill('SIGTERM');
  });
}

function urlOf(host: string, { port }: Pick<AddressInfo, 'port'>): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
