/**
 * Answers a spine in DuckDB alone, for every rule of `conformance/pit/README.md`. It is made to be right for anything that
 * a view can say and to need no order of its input; `latest-sql.ts` is the fast form for latest values.
 */
import type { DuckDBValue } from '@duckdb/node-api';
import type { FeatureStatus } from '../../kernel/view-state.ts';
import { type Instant, toInstant } from '../../../domain/instant.ts';
import type { HistoryPlan, OutputValue } from '../../history/plan.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import type { DuckDb } from '../duckdb.ts';
import { partsSql, reachOf, takesPartSql } from './aggregate-sql.ts';
import {
  factTableSql,
  floorToSql,
  keyColumn,
  type Knowledge,
  type LogRelation,
  PUT,
  sameKeySql,
  slotColumn,
  standsSql,
  TOMBSTONE,
} from './fact-table.ts';
import { datumOf, finishOutput } from './finish-output.ts';
import { prepareLatest } from './latest-merge.ts';
import { latestColumnsSql } from './latest-sql.ts';
import { findNewest, latestGroups } from './newest-sql.ts';

/** The observation rows: a relation whose columns have any names. */
export interface SpineRelation {
  /** A table's name, or a SELECT in parentheses. */
  readonly sql: string;
  readonly rows: number;
  /** SQL over it of the row's number, 0…rows − 1, each once. */
  readonly row: string;
  /** SQL over it of the instant that is asked about, BIGINT; null: nothing is known. */
  readonly asOf: string;
  /** SQL over it of the highest `ingest_seq` that was known to the row, BIGINT; null: `available_at` alone says it. */
  readonly knownSeq: string | null;
}

export interface ViewQuestion {
  readonly plan: HistoryPlan;
  readonly log: LogRelation;
  /** SQL over the spine of each key part, of the part's type. */
  readonly key: readonly string[];
}

/** One entry per output of the plan, each with one per spine row. */
export interface ViewAnswer {
  readonly values: readonly OutputValue[][];
  /** Before defaults: `default` replaces a null value and leaves the status. */
  readonly statuses: readonly FeatureStatus[][];
  /** µs from `asOf` back to the row of a `latest` value, for aggregates to the newest row in reach; null: there is none. */
  readonly ages: readonly (Instant | null)[][];
}

/**
 * Values, statuses and ages as `readHistory` gives them. A window over all of the past looks at all rows of the key for each
 * question; other windows and latest values look at what is near in time. Sums are exact: a HUGEINT holds those of any
 * number of 64-bit integers that a disk holds. Arithmetic of a view's own expressions fails beyond 64 bits.
 * @throws what DuckDB says of such an overflow
 */
export async function answerSpine(
  duckdb: DuckDb,
  spine: SpineRelation,
  questions: readonly ViewQuestion[],
): Promise<ViewAnswer[]> {
  const answers: ViewAnswer[] = [];
  for (const question of questions) answers.push(await answerView(duckdb, spine, question));
  return answers;
}

async function answerView(duckdb: DuckDb, spine: SpineRelation, { plan, log, key }: ViewQuestion): Promise<ViewAnswer> {
  const knowledge: Knowledge = spine.knownSeq === null ? 'none' : 'perRow';
  const keys = plan.keyParts.map((_, i) => keyColumn(i));
  try {
    await duckdb.run(`CREATE OR REPLACE TEMP TABLE pit_fact AS ${factTableSql(plan, log, knowledge)}`);
    await duckdb.run(`
      CREATE OR REPLACE TEMP TABLE pit_question AS
      SELECT * FROM (
        SELECT CAST(${spine.row} AS BIGINT) AS idx, ${spine.asOf} AS as_of,
          ${spine.asOf}${plan.boundary === 'exclusive' ? ' - 1' : ''} AS cut
          ${spine.knownSeq === null ? '' : `, CAST(${spine.knownSeq} AS BIGINT) AS known`}
          ${key.map((sql, i) => `, CAST(${sql} AS ${SQL_TYPES[plan.keyParts[i]!.type]}) AS ${keys[i]}`).join('')}
        FROM ${spine.sql}
      ) WHERE ${['cut IS NOT NULL', ...keys.map((part) => `${part} IS NOT NULL`)].join(' AND ')}`);
    await findGraves(duckdb, keys, knowledge);
    const answer = emptyAnswer(plan, spine.rows);
    const pass: Pass = { duckdb, plan, log, keys, knowledge };
    await fillLatest(pass, answer);
    await fillAggregates(pass, answer);
    await fillGrouped(pass, answer);
    await fillReached(pass, answer);
    applyDefaults(plan, answer);
    return answer;
  } finally {
    for (const table of ['pit_fact', 'pit_question', 'pit_grave']) await duckdb.run(`DROP TABLE IF EXISTS ${table}`);
  }
}

