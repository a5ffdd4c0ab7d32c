import { messageOf, SerinError } from '../../domain/errors.ts';
import { CostBook } from '../admission/cost-book.ts';
import type { RefusalReason } from '../admission/refusal.ts';
import { MicroBatcher } from '../batching/micro-batcher.ts';
import type { HeldModel, UnloadReason } from '../model/load-metrics.ts';
import { leastUsedBeyond } from '../model/memory-budget.ts';
import type { LoadedModel, ModelLoader } from '../model/model-loader.ts';
import { summaryOf } from '../model/model-report.ts';
import type { ModelIndexEntry, ModelRepository, TensorModel } from './model.ts';
import { ModelStatistics } from './statistics.ts';
import { runTensorBatch, type TensorWork } from './tensor-batch.ts';

export interface ModelFile {
  readonly name: string;
  readonly path: string;
}

export interface BatchLimits {
  readonly maxBatchRows: number;
  readonly maxQueueRows: number;
}

/** A plain file is always this version; a reload replaces it. */
const ONLY_VERSION = '1';

interface Loaded {
  readonly model: TensorModel;
  readonly session: LoadedModel;
  readonly batcher: MicroBatcher<TensorWork>;
}

interface Slot {
  readonly file: ModelFile;
  readonly statistics: ModelStatistics;
  loaded: Loaded | null;
  /** The queue of a model in a thread; null: it has not run in one. */
  ownBatcher: MicroBatcher<TensorWork> | null;
  state: ModelIndexEntry['state'];
  reason: string;
  /** The memory budget keeps it out: it is loaded when it is asked for, not before this time. */
  onDemandFromMs: number | null;
  usedAt: number;
}

export interface FileRepositoryOptions {
  readonly loader: Pick<ModelLoader, 'load'>;
  /** Memory of all loaded models, by the loader's estimate; the one that is being loaded comes on top. null: no bound. */
  readonly memoryBytes?: number | null;
  readonly onUnload?: (reason: UnloadReason) => void;
  readonly onRefused?: (reason: RefusalReason) => void;
}

/** How long a model that could not be loaded on demand is left alone. */
const RETRY_AFTER_MS = 10_000;

/** The models of plain ONNX files. A reload that fails leaves what serves; requests under way end on what they began with. */
export class FileRepository implements ModelRepository {
  readonly #slots: ReadonlyMap<string, Slot>;
  /** Of all models that run on the event loop. One in a thread has its own, so that nobody else waits for it. */
  readonly #sharedBatcher: MicroBatcher<TensorWork>;
  /** What batches of each model cost. */
  readonly costs = new CostBook();
  readonly #limits: BatchLimits;
  readonly #options: FileRepositoryOptions;
  #clock = 0;

