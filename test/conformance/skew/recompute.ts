/**
 * The offline answers: DuckDB compiles the same views over the Parquet log and answers the log of reads, each with the
 * knowledge that its online read had.
 */
import type { ColumnType } from '../../../domain/project/expression.ts';
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import { compileHistoryView } from '../../../features/history/compile.ts';
import type { DuckDb } from '../../../features/offline/duckdb.ts';
import { answerSpine } from '../../../features/offline/sql/answer-spine.ts';
import { logRelation } from '../../../features/offline/sql/fact-table.ts';
import { createTypedTable } from '../../../features/offline/sql/typed-table.ts';
import type { ReadRecord, ViewAnswer } from './read-log.ts';

const SPINE = 'skew_spine';

/** @param logs SQL of the log, by source  @returns per view, one answer per record */
export async function recompute(
  duckdb: DuckDb,
  project: ProjectSpec,
  logs: ReadonlyMap<string, string>,
  records: readonly ReadRecord[],
): Promise<ViewAnswer[][]> {
  const known = project.views.map((_, view) => ({ name: `known${view}`, type: 'i64' as const }));
  const columns: { readonly name: string; readonly type: ColumnType }[] = [
    { name: 'row', type: 'i64' },
    { name: 'read_at', type: 'ts' },
    { name: 'rider', type: 'str' },
    { name: 'city', type: 'str' },
    { name: 'sku', type: 'i64' },
    { name: 'device', type: 'str' },
    ...known,
  ];
  await createTypedTable(
    duckdb,
    SPINE,
    columns,
    records.map(({ read, readAt, knownSeq }, i) => [
      i,
      readAt,
      read.rider,
      read.city,
      read.sku,
      read.device,
      ...knownSeq,
    ]),
  );
  const answers: ViewAnswer[][] = [];
  for (const [index, view] of project.views.entries()) {
    const source = project.sources.find(({ name }) => name === view.source)!;
    const entity = project.entities.find(({ name }) => name === view.entity)!;
    const spine = { sql: SPINE, rows: records.length, row: 'row', asOf: 'read_at', knownSeq: known[index]!.name };
    const plan = compileHistoryView(view, source, entity);
    const log = logRelation(source, logs.get(source.name)!);
    const [answer] = await answerSpine(duckdb, spine, [{ plan, log, key: entity.keys.map(({ name }) => name) }]);
    const { values, statuses } = answer!;
    answers.push(
      records.map((_, row) => ({
        values: values.map((column) => column[row]!),
        statuses: statuses.map((column) => column[row]!),
      })),
    );
  }
  await duckdb.run(`DROP TABLE ${SPINE}`);
  return answers;
}