interface Pass {
  readonly duckdb: DuckDb;
  readonly plan: HistoryPlan;
  readonly log: LogRelation;
  readonly keys: readonly string[];
  readonly knowledge: Knowledge;
}

/** Table `pit_grave`: per question with a tombstone in force the greatest position of one; what lies before it is dead. */
async function findGraves(duckdb: DuckDb, keys: readonly string[], knowledge: Knowledge): Promise<void> {
  await duckdb.run(`
    CREATE OR REPLACE TEMP TABLE pit_grave AS
    SELECT q.idx, MAX(f.pos) AS pos FROM pit_question q JOIN pit_fact f ON ${sameKeySql(keys)}
      AND f.event_at <= q.cut AND f.av <= q.cut ${knowledge === 'perRow' ? 'AND f.seq <= q.known' : ''}
    WHERE f.op = ${TOMBSTONE} GROUP BY q.idx`);
}

function emptyAnswer(plan: HistoryPlan, rows: number): ViewAnswer {
  return {
    values: plan.outputs.map((output) =>
      output.by >= 0
        ? Array.from({ length: rows }, () => [])
        : Array<OutputValue>(rows).fill(finishOutput(plan, output, null)),
    ),
    statuses: plan.outputs.map(() => Array<FeatureStatus>(rows).fill('not_found')),
    ages: plan.outputs.map(() => Array<Instant | null>(rows).fill(null)),
  };
}

/** Aggregates have a status, and an age, of their own when a live row is within the reach of the view's windows. */
async function fillReached(pass: Pass, { values, statuses, ages }: ViewAnswer): Promise<void> {
  const aggregates = pass.plan.outputs.flatMap(({ over }, i) => (over === null ? [] : [i]));
  if (aggregates.length === 0) return;
  const rows = `SELECT q.idx, ANY_VALUE(q.as_of) - MAX(f.event_at) FROM ${pairsSql(pass, aggregates)} GROUP BY q.idx`;
  for await (const [idx, age] of rowsOf(pass.duckdb, rows)) {
    for (const i of aggregates) {
      statuses[i]![Number(idx)] = values[i]![Number(idx)] === null ? 'null' : 'present';
      ages[i]![Number(idx)] = toInstant(age as bigint);
    }
  }
}

async function fillLatest(pass: Pass, { values, statuses, ages }: ViewAnswer): Promise<void> {
  const { duckdb, plan, log, keys, knowledge } = pass;
  const latest = plan.outputs.flatMap(({ fn }, i) => (fn === 'latest' ? [i] : []));
  if (latest.length === 0) return;
  for await (const [idx] of rowsOf(duckdb, 'SELECT idx FROM pit_grave')) {
    for (const i of latest) statuses[i]![Number(idx)] = 'deleted';
  }
  for (const { outputs, condition } of latestGroups(plan)) {
    await findNewest(duckdb, keys, `${standsSql(log, knowledge)} AND ${condition}`);
    const slots = outputs.map((i) => plan.outputs[i]!.slot);
    const expired = plan.ttl === null ? 'FALSE' : `q.as_of - f.event_at > ${BigInt(plan.ttl)}`;
    const rows = `
      SELECT q.idx, ${expired}, q.as_of - f.event_at, ${slots.map((slot) => `f.${slotColumn(slot)}`).join(', ')}
      FROM pit_newest n JOIN pit_fact f ON n.pos = f.pos JOIN pit_question q ON n.idx = q.idx`;
    for await (const [idx, isExpired, age, ...row] of rowsOf(duckdb, rows)) {
      for (const [c, i] of outputs.entries()) {
        const value = isExpired === true ? null : datumOf(row[c]!);
        values[i]![Number(idx)] = value;
        statuses[i]![Number(idx)] = isExpired === true ? 'expired' : value === null ? 'null' : 'present';
        ages[i]![Number(idx)] = toInstant(age as bigint);
      }
    }
    await duckdb.run('DROP TABLE pit_newest');
  }
}

async function fillAggregates(pass: Pass, { values }: ViewAnswer): Promise<void> {
  const { plan } = pass;
  const plain = plan.outputs.flatMap(({ over, by }, i) => (over === null || by >= 0 ? [] : [i]));
  const bounded = plain.filter((i) => plan.outputs[i]!.over!.length !== null);
  const unbounded = plain.filter((i) => plan.outputs[i]!.over!.length === null);
  for (const outputs of [bounded, unbounded]) {
    if (outputs.length === 0) continue;
    const parts = outputs.map((i) => partsSql(plan, plan.outputs[i]!));
    const rows = `
      SELECT q.idx, ${parts.flat().join(', ')} FROM ${pairsSql(pass, outputs)} GROUP BY q.idx`;
    for await (const [idx, ...row] of rowsOf(pass.duckdb, rows)) {
      let from = 0;
      for (const [c, i] of outputs.entries()) {
        const value = finishOutput(plan, plan.outputs[i]!, row.slice(from, (from += parts[c]!.length)));
        values[i]![Number(idx)] = value;
      }
    }
  }
}

