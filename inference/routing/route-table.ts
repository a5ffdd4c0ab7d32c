import type { Route } from '../../db/routes.ts';
import { RULE_VERSION } from '../../domain/registry/manifest.ts';
import type { LoadedVersion, VersionSource } from '../model/version-loader.ts';
import { buildEntry, type RouteEntry } from './route-entry.ts';

export interface RouteFailure {
  readonly model: string;
  readonly epoch: number;
  readonly reason: string;
}

export interface RouteTableOptions {
  readonly source: VersionSource;
  /** How long a version that no route refers to any more stays loaded: batches that began with it end with it. */
  readonly unloadAfterMs: number;
  readonly onUnloadFailure: (error: unknown) => void;
}

/**
 * The routing table in memory. A new route takes effect in one assignment, after everything it refers to has been loaded
 * and warmed; a version that does not load leaves the model's old route in force.
 */
export class RouteTable {
  readonly #options: RouteTableOptions;
  readonly #loaded = new Map<string, Promise<LoadedVersion>>();
  readonly #unloading = new Set<NodeJS.Timeout>();
  #entries: ReadonlyMap<string, RouteEntry> = new Map();
  #failures: readonly RouteFailure[] = [];

  constructor(options: RouteTableOptions) {
    this.#options = options;
  }

  find(model: string): RouteEntry | undefined {
    return this.#entries.get(model);
  }

  get entries(): ReadonlyMap<string, RouteEntry> {
    return this.#entries;
  }

  /** Routes that could not be taken over at the last `apply`, and why. */
  get failures(): readonly RouteFailure[] {
    return this.#failures;
  }

  /**
   * Takes over the routes as read; each model swaps as soon as it is ready, so that a rollback to a warm version does not
   * wait for another model's load. Calls must not overlap. Afterwards the epochs in force are those of `entries`.
   */
  async apply(routes: readonly Route[]): Promise<void> {
    const failures: RouteFailure[] = [];
    const takeOver = async (route: Route): Promise<void> => {
      try {
        const entry = await this.#entryFor(route);
        if (entry !== this.#entries.get(route.model)) this.#entries = new Map(this.#entries).set(route.model, entry);
      } catch (error) {
        failures.push({ model: route.model, epoch: route.epoch, reason: messageOf(error) });
      }
    };
    await Promise.all(routes.map(takeOver));
    const routed = new Set(routes.map(({ model }) => model));
    if ([...this.#entries.keys()].some((model) => !routed.has(model))) {
      this.#entries = new Map([...this.#entries].filter(([model]) => routed.has(model)));
    }
    this.#failures = failures;
    this.#unloadUnreferenced();
  }

  async close(): Promise<void> {
    for (const timer of this.#unloading) clearTimeout(timer);
    const loaded = await Promise.allSettled(this.#loaded.values());
    this.#loaded.clear();
    for (const result of loaded) if (result.status === 'fulfilled') await result.value.served.scorer.release();
  }

  /** An epoch never goes back: a replica that lags behind cannot undo a route. */
  async #entryFor(route: Route): Promise<RouteEntry> {
    const standing = this.#entries.get(route.model);
    if (standing && route.epoch <= standing.route.epoch) return standing;
    const load = (version: number): Promise<LoadedVersion> => this.#load(route.model, version);
    const optional = async (version: number | null) => (version === null ? null : (await load(version)).served);
    const [champion, lastKnownGood, rule, canary, shadow] = await Promise.all([
      load(route.champion),
      load(route.lastKnownGood),
      load(RULE_VERSION),
      optional(route.canary),
      optional(route.shadow),
    ]);
    return buildEntry({
      route,
      contract: champion.contract,
      champion: champion.served,
      lastKnownGood: lastKnownGood.served,
      canary,
      shadow,
      rule: rule.served,
    });
  }

  #load(model: string, version: number): Promise<LoadedVersion> {
    const key = `${model}@${version}`;
    const known = this.#loaded.get(key);
    if (known) return known;
    const loading = this.#options.source.load(model, version);
    this.#loaded.set(key, loading);
    loading.catch(() => this.#loaded.delete(key));
    return loading;
  }

  #unloadUnreferenced(): void {
    const inUse = new Set<string>();
    for (const [model, { loaded }] of this.#entries) for (const { version } of loaded) inUse.add(`${model}@${version}`);
    for (const [key, loading] of this.#loaded) {
      if (inUse.has(key)) continue;
      this.#loaded.delete(key);
      const timer = setTimeout(() => {
        this.#unloading.delete(timer);
        loading.then(({ served }) => served.scorer.release()).catch(this.#options.onUnloadFailure);
      }, this.#options.unloadAfterMs);
      timer.unref();
      this.#unloading.add(timer);
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
