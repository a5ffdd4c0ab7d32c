/**
 * Latest values by one walk over the rows of each key in memory: what `latestColumnsSql` gives, at about half its cost.
 * DuckDB reads, filters and numbers the keys; here rows and questions of a key pass by in the order in which they become
 * visible; DuckDB fetches the values of the rows that were found.
 *
 * A row that stands for ever replaces the newest so far when it is not older (see `latest-sql.ts`). Rows that stand until
 * their next version is known wait in a heap by position, and leave it once they have ended.
 */
import type { DuckDb } from '../duckdb.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import type { SpineRelation, ViewQuestion } from './answer-spine.ts';
import { factsSql, keyColumn, TOMBSTONE } from './fact-table.ts';
import {
  candidatesSql,
  type Choice,
  choicesOf,
  cutSql,
  latestColumnsSql,
  outputSql,
  rowsStandForEver,
} from './latest-sql.ts';
import { byKey, GrowingColumns, type KeyedColumns, type PickedRows, Picker } from './newest-picker.ts';

/** Rows of one view that are held at a time, of about 100 bytes each while they are sorted; beyond it DuckDB sorts, and spills. */
const MOST_FACTS = 8_000_000;

export interface PreparedLatest {
  /** A SELECT with the columns of `latestColumnsSql`, one row per spine row in no order. */
  readonly sql: string;
  /** Drops what the SELECT reads. */
  release(): Promise<void>;
}

/**
 * Finds the newest rows, and says how their values are selected.
 * @param name  of the tables that hold what was found, and of none else
 * @param spine `row` counts from 0: memory is 8 bytes for each number up to the largest, and each view
 * @throws RangeError for a view with other outputs, and for a spine with `knownSeq`
 */
export async function prepareLatest(
  duckdb: DuckDb,
  name: string,
  spine: Omit<SpineRelation, 'rows'>,
  questions: readonly ViewQuestion[],
  carried: readonly string[] = [],
): Promise<PreparedLatest> {
  const inSql = latestColumnsSql(spine, questions, carried);
  const choices = questions.flatMap(({ plan, log }, u) => choicesOf(u, plan, log));
  const picks: Float64Array[] = [];
  for (const choice of choices) {
    const found = await pick(duckdb, `${name}_key`, spine, questions[choice.u]!, choice);
    if (found === null) return { sql: inSql, release: () => Promise.resolve() };
    picks.push(found);
  }
  const table = `${name}_pick`;
  await writePicks(duckdb, table, picks);
  const own = [`CAST(${spine.row} AS BIGINT) AS idx`, `${spine.asOf} AS as_of`];
  const asked = `SELECT ${[...own, ...carried.map((column, c) => `${column} AS carried${c}`)].join(', ')} FROM ${spine.sql}`;
  const found = choices.flatMap((_, p) => [
    `CASE WHEN ISFINITE(p${p}) THEN CAST(p${p} AS BIGINT) END AS seq${p}`,
    `p${p} = CAST('-Infinity' AS DOUBLE) AS deleted${p}`,
  ]);
  const values = choices.map((choice, p) => {
    const facts = factsSql(choice.plan, { ...choice.log, identity: null }, 'none', choice.slots);
    return `LEFT JOIN (${facts}) ${choice.name} ON picked.seq${p} = ${choice.name}.seq`;
  });
  const outputs = questions.flatMap(({ plan }, u) =>
    plan.outputs.map((_, i) => {
      const p = choices.findIndex((choice) => choice.u === u && choice.outputs.includes(i));
      return outputSql(choices[p]!, i, `COALESCE(picked.deleted${p}, FALSE)`);
    }),
  );
  const columns = ['q.idx', ...carried.map((column, c) => `q.carried${c} AS ${column}`), ...outputs];
  return {
    sql: `
      SELECT ${columns.join(', ')} FROM (${asked}) q
      LEFT JOIN (SELECT ${['CAST(idx AS BIGINT) AS idx', ...found].join(', ')} FROM ${table}) picked ON q.idx = picked.idx
      ${values.join(' ')}`,
    release: () => duckdb.run(`DROP TABLE IF EXISTS ${table}`),
  };
}

/**
 * By row of the spine the `ingest_seq` of the newest row: NaN where there is none, −Infinity where it is a tombstone. Null when
 * the rows are too many, or their numbers beyond what a double holds: then SQL has to do it.
 */
