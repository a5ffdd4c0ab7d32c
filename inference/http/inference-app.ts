import { callbackify } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import { type ConnectionLimits, createHttpServer, type Readiness } from '../../platform/http-server.ts';
import { decorateTickets } from '../admission/door-hook.ts';
import type { Logger } from '../../platform/logger.ts';
import { decodeBody } from '../oip/content-encoding.ts';
import { parseJson } from '../oip/infer-request.ts';

export interface InferenceAppOptions {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly readiness: () => Readiness;
  readonly connections?: ConnectionLimits;
}

export const BODY_LIMIT_BYTES = 8 << 20;
/** A client that sends a byte now and then holds a connection for seconds, not for ever. */
const CONNECTIONS: ConnectionLimits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  // load balancers close what was idle for a minute, and must be the first to
  keepAliveTimeoutMs: 75_000,
  maxConnections: 10_000,
};

const decodeJson = callbackify(async (encoding: string, body: Buffer) =>
  parseJson(await decodeBody(encoding, body, BODY_LIMIT_BYTES)),
);

/** Parses a body as JSON whatever its content type says: the real OIP clients send none. */
export function createInferenceApp({
  logger,
  registry,
  readiness,
  connections = CONNECTIONS,
}: InferenceAppOptions): FastifyInstance {
  const app = createHttpServer({ logger, registry, readiness, bodyLimitBytes: BODY_LIMIT_BYTES, connections });
  decorateTickets(app);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, ({ headers }, body, done) => {
    const encoding = headers['content-encoding'];
    if (encoding !== undefined) {
      decodeJson(encoding, body as Buffer, done);
      return;
    }
    try {
      done(null, parseJson(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  return app;
}
