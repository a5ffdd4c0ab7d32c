/** Views of latest values alone, answered in one walk over each key's rows: what the replay gives, byte for byte, at a part of its cost. */
import { type Expression, operandsOf } from '../../domain/project/expression.ts';
import type { FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import type { ViewUsePlan } from '../kernel/feature-set-plan.ts';
import type { HistoryPlan } from '../history/plan.ts';
import type { ReplayTask } from './dataset-job.ts';
import { logName, requestColumn, spineSql } from './dataset-log.ts';
import { type DuckDb, textSql } from './duckdb.ts';
import { logRelation } from './sql/fact-table.ts';
import { type PreparedLatest, prepareLatest } from './sql/latest-merge.ts';
import { isLatestOnly } from './sql/latest-sql.ts';

/** Whether DuckDB gives the very values of the kernel. */
export function isAnsweredBySql(plan: HistoryPlan, view: FeatureViewSpec): boolean {
  return (
    isLatestOnly(plan) &&
    view.features.every(({ of, where, by }) => [of, where, by ?? null].every((each) => each === null || isExact(each)))
  );
}

/** Operators whose SQL and closure may differ in their bits: arithmetic may overflow in one and not in the other. */
const INEXACT: ReadonlySet<Expression['op']> = new Set(['add', 'sub', 'mul', 'div', 'abs', 'ln1p', 'plusMinutes']);

function isExact(expression: Expression): boolean {
  return !INEXACT.has(expression.op) && operandsOf(expression).every(isExact);
}

/** Writes the answers to all rows, in the columns of `AnswerTable`. The log has been opened. */
export async function writeLatestAnswers(
  duckdb: DuckDb,
  plan: HistoryPlan,
  source: SourceSpec,
  uses: readonly ViewUsePlan[],
  picked: readonly number[],
  task: ReplayTask,
  name: string,
): Promise<void> {
  const log = logRelation(source, logName(source.name));
  const spine = { sql: spineSql(task), row: 'idx', asOf: 'as_of', knownSeq: null };
  const latest: PreparedLatest[] = [];
  try {
    for (const [use, { key }] of uses.entries()) {
      const question = { plan, log, key: key.map(requestColumn) };
      latest.push(await prepareLatest(duckdb, `latest_of_use_${use}`, spine, [question]));
    }
    const answers = latest.map(({ sql }, use) => {
      const values = picked.map((output, i) => `${vectorSql(`v0_${output}`)} AS o${i}`);
      return `SELECT idx, CAST(${use} AS BIGINT) AS use, ${values.join(', ')} FROM (${sql})`;
    });
    await duckdb.run(`
      COPY (${answers.join(' UNION ALL ')}) TO ${textSql(task.outputPath)}
      (FORMAT parquet, COMPRESSION snappy, KV_METADATA {chunk: ${textSql(name)}})`);
  } finally {
    for (const each of latest) await each.release();
  }
}

/** `vectorNumber` in SQL. */
function vectorSql(value: string): string {
  const number = `CAST(${value} AS DOUBLE)`;
  return `CASE WHEN ISFINITE(${number}) THEN ${number} ELSE CAST('NaN' AS DOUBLE) END`;
}
