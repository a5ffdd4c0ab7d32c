/** What the rows of a dataset ask of a log: which keys, when, and where the answers go. */
import type { ColumnType } from '../../domain/project/expression.ts';
import type { ViewUsePlan } from '../kernel/feature-set-plan.ts';
import { keysOf } from './dataset-chunks.ts';
import type { KeyRange } from './dataset-job.ts';
import { requestColumn } from './dataset-log.ts';
import { SQL_TYPES } from './ingest-sql.ts';
import { doubleSql, type DuckDb, textSql } from './duckdb.ts';

/** In the order of (key, asOf); `keys` are ids of table `key`. */
export interface Questions {
  readonly count: number;
  readonly keys: Float64Array;
  readonly asOf: Float64Array;
  /** Row of the spine, and position in the uses that ask. */
  readonly rows: Float64Array;
  readonly uses: Float64Array;
}

/** Columns of table `key` that hold the parts of a key; a key of no parts has one column that is always 0. */
export function keyColumnNames(parts: readonly unknown[]): string[] {
  return parts.length === 0 ? ['k0'] : parts.map((_, part) => `k${part}`);
}

/** The key of a log's row, part by part, as table `key` has it. */
export function logKeySql(columns: readonly string[], parts: readonly { readonly type: ColumnType }[]): string[] {
  return parts.length === 0
    ? ['CAST(0 AS BIGINT)']
    : columns.map((column, part) => `CAST(${column} AS ${SQL_TYPES[parts[part]!.type]})`);
}

/**
 * Makes table `key` (id 0…k−1 in the order of all asked keys, k0…) of the range's keys, and reads what is asked of them.
 * Rows with a null key ask nothing, or are asked under the id −1.
 * @param uses the request fields that hold the key, for each use
 */
export async function readQuestions(
  duckdb: DuckDb,
  /** A relation with idx, as_of and the request fields. */
  spine: string,
  parts: readonly { readonly type: ColumnType }[],
  uses: readonly { readonly key: readonly string[] }[],
  range: KeyRange,
  nullKeys: 'left out' | 'asked' = 'left out',
): Promise<Questions> {
  const names = keyColumnNames(parts);
  const asked = uses.map(({ key }, number) => {
    const values = logKeySql(key.map(requestColumn), parts).map((sql, part) => `${sql} AS ${names[part]!}`);
    return `SELECT idx, as_of, ${number} AS use, ${values.join(', ')} FROM ${spine}`;
  });
  const hasKey = names.map((name) => `${name} IS NOT NULL`).join(' AND ');
  await duckdb.run(`
    CREATE TABLE asked AS SELECT * FROM (${asked.join(' UNION ALL ')}) ${nullKeys === 'asked' ? '' : `WHERE ${hasKey}`}`);
  await duckdb.run(`
    CREATE TABLE key AS
    SELECT ROW_NUMBER() OVER (ORDER BY ${names.join(', ')}) - 1 AS id, * FROM (SELECT DISTINCT ${names.join(', ')} FROM asked WHERE ${hasKey})`);
  const { from, to } = keysOf(range, await count(duckdb, 'key'));
  await duckdb.run(`DELETE FROM key WHERE id < ${from} OR id >= ${to}`);
  await duckdb.run(`
    CREATE TABLE question AS SELECT id, as_of, idx, use FROM asked JOIN key USING (${names.join(', ')})
    ${nullKeys === 'asked' && range.chunk === 0 ? `UNION ALL SELECT -1, as_of, idx, use FROM asked WHERE NOT (${hasKey})` : ''}`);
  await duckdb.run('DROP TABLE asked');
  const questions = await count(duckdb, 'question');
  const columns = ['id', 'as_of', 'idx', 'use'].map((name) => ({ name, values: new Float64Array(questions) }));
  let at = 0;
  for await (const chunk of duckdb.doubles(
    `SELECT ${columns.map(({ name }) => doubleSql(name)).join(', ')} FROM question ORDER BY id, as_of`,
  )) {
    columns.forEach(({ values }, c) => values.set(chunk.columns[c]!.subarray(0, chunk.rows), at));
    at += chunk.rows;
  }
  await duckdb.run('DROP TABLE question');
  const [keys, asOf, rows, used] = columns.map(({ values }) => values);
  return { count: questions, keys: keys!, asOf: asOf!, rows: rows!, uses: used! };
}

async function count(duckdb: DuckDb, table: string): Promise<number> {
  const [row] = await duckdb.rows(`SELECT COUNT(*) AS rows FROM ${table}`);
  return row!['rows'] as number;
}

/** The view's outputs that some use has in the feature set, ascending: what the chunks' files hold, as columns o0…. */
export function outputsUsed(uses: readonly Pick<ViewUsePlan, 'outputs'>[]): number[] {
  return [...new Set(uses.flatMap(({ outputs }) => [...outputs]))].toSorted((a, b) => a - b);
}

/** Takes the answers of one chunk: a row per question, idx, use and the values (NaN: null). */
export class AnswerTable {
  readonly #duckdb: DuckDb;
  readonly #writer: Awaited<ReturnType<DuckDb['openDoubles']>>;
  readonly #row: Float64Array;

  private constructor(duckdb: DuckDb, writer: Awaited<ReturnType<DuckDb['openDoubles']>>, values: number) {
    this.#duckdb = duckdb;
    this.#writer = writer;
    this.#row = new Float64Array(2 + values);
  }

  static async open(duckdb: DuckDb, values: number): Promise<AnswerTable> {
    const columns = Array.from({ length: values }, (_, i) => `, o${i} DOUBLE`);
    await duckdb.run(`CREATE TABLE answer (idx DOUBLE, use DOUBLE${columns.join('')})`);
    return new AnswerTable(duckdb, await duckdb.openDoubles('answer', 2 + values), values);
  }

  /** `picked[i]` is the position in `values` of column i. */
  add(questions: Questions, question: number, values: Float64Array, picked: readonly number[]): void {
    const row = this.#row;
    row[0] = questions.rows[question]!;
    row[1] = questions.uses[question]!;
    for (let i = 0; i < picked.length; i++) row[2 + i] = values[picked[i]!]!;
    this.#writer.add(row);
  }

  /**
   * @param name of the chunk in its build, written into the file: files of two builds are never the same bytes
   * @param columns SQL of what is written, over idx, use, o0…
   */
  async write(
    path: string,
    name: string,
    columns = '* REPLACE (CAST(idx AS BIGINT) AS idx, CAST(use AS BIGINT) AS use)',
  ): Promise<void> {
    this.#writer.close();
    await this.#duckdb.run(`
      COPY (SELECT ${columns} FROM answer) TO ${textSql(path)}
      (FORMAT parquet, COMPRESSION snappy, KV_METADATA {chunk: ${textSql(name)}})`);
    await this.#duckdb.run('DROP TABLE answer');
  }
}
