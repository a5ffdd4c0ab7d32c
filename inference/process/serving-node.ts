import type { FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';
import type { OipDeps } from '../oip/routes.ts';

export const SERVER_VERSION = '0.1.0';

/** One serving process's worth of server, before it listens. */
export interface ServingNode {
  readonly app: FastifyInstance;
  readonly registry: Registry;
  /** The protocol, for the listeners besides the app's. */
  readonly oip: OipDeps;
  isReady(): boolean;
  /** Reads the routes now instead of at the next notice or poll. */
  refreshRoutes(): Promise<void>;
  /** Writes out what is buffered, as far as PostgreSQL takes it. */
  flush(): Promise<void>;
  /** Before it leaves its port: connections that were kept waiting under overload are read from again. */
  release(): void;
  /** Finishes what has begun, gives the lease back, writes what is buffered. */
  close(): Promise<void>;
}
