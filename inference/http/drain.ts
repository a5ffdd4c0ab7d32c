import type { IncomingMessage, ServerResponse } from 'node:http';
import { Server } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';

/** Long enough for the other processes behind the port to have stopped listening too. */
const STOP_LISTENING_MS = 50;
/** Long enough for every connection under load to carry one more answer. */
const LAST_ANSWERS_MS = 300;

export interface Drain {
  /** Stops listening, then sends the connections that still ask away. Settles when they have had time to leave. */
  start(): Promise<void>;
}

/**
 * Takes a server off its port without cutting off a request: first nobody new is let in (a client that comes now is refused
 * before it has sent anything), then `connection: close` on the answers sends away who is connected; only then may the
 * server close, which cuts idle connections.
 */
export function createDrain(app: FastifyInstance): Drain {
  return {
    async start() {
      // not http.Server's own close, which would also end connections that are between two requests
      if (app.server.listening) Server.prototype.close.call(app.server);
      await after(STOP_LISTENING_MS);
      // before whoever answers: the framework, or what stands in front of it
      app.server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => {
        response.setHeader('connection', 'close');
      });
      await after(LAST_ANSWERS_MS);
    },
  };
}