/** Outputs with `by`: one pass per grouping; a group is there when a row of the window that passes the filter is. */
async function fillGrouped(pass: Pass, { values }: ViewAnswer): Promise<void> {
  const { plan } = pass;
  for (const by of new Set(plan.outputs.map((output) => output.by))) {
    if (by < 0) continue;
    const outputs = plan.outputs.flatMap((output, i) => (output.by === by ? [i] : []));
    const group = `f.${slotColumn(by)}`;
    const parts = outputs.map((i) => [
      `COUNT(*) FILTER (${takesPartSql(plan.outputs[i]!)})`,
      ...partsSql(plan, plan.outputs[i]!),
    ]);
    const rows = `
      SELECT q.idx, ${group}, ${parts.flat().join(', ')} FROM ${pairsSql(pass, outputs)} AND ${group} IS NOT NULL
      GROUP BY q.idx, ${group} ORDER BY q.idx, ${group}`;
    for await (const [idx, key, ...row] of rowsOf(pass.duckdb, rows)) {
      let from = 0;
      for (const [c, i] of outputs.entries()) {
        const [count, ...own] = row.slice(from, (from += parts[c]!.length));
        if (count === 0n) continue;
        const pairs = values[i]![Number(idx)] as [unknown, unknown][];
        pairs.push([datumOf(key!), finishOutput(plan, plan.outputs[i]!, own)]);
      }
    }
  }
}

/**
 * FROM and WHERE of the pairs of a question and a fact that it may use. When all windows are bounded, facts are found by
 * time as well as by key: a question looks into the two spans, as long as the longest reach, where its windows lie.
 */
function pairsSql({ plan, log, keys, knowledge }: Pass, outputs: readonly number[]): string {
  const reaches = outputs.map((i) => reachOf(plan.outputs[i]!.over!));
  const longest = reaches.reduce((a, b) => (a === null || b === null ? null : a > b ? a : b))!;
  const question =
    longest === null
      ? 'pit_question q'
      : `(SELECT question.*, ${floorToSql('cut', longest)} - span * ${longest} AS span_at FROM pit_question question, (VALUES (0), (1)) spans(span)) q`;
  const near =
    longest === null ? '' : `AND q.span_at = ${floorToSql('f.event_at', longest)} AND f.event_at > q.cut - ${longest}`;
  return `
    ${question} JOIN pit_fact f ON ${sameKeySql(keys)} ${near} AND ${standsSql(log, knowledge)}
    LEFT JOIN pit_grave grave ON q.idx = grave.idx
    WHERE f.op = ${PUT} AND (grave.pos IS NULL OR f.pos > grave.pos)`;
}

function applyDefaults({ outputs }: HistoryPlan, { values }: ViewAnswer): void {
  outputs.forEach((output, i) => {
    if (output.default === null) return;
    const column = values[i]!;
    for (let row = 0; row < column.length; row++) column[row] ??= output.default;
  });
}

async function* rowsOf(duckdb: DuckDb, sql: string): AsyncGenerator<DuckDBValue[], void, void> {
  for await (const { rows, columns } of duckdb.chunks(sql)) {
    for (let i = 0; i < rows; i++) yield columns.map((column) => column[i]!);
  }
}

/** As `answerSpine` for a view of latest values alone, by the plan of `latest-sql.ts` or that of `latest-merge.ts`. */
export async function answerLatest(
  duckdb: DuckDb,
  spine: SpineRelation,
  question: ViewQuestion,
  plan: 'sql' | 'merge',
): Promise<ViewAnswer> {
  const answer = emptyAnswer(question.plan, spine.rows);
  const merged = plan === 'merge' ? await prepareLatest(duckdb, 'pit_latest', spine, [question]) : null;
  for await (const [idx, ...row] of rowsOf(duckdb, merged?.sql ?? latestColumnsSql(spine, [question]))) {
    for (let i = 0; i < answer.values.length; i++) {
      answer.values[i]![Number(idx)] = datumOf(row[2 * i]!);
      answer.statuses[i]![Number(idx)] = row[2 * i + 1] as FeatureStatus;
    }
  }
  await merged?.release();
  return answer;
}
