import type { Route } from '../../db/routes.ts';
import { messageOf, SerinError } from '../../domain/errors.ts';
import { RULE_VERSION } from '../../domain/registry/manifest.ts';
import type { HeldModel, UnloadReason } from '../model/load-metrics.ts';
import { leastUsedBeyond } from '../model/memory-budget.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { LoadedVersion, VersionSource } from '../model/version-loader.ts';
import { buildEntry, type RouteEntry } from './route-entry.ts';

export interface RouteFailure {
  readonly model: string;
  readonly epoch: number;
  readonly reason: string;
}

export interface RouteTableOptions {
  readonly source: VersionSource;
  /**
   * How long a version that no route refers to any more stays loaded: batches that began with it end with it.
   * @param served null: it is still being loaded
   */
  readonly unloadAfterMs: (served: ServedVersion | null) => number;
  readonly onUnload?: (reason: UnloadReason) => void;
  readonly onUnloadFailure: (error: unknown) => void;
  /**
   * Memory for versions that no route refers to, asked for by number, beside what the routes need. null: such versions are
   * not loaded at all, since nothing would bound them.
   */
  readonly memoryBytes?: number | null;
}

interface Slot {
  readonly loading: Promise<LoadedVersion>;
  served: ServedVersion | null;
  usedAt: number;
  /** Asked for by number; stays without a route, as long as there is memory. */
  asked: boolean;
}

/** How long a version that could not be loaded when it was asked for is refused without another try. */
const REFUSED_FOR_MS = 10_000;
const MAX_REFUSALS = 1_000;

/**
 * The routing table in memory. A new route takes effect in one assignment, after everything it refers to has been loaded
 * and warmed; a version that does not load leaves the model's old route in force.
 */
export class RouteTable {
  readonly #options: RouteTableOptions;
  readonly #slots = new Map<string, Slot>();
  readonly #unloading = new Map<NodeJS.Timeout, Slot>();
  readonly #refusals = new Map<string, { readonly error: unknown; readonly untilMs: number }>();
  #entries: ReadonlyMap<string, RouteEntry> = new Map();
  #failures: readonly RouteFailure[] = [];
  #clock = 0;

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

  /** What is loaded, for metrics. */
  *held(): Iterable<HeldModel> {
    for (const { served } of this.#slots.values()) {
      if (served?.scorer.report)
        yield { model: served.model, version: String(served.version), report: served.scorer.report };
    }
  }

  /**
   * A version that no route refers to. The first call begins to load it.
   * @returns undefined where there is no memory budget for such versions
   * @throws SerinError MODEL_NOT_READY while it is being loaded, VERSION_NOT_FOUND, MODEL_FILE_INVALID, MEMORY_LIMIT
   */
  byNumber(model: string, version: number): ServedVersion | undefined {
    if ((this.#options.memoryBytes ?? null) === null) return undefined;
    const key = `${model}@${version}`;
    const slot = this.#slots.get(key);
    if (slot?.served) {
      slot.usedAt = ++this.#clock;
      return slot.served;
    }
    const refusal = this.#refusals.get(key);
    if (refusal && refusal.untilMs > performance.now()) throw refusal.error;
    if (!slot?.asked) void this.#loadByNumber(model, version, key);
    throw new SerinError('MODEL_NOT_READY', `version ${version} of "${model}" is being loaded`);
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
    for (const timer of this.#unloading.keys()) clearTimeout(timer);
    const slots = [...this.#slots.values(), ...this.#unloading.values()];
    this.#slots.clear();
    this.#unloading.clear();
    const loaded = await Promise.allSettled(slots.map(({ loading }) => loading));
    for (const result of loaded) if (result.status === 'fulfilled') await result.value.served.scorer.release();
  }

  /** An epoch never goes back: a replica that lags behind cannot undo a route. */
  async #entryFor(route: Route): Promise<RouteEntry> {
    const standing = this.#entries.get(route.model);
    if (standing && route.epoch <= standing.route.epoch) return standing;
    const load = (version: number): Promise<LoadedVersion> => this.#load(route.model, version).loading;
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

  #load(model: string, version: number): Slot {
    const key = `${model}@${version}`;
    const known = this.#slots.get(key);
    if (known) return known;
    const loading = this.#options.source.load(model, version);
    const slot: Slot = { loading, served: null, usedAt: ++this.#clock, asked: false };
    this.#slots.set(key, slot);
    loading.then(
      ({ served }) => (slot.served = served),
      () => this.#slots.delete(key),
    );
    return slot;
  }

  async #loadByNumber(model: string, version: number, key: string): Promise<void> {
    const slot = this.#load(model, version);
    slot.asked = true;
    try {
      await slot.loading;
      if (this.#letGoBeyondMemory(key)) return;
      this.#unload(key, slot, 'memory');
      throw new SerinError(
        'MEMORY_LIMIT',
        `version ${version} of "${model}" does not fit into the memory that the versions of the routes leave`,
      );
    } catch (error) {
      if (this.#refusals.size >= MAX_REFUSALS) this.#refusals.clear();
      this.#refusals.set(key, { error, untilMs: performance.now() + REFUSED_FOR_MS });
    }
  }

  /** @param stays what must not go for itself @returns whether all fits now */
  #letGoBeyondMemory(stays: string | null): boolean {
    const inUse = this.#inUse();
    const held = [...this.#slots].map(([key, { served, usedAt }]) => ({
      key,
      bytes: served?.scorer.report?.memoryBytes ?? 0,
      usedAt,
      pinned: key === stays || inUse.has(key) || served === null,
    }));
    const victims = leastUsedBeyond(held, this.#options.memoryBytes ?? null);
    for (const key of victims ?? []) this.#unload(key, this.#slots.get(key)!, 'memory');
    return victims !== null;
  }

  #inUse(): Set<string> {
    const inUse = new Set<string>();
    for (const [model, { loaded }] of this.#entries) for (const { version } of loaded) inUse.add(`${model}@${version}`);
    return inUse;
  }

  #unloadUnreferenced(): void {
    const inUse = this.#inUse();
    for (const [key, slot] of this.#slots) if (!inUse.has(key) && !slot.asked) this.#unload(key, slot, 'unrouted');
    // routes come first: what was asked for by number makes room for them, or goes altogether
    if (!this.#letGoBeyondMemory(null)) {
      for (const [key, slot] of this.#slots) if (!inUse.has(key) && slot.served) this.#unload(key, slot, 'memory');
    }
  }

  #unload(key: string, slot: Slot, reason: UnloadReason): void {
    this.#slots.delete(key);
    const timer = setTimeout(() => {
      this.#unloading.delete(timer);
      slot.loading
        .then(async ({ served }) => {
          await served.scorer.release();
          this.#options.onUnload?.(reason);
        })
        .catch(this.#options.onUnloadFailure);
    }, this.#options.unloadAfterMs(slot.served));
    timer.unref();
    this.#unloading.set(timer, slot);
  }
}
