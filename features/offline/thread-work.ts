import type { MessagePort } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import { DuckDb, type DuckDbSettings } from './duckdb.ts';
import type { ThreadMessage } from './thread-answer.ts';

const PROGRESS_EVERY_MS = 200;
/** An interruption ends the statement that runs; one that begins after it is ended by the next. */
const INTERRUPT_EVERY_MS = 50;

export interface PieceOfWork {
  readonly duckdb: DuckDbSettings;
  /** How it is said that memory does not suffice: `the dataset cannot be built`. */
  readonly outOfMemory: string;
  /** Of that error, besides the memory. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Work with DuckDB in a thread of its own, one piece after the other, that its owner may abort. */
export class ThreadWork {
  readonly #port: MessagePort;
  readonly #cancelled: () => SerinError;
  readonly #open = new Set<DuckDb>();
  #aborted = false;

  constructor(port: MessagePort, cancelled: () => SerinError) {
    this.#port = port;
    this.#cancelled = cancelled;
  }

  /** Ends what is under way, and whatever comes after it. */
  abort(): void {
    this.#aborted = true;
    setInterval(() => {
      for (const database of this.#open) database.interrupt();
    }, INTERRUPT_EVERY_MS).unref();
  }

  /** A further database for the piece of work, which an abort interrupts too; whoever opens it closes it. */
  async openDatabase(settings: DuckDbSettings): Promise<DuckDb> {
    const database = await DuckDb.open(settings);
    this.#open.add(database);
    return database;
  }

  /**
   * The database is the piece's own, so that what one needed is free for the next, and is closed when the owner hears of the
   * end, since it may end the thread then.
   * @param work is to tell of the rows that go by, and ends there when it was aborted
   */
  async carryOut<Result>(
    piece: PieceOfWork,
    work: (duckdb: DuckDb, onRows: (rows: number) => void) => Promise<Result>,
  ): Promise<void> {
    this.#port.postMessage(await this.#endOf(piece, work));
  }

  async #endOf<Result>(
    piece: PieceOfWork,
    work: (duckdb: DuckDb, onRows: (rows: number) => void) => Promise<Result>,
  ): Promise<ThreadMessage<Result>> {
    let duckdb: DuckDb | undefined;
    try {
      if (this.#aborted) throw this.#cancelled();
      duckdb = await this.openDatabase(piece.duckdb);
      return { type: 'done', result: await work(duckdb, this.#rowCounter()) };
    } catch (error) {
      return failureOf(this.#aborted ? this.#cancelled() : error, piece);
    } finally {
      duckdb?.close();
      this.#open.clear();
    }
  }

  #rowCounter(): (rows: number) => void {
    let gone = 0;
    let reportedAt = 0;
    return (rows) => {
      if (this.#aborted) throw this.#cancelled();
      gone += rows;
      if (performance.now() - reportedAt < PROGRESS_EVERY_MS) return;
      reportedAt = performance.now();
      this.#port.postMessage({ type: 'progress', rows: gone } satisfies ThreadMessage<never>);
    };
  }
}

function failureOf(error: unknown, { duckdb: { memory }, outOfMemory, fields }: PieceOfWork): ThreadMessage<never> {
  if (error instanceof SerinError)
    return { type: 'refused', code: error.code, detail: error.message, fields: error.fields };
  if (error instanceof Error && error.message.startsWith('Out of Memory')) {
    const detail = `${outOfMemory} within ${memory} of memory: raise SERIN_DUCKDB_MEMORY (${error.message.split('\n', 1)[0]})`;
    return { type: 'refused', code: 'MEMORY_LIMIT', detail, fields: { memory, ...fields } };
  }
  return { type: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
