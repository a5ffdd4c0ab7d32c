/** The spine, its answers and its labels put together: the dataset's file and what is said about it. */
import {
  DATASET_COLUMNS,
  type DatasetManifest,
  type Split,
  type SplitCounts,
  SPLITS,
} from '../../domain/features/dataset-manifest.ts';
import { quoteIdentifier as quote, type Value } from '../../domain/project/expression.ts';
import type { ColumnStatistics } from '../../domain/features/dataset-manifest.ts';
import type { LeakageFinding } from '../../domain/features/leakage.ts';
import type { ViewUsePlan } from '../kernel/feature-set-plan.ts';
import { readMissing } from '../kernel/view-state.ts';
import type { DatasetDefinitions, FeatureDefinitions } from './dataset-definitions.ts';
import type { AssemblyTask, DatasetJob, DatasetResult, SpineAnswers, SpineSummary } from './dataset-job.ts';
import { outputsUsed } from './dataset-questions.ts';
import { openLog, requestColumn, spineSql } from './dataset-log.ts';
import { columnStatistics } from './dataset-statistics.ts';
import { CHUNK_ROWS, doubleSql, type DuckDb, fileListSql, textSql } from './duckdb.ts';
import { missingValue } from './history-replay.ts';
import {
  findAssumedAvailability,
  findLateFeatures,
  findOwnEvents,
  findSeparation,
  sampleForSeparation,
} from './leakage.ts';
import { countAssumedAvailability, countOwnEvents, measureDelays } from './leakage-counts.ts';

/** Numbers of feature columns that are looked at together. */
const STATISTICS_CELLS = 8_000_000;

export async function assembleDataset(
  duckdb: DuckDb,
  definitions: DatasetDefinitions,
  job: DatasetJob,
  task: AssemblyTask,
  onRows: (rows: number) => void,
): Promise<DatasetResult> {
  const { featureSet, sources } = definitions;
  const { spine, spinePath } = task;
  await deriveFeatures(duckdb, definitions, task, onRows);
  await writeParquet(duckdb, definitions, task);
  for (const source of sources) await openLog(duckdb, source, job);
  const rowsOf = (source: string): number => job.logs[source]!.rows;
  const columns = await readColumns(duckdb, featureSet.featureNames, task.outputPath, onRows);
  return {
    rows: spine.rows,
    splits: await countSplits(duckdb, spine, task.outputPath),
    firstAsOf: spine.firstAsOf,
    lastAsOf: spine.lastAsOf,
    statistics: columns.statistics,
    leakage: [
      ...findOwnEvents(await countOwnEvents(duckdb, definitions, spinePath)),
      ...findAssumedAvailability(await countAssumedAvailability(duckdb, definitions)),
      ...findLateFeatures(await measureDelays(duckdb, definitions, spinePath, rowsOf)),
      ...columns.separation,
    ],
  };
}

/**
 * A SELECT of the spine's columns and `f<i>` for feature i (NaN: null), of the view features that are wanted: each use of a
 * view is a join.
 */
export function answeredSql(
  { featureSet }: FeatureDefinitions,
  { spinePath, answers }: SpineAnswers,
  isWanted: (feature: number) => boolean,
): string {
  const features: string[] = [];
  const joins: string[] = [];
  for (const [number, use] of featureSet.uses.entries()) {
    if (!use.features.some(isWanted)) continue;
    const view = featureSet.views[use.view]!;
    const sameView = (each: ViewUsePlan): boolean => each.view === use.view;
    const columns = outputsUsed(featureSet.uses.filter(sameView));
    const asker = featureSet.uses.slice(0, number).filter(sameView).length;
    joins.push(
      `LEFT JOIN (SELECT * FROM read_parquet(${fileListSql(answers[use.view]!)}) WHERE use = ${asker}) u${number} ON u${number}.idx = spine.idx`,
    );
    // rows with a null key ask nothing
    const missing = new Float64Array(view.plan.outputs.length);
    if (view.kind === 'tiles') readMissing(view.plan, missing, 0);
    else for (const output of use.outputs) missing[output] = missingValue(view.plan, output);
    for (const [i, feature] of use.features.entries()) {
      if (!isWanted(feature)) continue;
      const output = use.outputs[i]!;
      const value = `u${number}.o${columns.indexOf(output)}`;
      features.push(
        `CASE WHEN u${number}.idx IS NULL THEN ${numberSql(missing[output]!)} ELSE ${value} END AS f${feature}`,
      );
    }
  }
  return `SELECT ${['spine.*', ...features].join(', ')} FROM ${spineSql({ spinePath })} spine ${joins.join(' ')}`;
}