  constructor(files: readonly ModelFile[], limits: BatchLimits, options: FileRepositoryOptions) {
    this.#limits = limits;
    this.#options = options;
    this.#slots = new Map(
      files.map((file) => [
        file.name,
        {
          file,
          statistics: new ModelStatistics(),
          loaded: null,
          ownBatcher: null,
          state: 'UNAVAILABLE',
          reason: 'not loaded yet',
          onDemandFromMs: null,
          usedAt: 0,
        },
      ]),
    );
    this.#sharedBatcher = this.#newBatcher();
  }

  get(name: string, version: string | undefined): TensorModel {
    const slot = this.#slotOf(name);
    if (version !== undefined && version !== ONLY_VERSION) {
      throw new SerinError('VERSION_NOT_FOUND', `model '${name}' has no version '${version}', only ${ONLY_VERSION}`);
    }
    if (slot.loaded) {
      slot.usedAt = ++this.#clock;
      return slot.loaded.model;
    }
    if (slot.onDemandFromMs !== null && slot.onDemandFromMs <= performance.now()) this.#loadOnDemand(slot);
    throw new SerinError('MODEL_NOT_READY', `model '${name}' is not ready: ${slot.reason}`);
  }

  /** Where requests for a model wait; undefined: it is not loaded, or unknown. */
  batcherOf(name: string): MicroBatcher<TensorWork> | undefined {
    return this.#slots.get(name)?.loaded?.batcher;
  }

  batchers(): MicroBatcher<TensorWork>[] {
    return [this.#sharedBatcher, ...[...this.#slots.values()].flatMap(({ ownBatcher }) => ownBatcher ?? [])];
  }

  models(): TensorModel[] {
    return [...this.#slots.values()].flatMap(({ loaded }) => (loaded ? [loaded.model] : []));
  }

  index(): ModelIndexEntry[] {
    return [...this.#slots.values()].map(({ file, state, reason }) => ({
      name: file.name,
      version: ONLY_VERSION,
      state,
      reason,
    }));
  }

  /** What is loaded, for metrics. */
  held(): HeldModel[] {
    return [...this.#slots.values()].flatMap(({ file, loaded }) =>
      loaded ? [{ model: file.name, version: ONLY_VERSION, report: loaded.session.report }] : [],
    );
  }

  /** What is served and by what, for whoever operates it. */
  describe() {
    return [...this.#slots.values()].map(({ file, state, reason, loaded }) => ({
      model: file.name,
      versions: loaded ? [ONLY_VERSION] : [],
      state,
      reason,
      loaded: loaded ? summaryOf(loaded.session.report) : null,
    }));
  }

  /** Loads what the server is started with, as far as the memory budget goes; the rest waits until it is asked for. */
  async loadAll(): Promise<void> {
    for (const slot of this.#slots.values()) {
      const loaded = await this.#open(slot);
      if (this.#victimsOf(slot, loaded)?.length === 0) await this.#putInService(slot, loaded);
      else {
        await loaded.release();
        this.#keepOut(slot);
      }
    }
  }

  async load(name: string): Promise<void> {
    const slot = this.#slotOf(name);
    const loaded = await this.#open(slot);
    const victims = this.#victimsOf(slot, loaded);
    if (victims === null) {
      await loaded.release();
      if (!slot.loaded) slot.state = 'UNAVAILABLE';
      slot.reason = `it needs ${mebibytes(loaded.report.memoryBytes)} MiB, more than the memory budget of ${mebibytes(this.#options.memoryBytes!)}`;
      throw new SerinError('MEMORY_LIMIT', `model '${name}': ${slot.reason}`);
    }
    await this.#putInService(slot, loaded);
    for (const victim of victims) {
      const other = this.#slotOf(victim);
      this.#keepOut(other);
      await this.#takeOut(other, 'memory');
    }
  }

  async unload(name: string): Promise<void> {
    const slot = this.#slotOf(name);
    slot.state = 'UNAVAILABLE';
    slot.reason = 'unloaded';
    slot.onDemandFromMs = null;
    await this.#takeOut(slot, 'command');
  }

  async #open(slot: Slot): Promise<LoadedModel> {
    const { file } = slot;
    if (!slot.loaded) slot.state = 'LOADING';
    try {
      return await this.#options.loader.load({ path: file.path, name: file.name, goldenFile: true });
    } catch (error) {
      slot.reason = messageOf(error);
      if (!slot.loaded) slot.state = 'UNAVAILABLE';
      throw error;
    }
  }

  async #putInService(slot: Slot, session: LoadedModel): Promise<void> {
    const before = slot.loaded;
    const batcher = session.report.runner === 'thread' ? (slot.ownBatcher ??= this.#newBatcher()) : this.#sharedBatcher;
    slot.loaded = { model: this.#modelOf(slot, session, batcher), session, batcher };
    slot.state = 'READY';
    slot.reason = '';
    slot.onDemandFromMs = null;
    slot.usedAt = ++this.#clock;
    await this.#retire(before, 'replaced');
  }

  async #takeOut(slot: Slot, reason: UnloadReason): Promise<void> {
    const before = slot.loaded;
    slot.loaded = null;
    await this.#retire(before, reason);
  }

  #keepOut(slot: Slot, retryAfterMs = 0): void {
    slot.state = 'UNAVAILABLE';
    slot.reason = 'the memory budget has no room for it; it is loaded when it is asked for';
    slot.onDemandFromMs = performance.now() + retryAfterMs;
  }

  #loadOnDemand(slot: Slot): void {
    slot.onDemandFromMs = null;
    slot.reason = 'it is being loaded';
    this.load(slot.file.name).catch(() => {
      // the reason stands in the slot
      slot.onDemandFromMs = performance.now() + RETRY_AFTER_MS;
    });
  }

  /** Models that must go when this one comes, or comes in the place of the one before; null: even that is not enough. */
  #victimsOf(slot: Slot, { report }: LoadedModel): string[] | null {
    const others = [...this.#slots.values()].filter((other) => other !== slot && other.loaded !== null);
    return leastUsedBeyond(
      [
        { key: slot.file.name, bytes: report.memoryBytes, usedAt: Infinity, pinned: true },
        ...others.map(({ file, loaded, usedAt }) => ({
          key: file.name,
          bytes: loaded!.session.report.memoryBytes,
          usedAt,
          pinned: false,
        })),
      ],
      this.#options.memoryBytes ?? null,
    );
  }

  async close(): Promise<void> {
    await this.#sharedBatcher.whenIdle();
    for (const { loaded } of this.#slots.values()) {
      await loaded?.batcher.whenIdle();
      await loaded?.session.release();
    }
  }

  #newBatcher(): MicroBatcher<TensorWork> {
    return new MicroBatcher({
      run: runTensorBatch,
      limits: this.#limits,
      onRefused: ({ statistics }, { reason }, waitedMs) => {
        statistics.failed(waitedMs);
        this.#options.onRefused?.(reason);
      },
    });
  }

  /** What was submitted for a model is queued or running now, and nothing more will be. */
  async #retire(loaded: Loaded | null, reason: UnloadReason): Promise<void> {
    if (loaded === null) return;
    await loaded.batcher.whenPassed();
    await loaded.session.release();
    this.#options.onUnload?.(reason);
  }

  #modelOf({ file, statistics }: Slot, session: LoadedModel, batcher: MicroBatcher<TensorWork>): TensorModel {
    const cost = this.costs.of(file.name);
    return {
      name: file.name,
      version: ONLY_VERSION,
      versions: [ONLY_VERSION],
      platform: 'onnx_onnxv1',
      inputs: session.inputs,
      outputs: session.outputs,
      batched: session.batched,
      statistics,
      infer: (inputs, outputs, deadlineMs, priority) =>
        new Promise((resolve, reject) => {
          const rows = session.batched ? inputs[0]!.shape[0]! : 1;
          batcher.submit({
            rows,
            session,
            statistics,
            inputs,
            outputs,
            submittedMs: performance.now(),
            deadlineMs,
            priority,
            cost,
            resolve,
            reject,
          });
        }),
    };
  }

  #slotOf(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot) return slot;
    throw new SerinError('MODEL_NOT_FOUND', `unknown model '${name}'`);
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
