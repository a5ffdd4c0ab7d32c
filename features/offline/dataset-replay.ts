/** View features of a spine, by replaying the log through the kernel: the same code that serves them. */
import { strict as assert } from 'node:assert';
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { FeatureSetPlan, ViewUsePlan } from '../kernel/feature-set-plan.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { createState, foldTo, insert, read, readMissing, resetState } from '../kernel/view-state.ts';
import { logName, requestColumn, type SpineTable, SQL_TYPES, VISIBLE_AT_SQL } from './dataset-spine.ts';
import { doubleSql, type DuckDb } from './duckdb.ts';

/**
 * Fills the columns of all features that come from `featureSet.views[view]`. Events stream in order of (key, visible time)
 * past the rows' questions in order of (key, asOf), so that one key's state is all there is in memory.
 * @param columns   one per feature of the set, `spine.rows` long
 * @param onEvents  told how many events have gone by
 */
export async function replayView(
  duckdb: DuckDb,
  featureSet: FeatureSetPlan,
  view: number,
  spine: SpineTable,
  columns: readonly Float64Array[],
  onEvents: (events: number) => void,
): Promise<void> {
  const plan = featureSet.views[view]!;
  const uses = featureSet.uses.filter((use) => use.view === view);
  fillMissing(plan, uses, columns);
  await makeKeys(duckdb, plan, uses);
  const questions = await readQuestions(duckdb, plan, uses, spine.rows * uses.length);
  const answer = answerer(plan, uses, questions, columns);

  const measures = new Float64Array(plan.measureCount);
  const state = createState(plan);
  let stateKey = -1;
  let next = 0;
  const turnTo = (key: number): void => {
    resetState(state);
    stateKey = key;
  };
  for await (const { rows, columns: events } of duckdb.doubles(eventsSql(plan, spine))) {
    const [keys, visibleAts, eventAts] = [events[0]!, events[1]!, events[2]!];
    for (let i = 0; i < rows; i++) {
      const key = keys[i]!;
      const visibleAt = visibleAts[i]!;
      if (key !== stateKey) {
        for (; next < questions.count && questions.keys[next]! < key; next++) {
          if (questions.keys[next] !== stateKey) turnTo(questions.keys[next]!);
          answer(state, next);
        }
        turnTo(key);
      }
      while (next < questions.count && questions.keys[next] === key && questions.asOf[next]! < visibleAt)
        answer(state, next++);
      if (next === questions.count || questions.keys[next] !== key) continue;
      for (let m = 0; m < measures.length; m++) measures[m] = events[3 + m]![i]!;
      foldTo(plan, state, visibleAt);
      insert(plan, state, eventAts[i]!, visibleAt, measures, 0);
    }
    onEvents(rows);
  }
  for (; next < questions.count; next++) {
    if (questions.keys[next] !== stateKey) turnTo(questions.keys[next]!);
    answer(state, next);
  }
  await duckdb.run('DROP TABLE key');
}

/** Rows with a null key ask nothing; they keep what is read for a missing key. */
function fillMissing(plan: ViewPlan, uses: readonly ViewUsePlan[], columns: readonly Float64Array[]): void {
  const missing = new Float64Array(plan.outputs.length);
  readMissing(plan, missing, 0);
  for (const { outputs, features } of uses) {
    for (let i = 0; i < features.length; i++) columns[features[i]!]!.fill(missing[outputs[i]!]!);
  }
}

/** Table `key`: id (0…k−1) of each key that some row asks for, in the keys' order. */
async function makeKeys(duckdb: DuckDb, plan: ViewPlan, uses: readonly ViewUsePlan[]): Promise<void> {
  const parts = plan.keyParts.map((_, part) => `k${part}`);
  const asked = uses.map(
    (use) =>
      `SELECT ${keyOf(plan, use)
        .map((key, part) => `${key} AS k${part}`)
        .join(', ')} FROM spine`,
  );
  await duckdb.run(`
    CREATE TABLE key AS
    SELECT ROW_NUMBER() OVER (ORDER BY ${parts.join(', ')}) - 1 AS id, * FROM (SELECT DISTINCT * FROM (${asked.join(' UNION ALL ')}))
    WHERE ${parts.map((part) => `${part} IS NOT NULL`).join(' AND ')}`);
}

