import pg from 'pg';
import type { Db } from '../../db/database.ts';
import { acknowledgeRoutes, registerNode, releaseLease, renewLease, type InferenceNode } from '../../db/nodes.ts';
import { listRoutes } from '../../db/routes.ts';
import type { Logger } from '../../platform/logger.ts';
import type { InferenceMetrics } from '../metrics.ts';
import type { RouteTable } from './route-table.ts';

export interface RouteWatcherOptions {
  readonly db: Db;
  readonly databaseUrl: string;
  readonly node: InferenceNode;
  readonly table: RouteTable;
  readonly metrics: Pick<InferenceMetrics, 'epoch' | 'routesRead' | 'routeFailure'>;
  readonly logger: Logger;
  readonly pollMs?: number;
  readonly heartbeatMs?: number;
}

const CHANNEL = 'serin_route';
const RECONNECT_MS = 500;

/**
 * Keeps the routing table as PostgreSQL has it: told by NOTIFY within milliseconds, by polling when a notice is lost. A
 * route is acknowledged only after the table has swapped to it. When PostgreSQL is gone the table stays as it is.
 */
export class RouteWatcher {
  readonly #options: RouteWatcherOptions;
  readonly #acknowledged = new Map<string, number>();
  readonly #reported = new Map<string, string>();
  #timers: NodeJS.Timeout[] = [];
  #listener: pg.Client | undefined;
  #reconnect: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  #beating: Promise<void> | undefined;
  #again = false;
  #registered = false;
  #reachable = true;
  #closed = false;
  #hasRead = false;

  constructor(options: RouteWatcherOptions) {
    this.#options = options;
  }

  /** Whether the routes have been read once, whatever they were. */
  get hasRead(): boolean {
    return this.#hasRead;
  }

  async start(): Promise<void> {
    const { pollMs = 1_500, heartbeatMs = 1_000 } = this.#options;
    void this.#listen();
    await this.#heartbeat();
    await this.refresh();
    this.#timers = [
      setInterval(() => void this.refresh(), pollMs),
      setInterval(() => void this.#heartbeat(), heartbeatMs),
    ];
  }

  /** Reads, loads, swaps, acknowledges. A call during another one makes that one go round again. */
  refresh(): Promise<void> {
    if (this.#refreshing) {
      this.#again = true;
      return this.#refreshing;
    }
    this.#refreshing = this.#refreshUntilQuiet().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Gives the lease back first, so that no rollout waits for a node that has stopped. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#reconnect);
    await this.#refreshing;
    await this.#beating;
    await this.#listener?.end().catch(() => undefined);
    await this.#attempt(() => releaseLease(this.#options.db, this.#options.node.nodeId));
  }

  async #refreshUntilQuiet(): Promise<void> {
    do {
      this.#again = false;
      await this.#attempt(() => this.#refreshOnce());
    } while (this.#again && !this.#closed);
  }

  async #refreshOnce(): Promise<void> {
    const { db, table, metrics } = this.#options;
    await table.apply(await listRoutes(db));
    metrics.routesRead();
    this.#hasRead = true;
    for (const [model, { route }] of table.entries) metrics.epoch(model, route.epoch);
    this.#reportFailures();
    await this.#acknowledge();
  }

  async #acknowledge(): Promise<void> {
    if (!this.#registered) return;
    const news = [...this.#options.table.entries.values()]
      .map(({ route }) => ({ model: route.model, epoch: route.epoch }))
      .filter(({ model, epoch }) => this.#acknowledged.get(model) !== epoch);
    await acknowledgeRoutes(this.#options.db, this.#options.node.nodeId, news);
    for (const { model, epoch } of news) {
      this.#acknowledged.set(model, epoch);
      this.#options.logger.info({ model, epoch }, 'route in force');
    }
  }

  /** Once per reason, not once per poll. */
  #reportFailures(): void {
    const { table, metrics, logger } = this.#options;
    for (const model of this.#reported.keys()) {
      if (!table.failures.some((failure) => failure.model === model)) this.#reported.delete(model);
    }
    for (const failure of table.failures) {
      const reason = `${failure.epoch} ${failure.reason}`;
      if (this.#reported.get(failure.model) === reason) continue;
      this.#reported.set(failure.model, reason);
      metrics.routeFailure(failure.model);
      logger.error(failure, 'route not taken over: a version does not load');
    }
  }

  /** One at a time: of a PostgreSQL that keeps silent they would pile up for as long as it does, each waiting for a connection. */
  #heartbeat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  async #beat(): Promise<void> {
    const { db, node } = this.#options;
    await this.#attempt(async () => {
      if (!this.#registered) {
        await registerNode(db, node);
        this.#registered = true;
        return;
      }
      if (await renewLease(db, node)) return;
      this.#acknowledged.clear();
      await this.#acknowledge();
    });
  }

  async #attempt(action: () => Promise<unknown>): Promise<void> {
    const { logger } = this.#options;
    try {
      await action();
      if (!this.#reachable) logger.info('PostgreSQL answers again');
      this.#reachable = true;
    } catch (error) {
      if (this.#reachable) logger.warn({ err: error }, 'PostgreSQL does not answer; serving by the last routes');
      this.#reachable = false;
    }
  }

  async #listen(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.databaseUrl,
      application_name: 'serin-inference-listen',
      keepAlive: true,
    });
    const lost = (): void => {
      if (this.#listener !== client) return;
      this.#listener = undefined;
      this.#scheduleListen();
    };
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', () => void this.refresh());
    this.#listener = client;
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      // what was said while nobody listened
      void this.refresh();
    } catch {
      void client.end().catch(() => undefined);
      lost();
    }
  }

  #scheduleListen(): void {
    if (this.#closed) return;
    clearTimeout(this.#reconnect);
    this.#reconnect = setTimeout(() => void this.#listen(), RECONNECT_MS);
  }
}
