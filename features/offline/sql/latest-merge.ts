/**
 * Latest values by one walk over the rows of each key in memory: what `latestColumnsSql` gives, at about half its cost.
 * DuckDB reads, filters and numbers the keys; here rows and questions of a key pass by in the order in which they become
 * visible; DuckDB fetches the values of the rows that were found.
 *
 * A row that stands for ever replaces the newest so far when it is not older (see `latest-sql.ts`). Rows that stand until
 * their next version is known wait in a heap by position, and leave it once they have ended.
 */
import { type DuckDb } from '../duckdb.ts';
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
import { groupByKey, GrowingColumns, Picker } from './newest-picker.ts';

/** Rows of one view that are held at a time, 8 bytes for each of six columns; beyond it DuckDB sorts, and spills. */
const MOST_FACTS = 20_000_000;

/**
 * Makes a temporary table with the columns of `latestColumnsSql`, one row per spine row in no order.
 * @param table a plain name; names that begin with it and an underscore are used and dropped
 * @throws RangeError for a view with other outputs, and for a spine with `knownSeq`
 */
export async function createLatestTable(
  duckdb: DuckDb,
  table: string,
  spine: Omit<SpineRelation, 'rows'>,
  questions: readonly ViewQuestion[],
  carried: readonly string[] = [],
): Promise<void> {
  const inSql = latestColumnsSql(spine, questions, carried);
  const choices = questions.flatMap(({ plan, log }, u) => choicesOf(u, plan, log));
  const picks: Picks[] = [];
  for (const choice of choices) {
    const found = await pick(duckdb, `${table}_key`, spine, questions[choice.u]!, choice);
    if (found === null) {
      await duckdb.run(`CREATE OR REPLACE TEMP TABLE ${table} AS ${inSql}`);
      return;
    }
    picks.push(found);
  }
  const columns = ['q.idx', ...carried.map((name, c) => `q.carried${c} AS ${name}`)];
  let from = `(SELECT ${[`CAST(${spine.row} AS BIGINT) AS idx`, `${spine.asOf} AS as_of`, ...carried.map((name, c) => `${name} AS carried${c}`)].join(', ')} FROM ${spine.sql}) q`;
  try {
    for (const [p, choice] of choices.entries()) {
      const picked = `${table}_pick${p}`;
      await writePicks(duckdb, picked, picks[p]!);
      const facts = factsSql(choice.plan, { ...choice.log, identity: null }, 'none', choice.slots);
      from += `
        LEFT JOIN (SELECT CAST(idx AS BIGINT) AS idx, CASE WHEN ISFINITE(seq) THEN CAST(seq AS BIGINT) END AS seq, NOT ISFINITE(seq) AS deleted FROM ${picked}) ${picked}
          ON q.idx = ${picked}.idx
        LEFT JOIN (${facts}) ${choice.name} ON ${picked}.seq = ${choice.name}.seq`;
    }
    const outputs = questions.flatMap(({ plan }, u) =>
      plan.outputs.map((_, i) => {
        const p = choices.findIndex((choice) => choice.u === u && choice.outputs.includes(i));
        return outputSql(choices[p]!, i, `COALESCE(${table}_pick${p}.deleted, FALSE)`);
      }),
    );
    await duckdb.run(
      `CREATE OR REPLACE TEMP TABLE ${table} AS SELECT ${[...columns, ...outputs].join(', ')} FROM ${from}`,
    );
  } finally {
    for (const p of choices.keys()) await duckdb.run(`DROP TABLE IF EXISTS ${table}_pick${p}`);
  }
}

/** Rows of the spine, and the `ingest_seq` of the row that is the newest to each; −Infinity where it is a tombstone. */
interface Picks {
  readonly count: number;
  readonly rows: Float64Array;
  readonly seqs: Float64Array;
}

