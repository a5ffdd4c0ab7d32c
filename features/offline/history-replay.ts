/** What rows ask of a view that the history kernel keeps: the facts of one key after the other, as they became known. */
import { type ColumnType, quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { columnsOfView } from '../../domain/project/view-columns.ts';
import type { Datum, Fact, FactKind } from '../history/fact.ts';
import {
  addFact,
  createHistory,
  factOf,
  foldHistory,
  type KeyHistory,
  readHistory,
  resetHistory,
} from '../history/history.ts';
import { type Instant, minus, toInstant } from '../../domain/instant.ts';
import type { HistoryPlan } from '../history/plan.ts';
import { vectorNumber } from '../history/vector-number.ts';
import { OPERATIONS } from '../../domain/features/log-file.ts';
import type { SpineBounds } from './dataset-job.ts';
import { type AnswerTable, keyColumnNames, logKeySql, type Questions } from './dataset-questions.ts';
import { logName, VISIBLE_AT_SQL } from './dataset-log.ts';
import type { DuckDb } from './duckdb.ts';

/**
 * One key's history is all there is in memory. Facts enter in the order in which they became known, up to each question's
 * instant; the history is folded as it goes, so that it holds what the online store would.
 */
export async function replayHistory(
  duckdb: DuckDb,
  plan: HistoryPlan,
  definition: { readonly view: FeatureViewSpec; readonly source: SourceSpec },
  spine: SpineBounds,
  questions: Questions,
  picked: readonly number[],
  answers: AnswerTable,
  onEvents: (events: number) => void,
): Promise<void> {
  const values = new Float64Array(plan.outputs.length);
  const history = createHistory(plan);
  const answer = (question: number): void => {
    const asOf = questions.asOf[question]!;
    foldHistory(plan, history, asOf);
    const read = readHistory(plan, history, asOf);
    for (const output of picked) values[output] = vectorNumber(read.values[output]!);
    answers.add(questions, question, values, picked);
  };
  let next = 0;
  let historyKey = -1;
  const turnTo = (key: number): void => {
    resetHistory(history);
    historyKey = key;
  };
  const columns = columnsRead(definition.view, definition.source);
  // an exclusive cut lies a microsecond before the instant
  const eventAfter = plan.horizon === null ? null : minus(minus(spine.firstAsOf, 1), plan.horizon);
  const reach = { knownUntil: spine.lastAsOf, visibleUntil: spine.lastAsOf, eventAfter };
  for await (const facts of streamFacts(duckdb, plan, columns, reach)) {
    for (const { key, fact } of facts) {
      if (key !== historyKey) {
        for (; next < questions.count && questions.keys[next]! < key; next++) {
          if (questions.keys[next] !== historyKey) turnTo(questions.keys[next]!);
          answer(next);
        }
        turnTo(key);
      }
      while (next < questions.count && questions.keys[next] === key && questions.asOf[next]! < fact.availableAt)
        answer(next++);
      if (next === questions.count || questions.keys[next] !== key) continue;
      addFact(plan, history, fact);
    }
    onEvents(facts.length);
  }
  for (; next < questions.count; next++) {
    if (questions.keys[next] !== historyKey) turnTo(questions.keys[next]!);
    answer(next);
  }
}

/**
 * Whole histories, unfolded, of the keys that are asked about, one after the other.
 * @param onKey the key's questions are `[from, to)`; the history is null for a key without facts, and used again for the next
 */
export async function eachHistory(
  duckdb: DuckDb,
  plan: HistoryPlan,
  columns: readonly ColumnRead[],
  reach: FactReach,
  keys: Float64Array,
  onKey: (history: KeyHistory | null, from: number, to: number) => void,
  onEvents: (events: number) => void,
): Promise<void> {
  const history = createHistory(plan);
  let historyKey = -1;
  let next = 0;
  /** Ends all keys before `key`. */
  const endBefore = (key: number): void => {
    while (next < keys.length && keys[next]! < key) {
      const current = keys[next]!;
      let to = next + 1;
      while (to < keys.length && keys[to] === current) to++;
      onKey(current === historyKey ? history : null, next, to);
      next = to;
    }
  };
  for await (const facts of streamFacts(duckdb, plan, columns, reach)) {
    for (const { key, fact } of facts) {
      if (key !== historyKey) {
        endBefore(key);
        resetHistory(history);
        historyKey = key;
      }
      addFact(plan, history, fact);
    }
    onEvents(facts.length);
  }
  endBefore(Infinity);
}

/** What is read of one output for a key that has never been seen, and for a null key. */
export function missingValue(plan: HistoryPlan, output: number): number {
  return vectorNumber(readHistory(plan, null, 0).values[output]!);
}

interface ColumnRead {
  readonly name: string;
  readonly type: ColumnType;
}

/** Columns of the source that the view's expressions read. */
export function columnsRead(view: Pick<FeatureViewSpec, 'features'>, source: SourceSpec): ColumnRead[] {
  const names = columnsOfView(view);
  return source.columns.filter(({ name }) => names.has(name)).map(({ name, type }) => ({ name, type }));
}

/** Which facts can matter; what is beyond is left in the log where the plan allows that. */
export interface FactReach {
  readonly knownUntil: Instant;
  /** Null: also events of later, when what is asked about lies there. */
  readonly visibleUntil: Instant | null;
  readonly eventAfter: Instant | null;
}

/** A key's id with a fact of it, by key, then as they became known. */
export async function* streamFacts(
  duckdb: DuckDb,
  plan: HistoryPlan,
  columns: readonly ColumnRead[],
  reach: FactReach,
): AsyncGenerator<readonly { readonly key: number; readonly fact: Fact }[], void, void> {
  const row: Record<string, Datum> = {};
  for await (const { rows, columns: cells } of duckdb.chunks(factsSql(plan, columns, reach))) {
    const facts: { key: number; fact: Fact }[] = [];
    for (let i = 0; i < rows; i++) {
      const kind: FactKind = OPERATIONS[cells[1]![i] as number]!;
      for (let c = 0; c < columns.length; c++) row[columns[c]!.name] = datumOf(cells[6 + c]![i] as Datum);
      const at = {
        kind,
        eventAt: cells[2]![i] as number,
        availableAt: cells[3]![i] as number,
        seq: cells[4]![i] as number,
        identity: cells[5]![i] as string | null,
      };
      facts.push({ key: cells[0]![i] as number, fact: factOf(plan, row, at) });
    }
    yield facts;
  }
}

/** BIGINT comes as a bigint; a number where that is exact is the one form of data. */
function datumOf(value: Datum): Datum {
  return typeof value === 'bigint' ? toInstant(value) : value;
}

/**
 * key id, op, event_at, available_at, ingest_seq, identity, then the columns, of the facts that some row can reach, for the
 * keys in table `key`. A row of which versions have several keys is retracted at each of them by the versions elsewhere, as
 * `row-index.ts` does it online.
 */
function factsSql(
  plan: HistoryPlan,
  columns: readonly ColumnRead[],
  { knownUntil, visibleUntil, eventAfter }: FactReach,
): string {
  const names = keyColumnNames(plan.keyParts);
  const same = logKeySql(
    plan.keyColumns.map((column) => quote(column)),
    plan.keyParts,
  ).map((sql, part) => `${sql} = "key part ${part}"`);
  const key = `(SELECT id AS "key id", ${names.map((name, part) => `${name} AS "key part ${part}"`).join(', ')} FROM key)`;
  const log = logName(plan.source);
  // the columns have names that none of the log's can be in the way of
  const values = columns.map(({ name }, c) => `${quote(name)} AS v${c}`);
  const read = ['op', 'event_at', 'available_at', 'ingest_seq', 'event_id', ...values].join(', ');
  const known = `available_at <= ${knownUntil}`;
  // doubles hold every instant that a log takes in (1684…2255), and come out at a part of the cost of bigints
  const selected = [
    'CAST("key id" AS DOUBLE)',
    'CAST(op AS UTINYINT)',
    ...['event_at', 'available_at', 'ingest_seq'].map((name) => `CAST(${name} AS DOUBLE)`),
    plan.identity === 'row_id' ? 'CAST(event_id AS VARCHAR)' : 'NULL',
    ...columns.map((_, c) => `v${c}`),
  ];
  const order = 'ORDER BY "key id", available_at, ingest_seq';
  if (plan.identity !== 'row_id') {
    const inReach = [
      ...(eventAfter === null ? [] : [`event_at > ${eventAfter}`]),
      ...(visibleUntil === null ? [] : [`${VISIBLE_AT_SQL} <= ${visibleUntil}`]),
    ];
    return `
      SELECT ${selected.join(', ')} FROM (
        SELECT "key id", ${read} FROM ${log} JOIN ${key} ON ${same.join(' AND ')}
        WHERE ${[known, ...inReach].join(' AND ')}
      ) ${order}`;
  }
  return `
    WITH keyed AS (SELECT "key id", ${read} FROM ${log} LEFT JOIN ${key} ON ${same.join(' AND ')} WHERE ${known}),
    place AS (SELECT DISTINCT event_id AS "place id", "key id" AS "place" FROM keyed WHERE "key id" IS NOT NULL AND op <> 2)
    SELECT ${selected.join(', ')} FROM (
      SELECT "place" AS "key id", * EXCLUDE ("key id", "place", "place id")
        REPLACE (CASE WHEN op = 0 AND "key id" IS DISTINCT FROM "place" THEN 1 ELSE op END AS op)
      FROM keyed JOIN place ON event_id = "place id" WHERE op <> 2
      UNION ALL BY NAME SELECT * FROM keyed WHERE op = 2 AND "key id" IS NOT NULL
    ) ${order}`;
}
