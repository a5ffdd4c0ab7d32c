import { SerinError } from '../../domain/errors.ts';
import { MicroBatcher } from '../batching/micro-batcher.ts';
import { openTensorSession, type TensorSession } from '../model/tensor-session.ts';
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

interface Slot {
  readonly file: ModelFile;
  readonly statistics: ModelStatistics;
  loaded: { readonly model: TensorModel; readonly session: TensorSession } | null;
  state: ModelIndexEntry['state'];
  reason: string;
}

/** The models of plain ONNX files. A reload that fails leaves what serves; requests under way end on what they began with. */
export class FileRepository implements ModelRepository {
  readonly #slots: ReadonlyMap<string, Slot>;
  readonly #batcher: MicroBatcher<TensorWork>;

  constructor(files: readonly ModelFile[], limits: BatchLimits) {
    this.#slots = new Map(
      files.map((file) => [
        file.name,
        { file, statistics: new ModelStatistics(), loaded: null, state: 'UNAVAILABLE', reason: 'not loaded yet' },
      ]),
    );
    this.#batcher = new MicroBatcher(runTensorBatch, limits);
  }

  get queuedRows(): number {
    return this.#batcher.queuedRows;
  }

  get(name: string, version: string | undefined): TensorModel {
    const slot = this.#slotOf(name);
    if (version !== undefined && version !== ONLY_VERSION) {
      throw new SerinError('VERSION_NOT_FOUND', `model '${name}' has no version '${version}', only ${ONLY_VERSION}`);
    }
    if (slot.loaded) return slot.loaded.model;
    throw new SerinError('MODEL_NOT_READY', `model '${name}' is not ready: ${slot.reason}`);
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

  async load(name: string): Promise<void> {
    const slot = this.#slotOf(name);
    if (!slot.loaded) slot.state = 'LOADING';
    let session: TensorSession;
    try {
      session = await openTensorSession(slot.file.path, name);
    } catch (error) {
      slot.reason = error instanceof Error ? error.message : String(error);
      if (!slot.loaded) slot.state = 'UNAVAILABLE';
      throw error;
    }
    const before = slot.loaded;
    slot.loaded = { model: this.#modelOf(slot, session), session };
    slot.state = 'READY';
    slot.reason = '';
    await this.#retire(before?.session);
  }

  async unload(name: string): Promise<void> {
    const slot = this.#slotOf(name);
    const before = slot.loaded;
    slot.loaded = null;
    slot.state = 'UNAVAILABLE';
    slot.reason = 'unloaded';
    await this.#retire(before?.session);
  }

  async close(): Promise<void> {
    await this.#batcher.whenIdle();
    for (const slot of this.#slots.values()) await slot.loaded?.session.release();
  }

  /** What was submitted for a session is queued or running now, and nothing more will be. */
  async #retire(session: TensorSession | undefined): Promise<void> {
    if (session === undefined) return;
    await this.#batcher.whenPassed();
    await session.release();
  }

  #modelOf({ file, statistics }: Slot, session: TensorSession): TensorModel {
    return {
      name: file.name,
      version: ONLY_VERSION,
      versions: [ONLY_VERSION],
      platform: 'onnx_onnxv1',
      inputs: session.inputs,
      outputs: session.outputs,
      batched: session.batched,
      statistics,
      infer: (inputs, outputs, timeoutMs) =>
        new Promise((resolve, reject) => {
          const submittedMs = performance.now();
          const rows = session.batched ? inputs[0]!.shape[0]! : 1;
          this.#batcher.submit({
            rows,
            session,
            statistics,
            inputs,
            outputs,
            submittedMs,
            deadlineMs: timeoutMs === null ? Infinity : submittedMs + timeoutMs,
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
