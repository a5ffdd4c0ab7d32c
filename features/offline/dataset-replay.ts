/** View features of a spine, by replaying the log through the kernel: the same code that serves them. */
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { ViewPlan } from '../kernel/view-plan.ts';
import { createState, foldTo, insert, read, resetState, runWindows } from '../kernel/view-state.ts';
import type { FeatureDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, ReplayTask, SpineBounds } from './dataset-job.ts';
import {
  AnswerTable,
  keyColumnNames,
  logKeySql,
  outputsUsed,
  type Questions,
  readQuestions,
} from './dataset-questions.ts';
import { logName, openLog, spineSql, VISIBLE_AT_SQL } from './dataset-log.ts';
import { doubleSql, type DuckDb } from './duckdb.ts';
import { replayHistory } from './history-replay.ts';
import { isAnsweredBySql, writeLatestAnswers } from './latest-answers.ts';

/**
 * Answers what the rows ask of one view, for the keys of one range, into a file of `AnswerTable`'s columns.
 * @param onEvents told how many events have gone by
 */
export async function replayChunk(
  duckdb: DuckDb,
  definitions: FeatureDefinitions,
  job: Pick<DatasetJob, 'logs' | 'knowledgeCut' | 'digest'>,
  task: ReplayTask,
  onEvents: (events: number) => void,
): Promise<null> {
  const { featureSet, sources } = definitions;
  const compiled = featureSet.views[task.view]!;
  const { plan } = compiled;
  const uses = featureSet.uses.filter((use) => use.view === task.view);
  const source = sources.find(({ name }) => name === plan.source)!;
  await openLog(duckdb, source, job);
  const name = `${job.digest} ${plan.id} ${task.range.chunk}/${task.range.chunks}`;
  const picked = outputsUsed(uses);
  const view = definitions.views[task.view]!;
  if (compiled.kind === 'history' && isAnsweredBySql(compiled.plan, view)) {
    await writeLatestAnswers(duckdb, compiled.plan, source, uses, picked, task, name);
    return null;
  }
  const questions = await readQuestions(duckdb, spineSql(task), plan.keyParts, uses, task.range);
  const answers = await AnswerTable.open(duckdb, picked.length);
  if (compiled.kind === 'tiles')
    await replayTiles(duckdb, compiled.plan, task.spine, questions, picked, answers, onEvents);
  else {
    await replayHistory(duckdb, compiled.plan, { view, source }, task.spine, questions, picked, answers, onEvents);
  }
  await answers.write(task.outputPath, name);
  return null;
}

/**
 * Events stream in order of (key, visible time) past the rows' questions in order of (key, asOf), so that one key's state
 * is all there is in memory.
 */
async function replayTiles(
  duckdb: DuckDb,
  plan: ViewPlan,
  spine: SpineBounds,
  questions: Questions,
  picked: readonly number[],
  answers: AnswerTable,
  onEvents: (events: number) => void,
): Promise<void> {
  const measures = new Float64Array(plan.measureCount);
  const values = new Float64Array(plan.outputs.length);
  const state = createState(plan);
  runWindows(plan, state);
  let stateKey = -1;
  let next = 0;
  const turnTo = (key: number): void => {
    resetState(state);
    stateKey = key;
  };
  const answer = (question: number): void => {
    read(plan, state, questions.asOf[question]!, values, 0);
    answers.add(questions, question, values, picked);
  };
  for await (const { rows, columns: events } of duckdb.doubles(eventsSql(plan, spine))) {
    const [keys, visibleAts, eventAts] = [events[0]!, events[1]!, events[2]!];
    for (let i = 0; i < rows; i++) {
      const key = keys[i]!;
      const visibleAt = visibleAts[i]!;
      if (key !== stateKey) {
        for (; next < questions.count && questions.keys[next]! < key; next++) {
          if (questions.keys[next] !== stateKey) turnTo(questions.keys[next]!);
          answer(next);
        }
        turnTo(key);
      }
      while (next < questions.count && questions.keys[next] === key && questions.asOf[next]! < visibleAt)
        answer(next++);
      if (next === questions.count || questions.keys[next] !== key) continue;
      for (let m = 0; m < measures.length; m++) measures[m] = events[3 + m]![i]!;
      foldTo(plan, state, visibleAt);
      insert(plan, state, eventAts[i]!, visibleAt, measures, 0);
    }
    onEvents(rows);
  }
  for (; next < questions.count; next++) {
    if (questions.keys[next] !== stateKey) turnTo(questions.keys[next]!);
    answer(next);
  }
}

/** key id, visible time, event time, measures; only events that some window of some row can reach. */
function eventsSql(plan: ViewPlan, spine: SpineBounds): string {
  const names = keyColumnNames(plan.keyParts);
  const same = logKeySql(
    plan.keyColumns.map((column) => quote(column)),
    plan.keyParts,
  ).map((sql, part) => `${sql} = "key part ${part}"`);
  const parts = names.map((name, part) => `${name} AS "key part ${part}"`);
  return `
    SELECT ${[`"key id"`, 'visible_at', 'event_at', ...plan.measureSql.map((_, m) => `m${m}`)].map(doubleSql).join(', ')} FROM (
      SELECT "key id", ${VISIBLE_AT_SQL} AS visible_at, event_at${plan.measureSql.map((sql, m) => `, ${sql} AS m${m}`).join('')}
      FROM ${logName(plan.source)} JOIN (SELECT id AS "key id", ${parts.join(', ')} FROM key) ON ${same.join(' AND ')}
      WHERE event_at > ${spine.firstAsOf - plan.horizonMicros} AND ${VISIBLE_AT_SQL} <= ${spine.lastAsOf}
    ) ORDER BY "key id", visible_at`;
}
