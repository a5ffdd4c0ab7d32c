import cluster from 'node:cluster';
import { AggregatorRegistry } from 'prom-client';
import type { Config } from '../../platform/config.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Shutdown } from '../../platform/shutdown.ts';
import { createDrain } from '../http/drain.ts';
import { ALIVE_EVERY_MS, type AliveMessage, announceListening, type ReadinessMessage } from './process-messages.ts';
import type { ServingNode } from './serving-node.ts';

const READINESS_EVERY_MS = 100;
/**
 * Connections that the kernel keeps until they are accepted; it may allow fewer (`net.core.somaxconn`). Node's 511 are passed by a
 * gateway that comes back with its thousands, and who is beyond waits for TCP to try again: a second, then two, then four.
 */
const BACKLOG = 4_096;

/** Puts a node behind its port as soon as it can answer, and takes it off again in order. */
export async function serve(node: ServingNode, config: Config, logger: Logger, shutdown: Shutdown): Promise<void> {
  AggregatorRegistry.setRegistries([node.registry]);
  new AggregatorRegistry();
  reportAlive();
  const drain = createDrain(node.app);
  shutdown.onClose('node', () => node.close());
  shutdown.onClose('drain', () => {
    node.release();
    return drain.start();
  });
  // the port comes from the primary over a channel that keeps no process alive (see createShutdown), so something must
  const starting = setInterval(() => undefined, READINESS_EVERY_MS);
  await untilReady(node);
  // loaded before anything listens: a client that sees HTTP answer finds gRPC there a moment later
  const grpc = config.inferenceGrpcPort >= 0 ? await import('../oip/grpc-server.ts') : null;
  const { inferenceHost: host, inferencePort: port } = config;
  const url = await node.app.listen({ host, port, backlog: BACKLOG });
  if (grpc !== null) {
    const listener = await grpc.startGrpcServer(node.oip, `${host}:${config.inferenceGrpcPort}`, logger);
    shutdown.onClose('gRPC', () => listener.close());
    logger.info({ port: listener.port }, 'listening for gRPC');
  }
  clearInterval(starting);
  reportReadiness(node);
  if (!cluster.isWorker) announceListening(logger, { url, metricsUrl: url });
}

/** When there is no primary any more, this process ends in order (see createShutdown), not by an error that nobody hears. */
function tellPrimary(message: AliveMessage | ReadinessMessage): void {
  process.send?.(message, undefined, undefined, () => undefined);
}

function untilReady(node: ServingNode): Promise<void> {
  if (node.isReady()) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!node.isReady()) return;
      clearInterval(timer);
      resolve();
    }, READINESS_EVERY_MS);
  });
}

function reportAlive(): void {
  if (!cluster.isWorker) return;
  const tell = (): void => tellPrimary({ type: 'serin.alive' });
  tell();
  setInterval(tell, ALIVE_EVERY_MS).unref();
}

function reportReadiness(node: ServingNode): void {
  if (!cluster.isWorker) return;
  let told = false;
  const tell = (): void => {
    const ready = node.isReady();
    if (ready === told) return;
    told = ready;
    tellPrimary({ type: 'serin.readiness', ready });
  };
  tell();
  setInterval(tell, READINESS_EVERY_MS).unref();
}