/** Null when the rows are too many, or their numbers beyond what a double holds: then SQL has to do it. */
async function pick(
  duckdb: DuckDb,
  keyTable: string,
  spine: Omit<SpineRelation, 'rows'>,
  { plan, key }: ViewQuestion,
  choice: Choice,
): Promise<Picks | null> {
  const parts = plan.keyParts.map((_, i) => keyColumn(i));
  const asked = key.map((sql, i) => `CAST(${sql} AS ${SQL_TYPES[plan.keyParts[i]!.type]}) AS ${parts[i]}`);
  const present = parts.map((part) => `${part} IS NOT NULL`);
  const using = parts.length === 0 ? '' : `JOIN ${keyTable} USING (${parts.join(', ')})`;
  const id = parts.length === 0 ? '0' : 'id';
  if (parts.length > 0) {
    await duckdb.run(`
      CREATE OR REPLACE TEMP TABLE ${keyTable} AS
      SELECT *, ROW_NUMBER() OVER () - 1 AS id FROM (SELECT DISTINCT ${asked.join(', ')} FROM ${spine.sql}) WHERE ${present.join(' AND ')}`);
  }
  try {
    const lasting = rowsStandForEver(choice);
    const log = lasting ? { ...choice.log, identity: null } : choice.log;
    const facts = candidatesSql(choice, factsSql(plan, log, 'none', choice.conditionSlots));
    const columns = [id, 'event_at', 'av', 'seq', ...(log.op === null ? [] : [`CAST(op = ${TOMBSTONE} AS INTEGER)`])];
    if (!lasting) columns.push(`COALESCE(CAST(known_to AS DOUBLE), CAST('Infinity' AS DOUBLE))`);
    const rows = await readColumns(
      duckdb,
      `SELECT ${columns.map(double).join(', ')} FROM (${facts}) f ${using}`,
      MOST_FACTS,
    );
    const own = [`CAST(${spine.row} AS BIGINT) AS idx`, `${spine.asOf} AS as_of`, ...asked];
    const asks =
      rows &&
      (await readColumns(
        duckdb,
        `SELECT ${[id, 'idx', cutSql(plan)].map(double).join(', ')} FROM (SELECT ${own.join(', ')} FROM ${spine.sql}) q ${using} WHERE q.as_of IS NOT NULL`,
        Infinity,
      ));
    if (rows === null || asks === null) return null;
    const [keys, eventAt, availableAt, seq, ...rest] = rows.columns;
    const tombstone = log.op === null ? null : rest[0]!;
    const knownTo = lasting ? null : rest.at(-1)!;
    const picker = new Picker({ eventAt: eventAt!, availableAt: availableAt!, seq: seq!, tombstone, knownTo });
    const [askKeys, askRows, cuts] = asks.columns;
    const facts_ = groupByKey(keys!, rows.count);
    const questions = groupByKey(askKeys!, asks.count);
    const seqs = new Float64Array(asks.count).fill(NaN);
    for (let k = 0; k + 1 < questions.starts.length; k++) {
      picker.answer(facts_.members(k), questions.members(k), cuts!, seqs);
    }
    return { count: asks.count, rows: askRows!, seqs };
  } finally {
    if (parts.length > 0) await duckdb.run(`DROP TABLE ${keyTable}`);
  }
}

function double(sql: string): string {
  return `CAST(${sql} AS DOUBLE)`;
}

/** Null when there are more rows, or a number that is no safe integer. */
async function readColumns(duckdb: DuckDb, sql: string, most: number): Promise<GrowingColumns | null> {
  let read: GrowingColumns | null = null;
  for await (const { rows, columns } of duckdb.doubles(sql)) {
    read ??= new GrowingColumns(columns.length);
    if (read.count + rows > most || !columns.every((column) => areSafe(column, rows))) return null;
    read.add(columns, rows);
  }
  return read ?? new GrowingColumns(0);
}

function areSafe(column: Float64Array, rows: number): boolean {
  for (let i = 0; i < rows; i++) {
    if (Math.abs(column[i]!) > Number.MAX_SAFE_INTEGER && column[i] !== Infinity) return false;
  }
  return true;
}

/** Questions that found nothing are left out. */
async function writePicks(duckdb: DuckDb, table: string, { count, rows, seqs }: Picks): Promise<void> {
  await duckdb.run(`CREATE OR REPLACE TABLE ${table} (idx DOUBLE, seq DOUBLE)`);
  const writer = await duckdb.openDoubles(table, 2);
  const row = [0, 0];
  for (let i = 0; i < count; i++) {
    if (Number.isNaN(seqs[i])) continue;
    [row[0], row[1]] = [rows[i]!, seqs[i]!];
    writer.add(row);
  }
  writer.close();
}
