/** The one place that opens DuckDB: its limits, where it spills, and how columns come out as typed arrays. */
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DuckDBAppender,
  type DuckDBConnection,
  DOUBLE,
  DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBType,
  DuckDBUUIDVector,
  type DuckDBValue,
  type DuckDBVector,
} from '@duckdb/node-api';

export interface DuckDbSettings {
  /** A size as DuckDB writes it: `1GB`. */
  readonly memory: string;
  readonly threads: number;
  /** Folder for what does not fit into memory; made when missing. Each database has its own folder in it. */
  readonly tempDir: string;
}

export type ScalarValue = number | string | boolean | null;

/** Numbers of one chunk, column by column; the arrays are used again for the next chunk. NaN is null. */
export interface DoublesChunk {
  readonly rows: number;
  readonly columns: readonly Float64Array[];
}

/** Rows of a chunk; an appended chunk may not have more. */
export const CHUNK_ROWS = 2048;

/** An in-memory database of its own. Use from one place at a time; `interrupt` may come from anywhere. */
export class DuckDb {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #spillDir: string;
  #closed = false;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, spillDir: string) {
    this.#instance = instance;
    this.#connection = connection;
    this.#spillDir = spillDir;
  }

  static async open({ memory, threads, tempDir }: DuckDbSettings): Promise<DuckDb> {
    await mkdir(tempDir, { recursive: true });
    // the names of spilled files are the same in every database
    const spillDir = await mkdtemp(join(tempDir, 'duckdb-'));
    const instance = await DuckDBInstance.create(':memory:', {
      memory_limit: memory,
      threads: String(threads),
      temp_directory: spillDir,
      // every query whose order matters says so
      preserve_insertion_order: 'false',
      // nothing is fetched: what DuckDB needs is in the package
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
    });
    return new DuckDb(instance, await instance.connect(), spillDir);
  }

  close(): void {
    this.#closed = true;
    this.#connection.closeSync();
    this.#instance.closeSync();
    rmSync(this.#spillDir, { recursive: true, force: true });
  }

  /** Makes the running statement fail. */
  interrupt(): void {
    if (!this.#closed) this.#connection.interrupt();
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql);
  }

  /** A few rows as objects; BIGINT becomes a number and must be a safe integer. */
  async rows(sql: string): Promise<Record<string, ScalarValue>[]> {
    const result = await this.#connection.run(sql);
    const rows = await result.getRowObjectsJS();
    return rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, scalar(name, value)])),
    );
  }

  /**
   * Streams a query chunk by chunk without building rows. Each column must be DOUBLE and free of nulls: wrap it in
   * `doubleSql`.
   */
  async *doubles(sql: string): AsyncGenerator<DoublesChunk, void, void> {
    const result = await this.#connection.stream(sql);
    const columns = Array.from({ length: result.columnCount }, () => new Float64Array(CHUNK_ROWS));
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      const rows = chunk.rowCount;
      for (let c = 0; c < columns.length; c++) copyDoubles(chunk.getColumnVector(c), columns[c]!, rows);
      yield { rows, columns };
    }
  }

  /** Streams columns of any type as plain values (BIGINT as numbers), for the few that are needed outside of SQL. */
  async *values(
    sql: string,
  ): AsyncGenerator<{ readonly rows: number; readonly columns: readonly ScalarValue[][] }, void, void> {
    const result = await this.#connection.stream(sql);
    const names = result.columnNames();
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      yield {
        rows: chunk.rowCount,
        columns: names.map((name, c) => chunk.getColumnValues(c).map((value) => scalar(name, value))),
      };
    }
  }

  /** Streams columns as the driver gives them: BIGINT and HUGEINT as bigints, lists as `DuckDBListValue`. */
  async *chunks(
    sql: string,
  ): AsyncGenerator<{ readonly rows: number; readonly columns: readonly DuckDBValue[][] }, void, void> {
    const result = await this.#connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      yield { rows: chunk.rowCount, columns: chunk.getColumns() };
    }
  }

  /**
   * Streams one UUID column that is free of nulls: 16 bytes each, big-endian, so that their order as bytes is their order in
   * SQL. Read from the driver's memory: through its values a million cost a second.
   */
  async *uuids(sql: string): AsyncGenerator<Buffer, void, void> {
    const result = await this.#connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      const vector = chunk.getColumnVector(0);
      // private in the driver's types; little-endian, the highest bit turned around
      const stored: unknown = Reflect.get(vector, 'dataView');
      if (!(vector instanceof DuckDBUUIDVector && stored instanceof DataView)) {
        throw new TypeError('the column is no UUID, or the driver holds it in another way');
      }
      const ids = Buffer.allocUnsafe(chunk.rowCount * 16);
      for (let i = 0; i < ids.length; i += 16) {
        ids.writeUInt32BE((stored.getUint32(i + 12, true) ^ 0x80000000) >>> 0, i);
        ids.writeUInt32BE(stored.getUint32(i + 8, true), i + 4);
        ids.writeUInt32BE(stored.getUint32(i + 4, true), i + 8);
        ids.writeUInt32BE(stored.getUint32(i, true), i + 12);
      }
      yield ids;
    }
  }

  /** Appends rows of any types; `columns[c][i]` as the driver takes them (BIGINT as bigint). */
  async append(
    table: string,
    types: readonly DuckDBType[],
    columns: readonly (readonly DuckDBValue[])[],
  ): Promise<void> {
    const appender = await this.#connection.createAppender(table);
    const rows = columns[0]?.length ?? 0;
    for (let from = 0; from < rows; from += CHUNK_ROWS) {
      const chunk = DuckDBDataChunk.create(types, Math.min(CHUNK_ROWS, rows - from));
      chunk.setColumns(columns.map((column) => column.slice(from, from + CHUNK_ROWS)));
      appender.appendDataChunk(chunk);
    }
    appender.closeSync();
  }

  /**
   * Opens a table whose columns are all DOUBLE for rows that come bit by bit, also while a query of this database streams.
   * @param columns how many the table has
   */
  async openDoubles(table: string, columns: number): Promise<DoublesWriter> {
    const connection = await this.#instance.connect();
    return new DoublesWriter(connection, await connection.createAppender(table), columns);
  }
}

