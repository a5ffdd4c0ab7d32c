import type { FastifyInstance } from 'fastify';

/** Long enough for every connection under load to carry one more answer. */
const DRAIN_MS = 300;

export interface Drain {
  /** From now on every answer asks its client to leave; settles when those that were sending have had time to. */
  start(): Promise<void>;
}

/**
 * Sends keep-alive connections away before the server closes, with `connection: close` on the answers it still gives:
 * closing under them would cut off requests that are on their way. Must be installed before the server listens.
 */
export function createDrain(app: FastifyInstance): Drain {
  let draining = false;
  app.addHook('onRequest', (_request, reply, done) => {
    if (draining) void reply.header('connection', 'close');
    done();
  });
  return {
    start() {
      draining = true;
      return new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
    },
  };
}
