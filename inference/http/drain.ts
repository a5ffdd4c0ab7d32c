import type { RequestListener, ServerResponse } from 'node:http';
import { Server, type Socket } from 'node:net';
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
 * server close, which cuts idle connections. Must be installed before the server listens.
 */
export function createDrain(app: FastifyInstance): Drain {
  const connections = new Set<Socket>();
  app.server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  return {
    async start() {
      // not http.Server's own close, which would also end connections that are between two requests
      if (app.server.listening) Server.prototype.close.call(app.server);
      await after(STOP_LISTENING_MS);
      // before whoever answers: the framework, or what stands in front of it
      app.server.prependListener('request', sendAway(connections));
      await after(LAST_ANSWERS_MS);
    },
  };
}

/**
 * Tells whoever asks, and whoever is being answered, that this connection ends. The answer that says so must be the
 * connection's last: of pipelined requests only the newest one's does.
 */
function sendAway(connections: ReadonlySet<Socket>): RequestListener {
  const newest = new WeakMap<Socket, ServerResponse>();
  const closeAfter = (socket: Socket, response: ServerResponse): void => {
    if (response.headersSent) return;
    const before = newest.get(socket);
    if (before !== undefined && !before.headersSent) before.removeHeader('connection');
    newest.set(socket, response);
    response.setHeader('connection', 'close');
  };
  for (const socket of connections) {
    const last = lastAnswerOf(socket);
    if (last !== undefined) closeAfter(socket, last);
  }
  return ({ socket }, response) => closeAfter(socket, response);
}

/**
 * The answer that a connection waits for, if no other will follow it. Node documents no way to know; where it keeps it
 * otherwise, who is being answered now is sent away by a later answer, or as idle.
 */
function lastAnswerOf(socket: Socket): ServerResponse | undefined {
  const { _httpMessage: answering, parser } = socket as {
    _httpMessage?: ServerResponse | null;
    parser?: { incoming?: unknown } | null;
  };
  return answering?.req !== undefined && answering.req === parser?.incoming ? answering : undefined;
}