function numberSql(value: number): string {
  return `CAST('${Number.isNaN(value) ? 'NaN' : value}' AS DOUBLE)`;
}

/** Table `derived`: idx and `f<i>` of each derived feature. */
export async function deriveFeatures(
  duckdb: DuckDb,
  definitions: FeatureDefinitions,
  task: SpineAnswers,
  onRows: (rows: number) => void,
): Promise<void> {
  const { featureSet, derived, derivedReads } = definitions;
  if (derived.length === 0) return;
  await duckdb.run(`CREATE TABLE derived (idx DOUBLE${derived.map((i) => `, f${i} DOUBLE`).join('')})`);
  const writer = await duckdb.openDoubles('derived', 1 + derived.length);
  const inputs = featureSet.derivedInputs;
  const vector = new Float64Array(featureSet.featureNames.length).fill(NaN);
  const row = new Float64Array(1 + derived.length);
  const request: Record<string, Value> = {};
  const read = ['idx', 'as_of', ...derivedReads.map((i) => `f${i}`), ...inputs.map(requestColumn)];
  const from = answeredSql(definitions, task, (feature) => derivedReads.includes(feature));
  for await (const { rows, columns } of duckdb.values(`SELECT ${read.join(', ')} FROM (${from})`)) {
    const numbers = columns as readonly number[][];
    for (let i = 0; i < rows; i++) {
      for (let c = 0; c < derivedReads.length; c++) vector[derivedReads[c]!] = numbers[2 + c]![i]!;
      for (let c = 0; c < inputs.length; c++) request[inputs[c]!] = columns[2 + derivedReads.length + c]![i]!;
      featureSet.derive(request, numbers[1]![i]!, vector, 0);
      row[0] = numbers[0]![i]!;
      for (let c = 0; c < derived.length; c++) row[1 + c] = vector[derived[c]!]!;
      writer.add(row);
    }
    onRows(rows);
  }
  writer.close();
}

async function writeParquet(duckdb: DuckDb, definitions: DatasetDefinitions, task: AssemblyTask): Promise<void> {
  const { featureSet, derived, label: labelSpec } = definitions;
  const { rowId, asOf, label, labelStatus, split } = DATASET_COLUMNS;
  const windowed = labelSpec.window !== undefined;
  const selected = [
    rowId,
    asOf,
    ...featureSet.request.map((field) => `${requestColumn(field.name)} AS ${quote(field.name)}`),
    ...featureSet.featureNames.map((name, c) => `CASE WHEN ISNAN(f${c}) THEN NULL ELSE f${c} END AS ${quote(name)}`),
    windowed ? `outcome.label AS ${label}` : label,
    windowed ? `outcome.label_status AS ${labelStatus}` : labelStatus,
    split,
  ];
  const joins = [
    ...(derived.length === 0 ? [] : ['JOIN derived ON answered.idx = CAST(derived.idx AS BIGINT)']),
    ...(windowed ? [`JOIN read_parquet(${fileListSql(task.labels)}) outcome ON outcome.idx = answered.idx`] : []),
  ];
  // one thread and one order, so that the same rows are the same bytes
  await duckdb.run('SET threads = 1');
  await duckdb.run('SET preserve_insertion_order = true');
  await duckdb.run(`
    COPY (
      SELECT ${selected.join(', ')} FROM (${answeredSql(definitions, task, () => true)}) answered ${joins.join(' ')}
      ORDER BY answered.idx
    ) TO ${textSql(task.outputPath)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowGroupOf(selected.length)})`);
}

