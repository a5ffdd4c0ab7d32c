import { SerinError } from '../../domain/errors.ts';
import { createInlineSession } from './inline-session.ts';
import { type Inspection, type ModelSource, statFile } from './inspect-model.ts';
import type { ModelReport } from './model-report.ts';
import type { TensorSession } from './tensor-session.ts';
import { ThreadHandle } from './thread-handle.ts';
import { ThreadSession } from './thread-session.ts';
import { createTreeSession } from './tree-session.ts';

export type { ModelSource } from './inspect-model.ts';

export interface LoadedModel extends TensorSession {
  readonly report: ModelReport;
}

export interface ModelLoaderOptions {
  /** Told of every load that ended; `null`: it failed. */
  readonly onLoad?: (seconds: number, report: ModelReport | null) => void;
  /** Told when the thread of a loaded model has died or was given up; the model is being loaded again. */
  readonly onThreadLost?: (model: string, reason: string) => void;
  /** Whether a load that begins now gives way to the event loop; before there is anything to serve it need not. Always by default. */
  readonly givesWay?: () => boolean;
  /** A run in a thread that takes longer is given up, and the thread with it. */
  readonly runWithinMs?: number;
  /** How long the thread that loads stays when there is nothing to load. */
  readonly idleMs?: number;
}

interface Opened {
  readonly inspection: Inspection;
  /** Not null: it keeps the model and loads no other one. */
  readonly thread: ThreadHandle | null;
}

/** Reading, proving and timing a file of 8 GB from a slow disk. */
const LOAD_WITHIN_MS = 900_000;
const RUN_WITHIN_MS = 30_000;
const IDLE_MS = 10_000;

/**
 * Loads models without holding the event loop up: parsing, creating the session, warming up, golden rows and the choice of
 * who computes happen in a thread, one model after the other. Trees come back as tables; a session that is created quickly
 * and runs quickly is created here; every other one stays in the thread that loaded it.
 */
export class ModelLoader {
  readonly #options: ModelLoaderOptions;
  readonly #runWithinMs: number;
  #idle: ThreadHandle | null = null;
  #idleTimer: NodeJS.Timeout | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: ModelLoaderOptions = {}) {
    this.#options = options;
    this.#runWithinMs = options.runWithinMs ?? RUN_WITHIN_MS;
  }

  /** @throws SerinError MODEL_FILE_INVALID, INFERENCE_FAILED when the thread itself is lost */
  load(source: ModelSource): Promise<LoadedModel> {
    return this.#inTurn(async () => {
      const startedMs = performance.now();
      try {
        const loaded = await this.#load(source);
        this.#options.onLoad?.((performance.now() - startedMs) / 1e3, loaded.report);
        return loaded;
      } catch (error) {
        this.#options.onLoad?.((performance.now() - startedMs) / 1e3, null);
        throw error;
      }
    });
  }

  /** SHA-256 of a file, in hexadecimal: seconds of work for gigabytes. */
  digestOf(path: string): Promise<string> {
    return this.#inTurn(() =>
      this.#withThread((thread) => thread.ask('digest', { path, givingWay: this.#givesWay() }, LOAD_WITHIN_MS)),
    );
  }

  /** Loaded models stay; they end with their release. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn.catch(() => undefined);
    await this.#endIdle();
  }

  async #load(source: ModelSource): Promise<LoadedModel> {
    const opened = await this.#open(source);
    const loaded = await this.#sessionOf(source, opened);
    try {
      // its graph, its golden rows and its session were read one after the other: of the same file only if it still is that file
      await refuseChanged(source, opened.inspection);
      return loaded;
    } catch (error) {
      await loaded.release();
      throw error;
    }
  }

  async #sessionOf(source: ModelSource, { inspection, thread }: Opened): Promise<LoadedModel> {
    const { report, trees, mapped } = inspection;
    if (thread) {
      const reopen = async (): Promise<ThreadHandle> => {
        const again = await this.#inTurn(() => this.#open(source));
        if (again.thread) return again.thread;
        throw new SerinError('MODEL_FILE_INVALID', `${source.name}: its file is no longer what was loaded`);
      };
      const session = new ThreadSession(report, source.name, thread, {
        reopen,
        onLost: (reason) => this.#options.onThreadLost?.(source.name, reason),
        runWithinMs: this.#runWithinMs,
      });
      return Object.assign(session, { report });
    }
    if (trees) return { ...(await createTreeSession(report, trees)), report };
    // what it has become meanwhile may take long, and would hold up the event loop
    await refuseChanged(source, inspection);
    return { ...(await createInlineSession(report, source.path, source.name, { mapped })), report };
  }

  async #open(source: ModelSource): Promise<Opened> {
    const givingWay = this.#givesWay();
    const { inspection, thread } = await this.#withThread(async (loading) => {
      const opened = await loading.ask('open', { source, givingWay }, LOAD_WITHIN_MS);
      return { inspection: opened.inspection, thread: opened.kept ? loading : null };
    });
    if (thread) this.#idle = null;
    if (thread || inspection.report.runner !== 'thread') return { inspection, thread };
    // the thread that loaded it must go on giving way: another one, as quick as the rest, is to keep it
    const keeping = new ThreadHandle();
    try {
      const again = await keeping.ask('open', { source, givingWay: false }, LOAD_WITHIN_MS);
      if (again.kept) return { inspection: again.inspection, thread: keeping };
      // measured anew, it need not stay there
      await keeping.end();
      return { inspection: again.inspection, thread: null };
    } catch (error) {
      await keeping.end();
      throw error;
    }
  }

  #givesWay(): boolean {
    return this.#options.givesWay?.() ?? true;
  }

  async #withThread<T>(use: (thread: ThreadHandle) => Promise<T>): Promise<T> {
    if (this.#closed) throw new SerinError('MODEL_NOT_READY', 'the server is stopping');
    clearTimeout(this.#idleTimer);
    let thread = this.#idle;
    if (thread === null) {
      const fresh = new ThreadHandle();
      thread = this.#idle = fresh;
      fresh.onLoss = () => {
        if (this.#idle === fresh) this.#idle = null;
      };
    }
    try {
      return await use(thread);
    } finally {
      this.#idleTimer = setTimeout(() => void this.#endIdle(), this.#options.idleMs ?? IDLE_MS).unref();
    }
  }

  async #endIdle(): Promise<void> {
    clearTimeout(this.#idleTimer);
    const idle = this.#idle;
    this.#idle = null;
    await idle?.end();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

async function refuseChanged({ path, name }: ModelSource, { identity }: Inspection): Promise<void> {
  if ((await statFile(path, name)).identity !== identity)
    throw new SerinError('MODEL_FILE_INVALID', `${name}: its file changed while it was loaded`);
}
