import { SerinError } from '../../domain/errors.ts';
import type { DuckDb, ScalarValue } from './duckdb.ts';

/** One DuckDB for the length of a batch: rows keep their order, the signal interrupts it, its errors are the table's. */
export class Session {
  readonly #duckdb: DuckDb;
  readonly #signal: AbortSignal | undefined;
  readonly #interrupt: () => void;

  private constructor(duckdb: DuckDb, signal: AbortSignal | undefined) {
    this.#duckdb = duckdb;
    this.#signal = signal;
    this.#interrupt = () => duckdb.interrupt();
    signal?.addEventListener('abort', this.#interrupt);
  }

  static async open(duckdb: DuckDb, signal: AbortSignal | undefined): Promise<Session> {
    const session = new Session(duckdb, signal);
    await session.run('SET preserve_insertion_order = true');
    return session;
  }

  async run(sql: string): Promise<void> {
    await this.#guarded(() => this.#duckdb.run(sql));
  }

  async rows(sql: string): Promise<Record<string, ScalarValue>[]> {
    return this.#guarded(() => this.#duckdb.rows(sql));
  }

  async count(sql: string): Promise<number> {
    const [row] = await this.rows(sql);
    return Number(Object.values(row!)[0]);
  }

  /** Also after a cancellation. */
  async drop(table: string): Promise<void> {
    await this.#duckdb.run(`DROP TABLE IF EXISTS ${table}`);
  }

  async close(tables: readonly string[]): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#interrupt);
    for (const table of tables) await this.drop(table);
    await this.#duckdb.run('SET preserve_insertion_order = false');
  }

  async #guarded<T>(statement: () => Promise<T>): Promise<T> {
    const isAborted = (): boolean => this.#signal?.aborted ?? false;
    if (isAborted()) throw cancelled(this.#signal?.reason);
    try {
      return await statement();
    } catch (cause) {
      if (isAborted()) throw cancelled(cause);
      if (/no space left on device/i.test(String(cause))) {
        throw new SerinError('STORAGE_FULL', 'the disk ran full while a batch was written', { cause });
      }
      throw cause;
    }
  }
}

function cancelled(cause: unknown): SerinError {
  return new SerinError('CANCELLED', 'the ingestion was cancelled; nothing of the batch was stored', { cause });
}