/** Rows that are written at once: a row group lies in memory, so that of a very wide file has fewer. */
function rowGroupOf(columns: number): number {
  const most = 122_880;
  return Math.max(CHUNK_ROWS, Math.min(most, CHUNK_ROWS * Math.floor((200 * most) / (columns * CHUNK_ROWS))));
}

async function countSplits(
  duckdb: DuckDb,
  { candidates }: SpineSummary,
  path: string,
): Promise<DatasetManifest['splits']> {
  const counts = new Map<Split, SplitCounts>();
  for (const split of SPLITS) {
    if (candidates[split] === 0 && (split === 'EMBARGOED' || split === 'GROUP_PURGED')) continue;
    counts.set(split, { candidates: candidates[split], rows: 0, labelled: 0, immature: 0, positives: 0 });
  }
  for (const row of await duckdb.rows(`
    SELECT split, COUNT(*) AS rows, COUNT(*) FILTER (label_status IN ('VALUE', 'POSITIVE', 'NEGATIVE') AND label IS NOT NULL) AS labelled,
      COUNT(*) FILTER (label_status = 'IMMATURE') AS immature, COUNT(*) FILTER (label = 1) AS positives,
      COUNT(*) FILTER (label_status = 'CENSORED') AS censored
    FROM read_parquet(${textSql(path)}) GROUP BY split`)) {
    const split = row['split'] as Split;
    const censored = row['censored'] as number;
    counts.set(split, {
      candidates: candidates[split],
      rows: row['rows'] as number,
      labelled: row['labelled'] as number,
      immature: row['immature'] as number,
      positives: row['positives'] as number,
      ...(censored > 0 && { censored }),
    });
  }
  return Object.fromEntries(counts) as unknown as DatasetManifest['splits'];
}

/** Statistics of the training rows and what single features give away, some columns at a time. */
async function readColumns(
  duckdb: DuckDb,
  features: readonly string[],
  path: string,
  onRows: (rows: number) => void,
): Promise<{ statistics: ColumnStatistics[]; separation: LeakageFinding[] }> {
  const training = `FROM read_parquet(${textSql(path)}) WHERE split = 'TRAIN'`;
  const [counted] = await duckdb.rows(`SELECT COUNT(*) AS rows ${training}`);
  const rows = counted!['rows'] as number;
  const [labels] = await readDoubles(duckdb, [DATASET_COLUMNS.label], training, rows);
  const sample = sampleForSeparation(labels!);
  const statistics: ColumnStatistics[] = [];
  const separation: LeakageFinding[] = [];
  const together = Math.max(1, Math.floor(STATISTICS_CELLS / Math.max(1, rows)));
  for (let from = 0; from < features.length; from += together) {
    const names = features.slice(from, from + together);
    const columns = await readDoubles(duckdb, names.map(quote), training, rows);
    for (const [i, name] of names.entries()) {
      statistics.push(columnStatistics(name, columns[i]!));
      separation.push(...findSeparation(name, columns[i]!, sample));
    }
    onRows(0);
  }
  return { statistics, separation };
}

async function readDoubles(
  duckdb: DuckDb,
  columns: readonly string[],
  from: string,
  rows: number,
): Promise<Float64Array[]> {
  const values = columns.map(() => new Float64Array(rows));
  let at = 0;
  for await (const chunk of duckdb.doubles(`SELECT ${columns.map(doubleSql).join(', ')} ${from}`)) {
    values.forEach((column, c) => column.set(chunk.columns[c]!.subarray(0, chunk.rows), at));
    at += chunk.rows;
  }
  return values;
}
