/** Labels over a window: what became of the rows, in the events of another time and perhaps another source. */
import type { KeyPart, LabelSpec, LabelWindowSpec, SourceSpec } from '../../domain/project/spec.ts';
import { columnsOf } from '../../domain/project/expression.ts';
import type { Fact } from '../history/fact.ts';
import { compileLabel, knownEvents, type LabelPlan, readLabel } from '../history/labels.ts';
import { vectorNumber } from '../history/vector-number.ts';
import type { DatasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, LabelTask } from './dataset-job.ts';
import { AnswerTable, type Questions, readQuestions } from './dataset-questions.ts';
import { openLog, spineSql } from './dataset-log.ts';
import type { DuckDb } from './duckdb.ts';
import { eachHistory } from './history-replay.ts';

const STATUSES = ['VALUE', 'IMMATURE', 'CENSORED', 'POSITIVE', 'NEGATIVE'] as const;

/**
 * The labels of the rows whose key is in one range, into a file of idx, label (DOUBLE, null where there is none) and
 * label_status. Rows without a key have no events, and so a label all the same.
 * @param onEvents told how many events have gone by
 */
export async function labelChunk(
  duckdb: DuckDb,
  definitions: DatasetDefinitions,
  job: DatasetJob,
  task: LabelTask,
  onEvents: (events: number) => void,
): Promise<null> {
  const { label, plan, source, censorSource } = labelDefinitions(definitions);
  const builtAt = job.knowledgeCut.at;
  await openLog(duckdb, source, job);
  if (censorSource !== null && censorSource.name !== source.name) await openLog(duckdb, censorSource, job);
  const on = [{ key: label.window.on }];
  const questions = await readQuestions(duckdb, spineSql(task), plan.events.keyParts, on, task.range, 'asked');
  await duckdb.run('ALTER TABLE key RENAME TO label_key');
  const censors = await firstCensors(duckdb, plan, definitions, task, questions, builtAt, onEvents);
  await duckdb.run('DROP TABLE IF EXISTS key');
  await duckdb.run('ALTER TABLE label_key RENAME TO key');

  const answers = await AnswerTable.open(duckdb, 2);
  const cells = new Float64Array(2);
  const answerAll = (events: readonly Fact[], from: number, to: number): void => {
    for (let question = from; question < to; question++) {
      const censor = censors[question];
      const { value, status } = readLabel(
        plan,
        events,
        censor === undefined ? [] : [censor],
        questions.asOf[question]!,
        builtAt,
      );
      cells[0] = vectorNumber(value);
      cells[1] = STATUSES.indexOf(status);
      answers.add(questions, question, cells, [0, 1]);
    }
  };
  const withoutKey = questions.keys.findIndex((key) => key >= 0);
  const nulls = withoutKey < 0 ? questions.count : withoutKey;
  answerAll([], 0, nulls);
  await eachHistory(
    duckdb,
    plan.events,
    columnsUsed(source, label.of, label.window.where),
    { knownUntil: builtAt, visibleUntil: null, eventAfter: task.spine.firstAsOf - 1 },
    questions.keys.subarray(nulls),
    (history, from, to) => answerAll(knownEvents(plan.events, history, builtAt), nulls + from, nulls + to),
    onEvents,
  );
  const statuses = STATUSES.map((status) => `'${status}'`).join(', ');
  await answers.write(
    task.outputPath,
    `${job.digest} ${label.name} ${task.range.chunk}/${task.range.chunks}`,
    `CAST(idx AS BIGINT) AS idx, CASE WHEN ISNAN(o0) THEN NULL ELSE o0 END AS label, [${statuses}][CAST(o1 AS BIGINT) + 1] AS label_status`,
  );
  return null;
}

export interface LabelDefinitions {
  readonly label: LabelSpec & { readonly window: LabelWindowSpec };
  readonly plan: LabelPlan;
  readonly source: SourceSpec;
  readonly censorSource: SourceSpec | null;
}

export function labelDefinitions({ label, sources }: DatasetDefinitions): LabelDefinitions {
  const { window } = label;
  if (window === undefined) throw new RangeError(`the label "${label.name}" has no window`);
  const sourceOf = (name: string): SourceSpec => sources.find((source) => source.name === name)!;
  const source = sourceOf(label.source);
  const censorSource = window.censor === null ? null : sourceOf(window.censor.source);
  const windowed = { ...label, window };
  const plan = compileLabel(
    windowed,
    { source, keyParts: keyPartsOf(source, window.key) },
    censorSource === null ? null : { source: censorSource, keyParts: keyPartsOf(censorSource, window.censor!.key) },
  );
  return { label: windowed, plan, source, censorSource };
}

function keyPartsOf(source: SourceSpec, key: readonly string[]): KeyPart[] {
  return key.map((name) => ({
    name,
    type: source.columns.find((column) => column.name === name)!.type as KeyPart['type'],
  }));
}

function columnsUsed(source: SourceSpec, ...expressions: readonly (LabelSpec['of'] | null)[]) {
  const names = new Set<string>();
  for (const each of expressions) if (each !== null) columnsOf(each, names);
  return source.columns.filter(({ name }) => names.has(name));
}

/** By question, the first event after its instant that ends what is observed; absent: none is known. */
async function firstCensors(
  duckdb: DuckDb,
  plan: LabelPlan,
  definitions: DatasetDefinitions,
  task: LabelTask,
  questions: Questions,
  builtAt: number,
  onEvents: (events: number) => void,
): Promise<(Fact | undefined)[]> {
  const { label, censorSource } = labelDefinitions(definitions);
  const first: (Fact | undefined)[] = [];
  if (plan.censors === null || censorSource === null) return first;
  const { censors } = plan;
  const { on, where } = label.window.censor!;
  // the rows of this range, with their number among its questions in place of the one in the spine
  await duckdb.run('CREATE TABLE row_here (number DOUBLE, row DOUBLE)');
  const writer = await duckdb.openDoubles('row_here', 2);
  for (let question = 0; question < questions.count; question++) writer.add([question, questions.rows[question]!]);
  writer.close();
  const here = `(SELECT * REPLACE (CAST(number AS BIGINT) AS idx) FROM ${spineSql(task)} JOIN row_here ON idx = CAST(row AS BIGINT))`;
  const asked = await readQuestions(duckdb, here, censors.keyParts, [{ key: on }], { chunk: 0, chunks: 1 });
  await eachHistory(
    duckdb,
    censors,
    columnsUsed(censorSource, where),
    { knownUntil: builtAt, visibleUntil: null, eventAfter: task.spine.firstAsOf - 1 },
    asked.keys,
    (history, from, to) => {
      const events = knownEvents(censors, history, builtAt);
      let at = 0;
      // both are in order of time
      for (let question = from; question < to; question++) {
        while (at < events.length && events[at]!.eventAt <= asked.asOf[question]!) at++;
        first[asked.rows[question]!] = events[at];
      }
    },
    onEvents,
  );
  return first;
}