async function pick(
  duckdb: DuckDb,
  keyTable: string,
  spine: Omit<SpineRelation, 'rows'>,
  { plan, key }: ViewQuestion,
  choice: Choice,
): Promise<Float64Array | null> {
  const parts = plan.keyParts.map((_, i) => keyColumn(i));
  const asked = key.map((sql, i) => `CAST(${sql} AS ${SQL_TYPES[plan.keyParts[i]!.type]}) AS ${parts[i]}`);
  const numbered = parts.length === 0 ? 'CROSS JOIN (SELECT 0 AS id)' : `JOIN ${keyTable} USING (${parts.join(', ')})`;
  if (parts.length > 0) {
    await duckdb.run(`
      CREATE OR REPLACE TEMP TABLE ${keyTable} AS
      SELECT *, ROW_NUMBER() OVER () - 1 AS id FROM (SELECT DISTINCT ${asked.join(', ')} FROM ${spine.sql})
      WHERE ${parts.map((part) => `${part} IS NOT NULL`).join(' AND ')}`);
  }
  try {
    const rows = await readRows(duckdb, choice, numbered);
    if (rows === null) return null;
    const own = [`CAST(${spine.row} AS BIGINT) AS idx`, `${spine.asOf} AS as_of`, ...asked];
    const questions = await readColumns(
      duckdb,
      ['id', 'idx', cutSql(plan)],
      `(SELECT ${own.join(', ')} FROM ${spine.sql}) q ${numbered} WHERE q.as_of IS NOT NULL`,
      Infinity,
    );
    if (questions === null) return null;
    const [askRows, cuts] = questions.columns;
    const seqs = new Float64Array(askRows!.length).fill(NaN);
    const picker = new Picker(rows.picked);
    for (let k = 0; k < Math.min(rows.keyed.keys, questions.keys); k++) {
      picker.answer(spanOf(rows.keyed, k), spanOf(questions, k), cuts!, seqs);
    }
    return byRow(askRows!, seqs);
  } finally {
    if (parts.length > 0) await duckdb.run(`DROP TABLE ${keyTable}`);
  }
}

async function readRows(
  duckdb: DuckDb,
  choice: Choice,
  numbered: string,
): Promise<{ keyed: KeyedColumns; picked: PickedRows } | null> {
  const { plan, conditionSlots } = choice;
  const lasting = rowsStandForEver(choice);
  const log = lasting ? { ...choice.log, identity: null } : choice.log;
  const selected = ['id', 'event_at', 'av', 'seq'];
  if (log.op !== null) selected.push(`CAST(op = ${TOMBSTONE} AS INTEGER)`);
  if (!lasting) selected.push(`COALESCE(CAST(known_to AS DOUBLE), CAST('Infinity' AS DOUBLE))`);
  const candidates = candidatesSql(choice, factsSql(plan, log, 'none', conditionSlots));
  const keyed = await readColumns(duckdb, selected, `(${candidates}) f ${numbered}`, MOST_FACTS);
  if (keyed === null) return null;
  const [eventAt, availableAt, seq, ...rest] = keyed.columns;
  const picked = {
    eventAt: eventAt!,
    availableAt: availableAt!,
    seq: seq!,
    tombstone: log.op === null ? null : rest[0]!,
    knownTo: lasting ? null : rest.at(-1)!,
  };
  return { keyed, picked };
}

function spanOf({ starts }: KeyedColumns, key: number): { from: number; to: number } {
  return { from: starts[key]!, to: starts[key + 1]! };
}

/** By the first column, a key's number. Null when there are more rows, or a number that is no safe integer. */
async function readColumns(
  duckdb: DuckDb,
  selected: readonly string[],
  from: string,
  most: number,
): Promise<KeyedColumns | null> {
  const read = new GrowingColumns(selected.length);
  const sql = `SELECT ${selected.map((each) => `CAST(${each} AS DOUBLE)`).join(', ')} FROM ${from}`;
  for await (const { rows, columns } of duckdb.doubles(sql)) {
    if (read.count + rows > most || !columns.every((column) => areSafe(column, rows))) return null;
    read.add(columns, rows);
  }
  return byKey(read);
}

function areSafe(column: Float64Array, rows: number): boolean {
  for (let i = 0; i < rows; i++) {
    if (Math.abs(column[i]!) > Number.MAX_SAFE_INTEGER && column[i] !== Infinity) return false;
  }
  return true;
}

function byRow(rows: Float64Array, seqs: Float64Array): Float64Array {
  const most = rows.reduce((largest, row) => Math.max(largest, row), -1);
  const placed = new Float64Array(most + 1).fill(NaN);
  for (let i = 0; i < rows.length; i++) placed[rows[i]!] = seqs[i]!;
  return placed;
}

/** Table (idx, p0, p1, …). Rows for which nothing was found are left out. */
async function writePicks(duckdb: DuckDb, table: string, picks: readonly Float64Array[]): Promise<void> {
  // not a temporary one: the writer is another connection
  await duckdb.run(`CREATE OR REPLACE TABLE ${table} (idx DOUBLE, ${picks.map((_, p) => `p${p} DOUBLE`).join(', ')})`);
  const writer = await duckdb.openDoubles(table, 1 + picks.length);
  const row = new Float64Array(1 + picks.length);
  const rows = Math.max(0, ...picks.map((pick) => pick.length));
  for (let i = 0; i < rows; i++) {
    row[0] = i;
    let isFound = false;
    for (let p = 0; p < picks.length; p++) {
      const seq = picks[p]![i] ?? NaN;
      row[1 + p] = seq;
      if (!Number.isNaN(seq)) isFound = true;
    }
    if (isFound) writer.add(row);
  }
  writer.close();
}