/** Rows on their way into a table; NaN stays NaN. Nothing can be read of them before `close`. */
export class DoublesWriter {
  readonly #connection: DuckDBConnection;
  readonly #appender: DuckDBAppender;
  readonly #columns: readonly Float64Array[];
  #rows = 0;

  constructor(connection: DuckDBConnection, appender: DuckDBAppender, columns: number) {
    this.#connection = connection;
    this.#appender = appender;
    this.#columns = Array.from({ length: columns }, () => new Float64Array(CHUNK_ROWS));
  }

  /** A row, of which `row[i]` is the value of column i. */
  add(row: ArrayLike<number>): void {
    const columns = this.#columns;
    for (let c = 0; c < columns.length; c++) columns[c]![this.#rows] = row[c]!;
    if (++this.#rows === CHUNK_ROWS) this.#append();
  }

  close(): void {
    if (this.#rows > 0) this.#append();
    this.#appender.closeSync();
    this.#connection.closeSync();
  }

  #append(): void {
    const chunk = DuckDBDataChunk.create(
      this.#columns.map(() => DOUBLE),
      this.#rows,
    );
    for (let c = 0; c < this.#columns.length; c++)
      pasteDoubles(this.#columns[c]!, chunk.getColumnVector(c), this.#rows);
    this.#appender.appendDataChunk(chunk);
    this.#rows = 0;
  }
}

function copyDoubles(vector: DuckDBVector, into: Float64Array, rows: number): void {
  const values = doublesOf(vector);
  if (values !== null) into.set(values.subarray(0, rows));
  else for (let i = 0; i < rows; i++) into[i] = vector.getItem(i) as number;
}

function pasteDoubles(values: Float64Array, vector: DuckDBVector, rows: number): void {
  const into = doublesOf(vector);
  if (into !== null) into.set(values.subarray(0, rows));
  else for (let i = 0; i < rows; i++) vector.setItem(i, values[i]!);
  vector.flush();
}

/** The numbers of a vector as one block: the driver's own way asks a bit set for each of them, which costs more than all else. */
function doublesOf(vector: DuckDBVector): Float64Array | null {
  const { items } = vector as unknown as { items?: unknown };
  return items instanceof Float64Array ? items : null;
}

function scalar(name: string, value: unknown): ScalarValue {
  if (typeof value === 'bigint') {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) throw new RangeError(`"${name}" is ${value}, beyond 2^53`);
    return number;
  }
  if (value === null || typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean')
    return value;
  throw new TypeError(`"${name}" is neither a number, a text nor a truth value`);
}

/** A column for `doubles`: null becomes NaN. An int64 is exact below 2^53 (instants of 1684…2255 are). */
export function doubleSql(value: string): string {
  return `COALESCE(CAST(${value} AS DOUBLE), CAST('NaN' AS DOUBLE))`;
}

export function textSql(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** A list of files as `read_parquet` takes it. */
export function fileListSql(paths: readonly string[]): string {
  return `[${paths.map(textSql).join(', ')}]`;
}