/** The key a row asks for, part by part. */
function keyOf(plan: ViewPlan, use: ViewUsePlan, table = ''): string[] {
  return use.key.map(
    (field, part) => `CAST(${table}${requestColumn(field)} AS ${SQL_TYPES[plan.keyParts[part]!.type]})`,
  );
}

interface Questions {
  readonly count: number;
  readonly keys: Float64Array;
  readonly asOf: Float64Array;
  /** Row of the spine, and position in `uses`. */
  readonly rows: Float64Array;
  readonly uses: Float64Array;
}

async function readQuestions(
  duckdb: DuckDb,
  plan: ViewPlan,
  uses: readonly ViewUsePlan[],
  atMost: number,
): Promise<Questions> {
  const asked = uses.map((use, number) => {
    const same = keyOf(plan, use, 'spine.').map((key, part) => `${key} = k${part}`);
    return `SELECT id, as_of, idx, ${number} AS use FROM spine JOIN key ON ${same.join(' AND ')}`;
  });
  const [total] = await duckdb.rows(`SELECT COUNT(*) AS rows FROM (${asked.join(' UNION ALL ')})`);
  const count = total!['rows'] as number;
  assert(count <= atMost, `${plan.id}: ${count} questions, but ${atMost} rows and uses to ask`);
  const all = [
    new Float64Array(count),
    new Float64Array(count),
    new Float64Array(count),
    new Float64Array(count),
  ] as const;
  let from = 0;
  for await (const { rows, columns } of duckdb.doubles(
    `SELECT ${['id', 'as_of', 'idx', 'use'].map(doubleSql).join(', ')} FROM (${asked.join(' UNION ALL ')}) ORDER BY id, as_of`,
  )) {
    all.forEach((column, c) => column.set(columns[c]!.subarray(0, rows), from));
    from += rows;
  }
  return { count, keys: all[0], asOf: all[1], rows: all[2], uses: all[3] };
}

function answerer(
  plan: ViewPlan,
  uses: readonly ViewUsePlan[],
  questions: Questions,
  columns: readonly Float64Array[],
): (state: Parameters<typeof read>[1], question: number) => void {
  const values = new Float64Array(plan.outputs.length);
  return (state, question) => {
    read(plan, state, questions.asOf[question]!, values, 0);
    const { outputs, features } = uses[questions.uses[question]!]!;
    const row = questions.rows[question]!;
    for (let i = 0; i < features.length; i++) columns[features[i]!]![row] = values[outputs[i]!]!;
  };
}

/** key id, visible time, event time, measures; only events that some window of some row can reach. */
function eventsSql(plan: ViewPlan, spine: SpineTable): string {
  const same = plan.keyColumns.map(
    (column, part) => `CAST(${quote(column)} AS ${SQL_TYPES[plan.keyParts[part]!.type]}) = "key part ${part}"`,
  );
  const parts = plan.keyParts.map((_, part) => `k${part} AS "key part ${part}"`);
  return `
    SELECT ${[`"key id"`, 'visible_at', 'event_at', ...plan.measureSql.map((_, m) => `m${m}`)].map(doubleSql).join(', ')} FROM (
      SELECT "key id", ${VISIBLE_AT_SQL} AS visible_at, event_at${plan.measureSql.map((sql, m) => `, ${sql} AS m${m}`).join('')}
      FROM ${logName(plan.source)} JOIN (SELECT id AS "key id", ${parts.join(', ')} FROM key) ON ${same.join(' AND ')}
      WHERE event_at > ${spine.asOf[0]! - plan.horizonMicros} AND ${VISIBLE_AT_SQL} <= ${spine.asOf[spine.rows - 1]!}
    ) ORDER BY "key id", visible_at`;
}
