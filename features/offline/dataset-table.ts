/** A dataset from its definitions and logs to one Parquet file and what is said about it; runs in the dataset thread. */
import { DATASET_COLUMNS } from '../../domain/features/dataset-manifest.ts';
import { quoteIdentifier as quote, type Value } from '../../domain/project/expression.ts';
import type { FeatureSetPlan } from '../kernel/feature-set-plan.ts';
import { datasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, DatasetResult, Progress } from './dataset-job.ts';
import { replayView } from './dataset-replay.ts';
import {
  countAssumedAvailability,
  countOwnEvents,
  makeSpine,
  openLog,
  requestColumn,
  SPLITS,
  type SpineTable,
} from './dataset-spine.ts';
import { columnStatistics } from './dataset-statistics.ts';
import { type DuckDb, textSql } from './duckdb.ts';
import { findAssumedAvailability, findOwnEvents, findSeparation } from './leakage.ts';

export async function makeDatasetFile(duckdb: DuckDb, job: DatasetJob, onProgress: Progress): Promise<DatasetResult> {
  const definitions = datasetDefinitions(job.project, job.model, job.featureSet);
  const { featureSet, sources } = definitions;
  const steps = progressSteps(job, featureSet, onProgress);
  for (const source of sources) await openLog(duckdb, source, job.logs[source.name]!, job.knowledgeCut);

  const spine = await makeSpine(duckdb, definitions, job.split, job.seed, job.knowledgeCut);
  steps.finish();
  const columns = featureSet.featureNames.map(() => new Float64Array(spine.rows).fill(NaN));
  for (let view = 0; view < featureSet.views.length; view++) {
    await replayView(duckdb, featureSet, view, spine, columns, steps.advance);
    steps.finish();
  }
  await deriveFeatures(duckdb, featureSet, spine, columns);
  const leakage = [
    ...findOwnEvents(await countOwnEvents(duckdb, definitions)),
    ...findAssumedAvailability(await countAssumedAvailability(duckdb, definitions)),
    ...findSeparation(featureSet.featureNames, ...labelledTraining(spine, columns)),
  ];
  await writeParquet(duckdb, featureSet, columns, job.outputPath);
  const training = rowsWhere(spine, (row) => spine.split[row] === SPLITS.indexOf('TRAIN'));
  const statistics = featureSet.featureNames.map((feature, i) =>
    columnStatistics(feature, pick(columns[i]!, training)),
  );
  steps.finish();
  return {
    rows: spine.rows,
    splits: spine.counts,
    firstAsOf: spine.asOf[0]!,
    lastAsOf: spine.asOf[spine.rows - 1]!,
    statistics,
    leakage,
  };
}

/** One pass over the spine's log, one per view over its log, and one for writing, each counted as its log's rows. */
function progressSteps(
  job: DatasetJob,
  featureSet: FeatureSetPlan,
  onProgress: Progress,
): { advance: (rows: number) => void; finish: () => void } {
  const rowsOf = (source: string): number => Math.max(1, job.logs[source]!.rows);
  const spineRows = Math.max(...Object.values(job.logs).map(({ rows }) => rows), 1);
  const steps = [spineRows, ...featureSet.views.map((view) => rowsOf(view.source)), spineRows];
  const total = steps.reduce((sum, rows) => sum + rows, 0);
  let step = 0;
  let before = 0;
  let within = 0;
  return {
    advance(rows) {
      within = Math.min(within + rows, steps[step]!);
      onProgress(before + within, total);
    },
    finish() {
      before += steps[step++]!;
      within = 0;
      onProgress(before, total);
    },
  };
}

async function deriveFeatures(
  duckdb: DuckDb,
  featureSet: FeatureSetPlan,
  spine: SpineTable,
  columns: readonly Float64Array[],
): Promise<void> {
  if (!featureSet.hasDerived) return;
  const inputs = featureSet.derivedInputs;
  const vector = new Float64Array(columns.length);
  const request: Record<string, Value> = {};
  const derive = (row: number): void => {
    for (let c = 0; c < columns.length; c++) vector[c] = columns[c]![row]!;
    featureSet.derive(request, spine.asOf[row]!, vector, 0);
    for (let c = 0; c < columns.length; c++) columns[c]![row] = vector[c]!;
  };
  if (inputs.length === 0) {
    for (let row = 0; row < spine.rows; row++) derive(row);
    return;
  }
  let from = 0;
  for await (const { rows, columns: values } of duckdb.values(
    `SELECT ${inputs.map(requestColumn).join(', ')} FROM spine ORDER BY idx`,
  )) {
    for (let i = 0; i < rows; i++) {
      for (let c = 0; c < inputs.length; c++) request[inputs[c]!] = values[c]![i]!;
      derive(from + i);
    }
    from += rows;
  }
}

/** Feature columns and labels of the training rows whose label is known and is 0 or 1. */
function labelledTraining(spine: SpineTable, columns: readonly Float64Array[]): [Float64Array[], Float64Array] {
  const train = SPLITS.indexOf('TRAIN');
  const rows = rowsWhere(
    spine,
    (row) => spine.split[row] === train && (spine.label[row] === 0 || spine.label[row] === 1),
  );
  return [columns.map((column) => pick(column, rows)), pick(spine.label, rows)];
}

function rowsWhere(spine: SpineTable, holds: (row: number) => boolean): Uint32Array {
  const rows = new Uint32Array(spine.rows);
  let count = 0;
  for (let row = 0; row < spine.rows; row++) if (holds(row)) rows[count++] = row;
  return rows.subarray(0, count);
}

function pick(values: Float64Array, rows: Uint32Array): Float64Array {
  const picked = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) picked[i] = values[rows[i]!]!;
  return picked;
}

async function writeParquet(
  duckdb: DuckDb,
  featureSet: FeatureSetPlan,
  columns: readonly Float64Array[],
  path: string,
): Promise<void> {
  const index = Float64Array.from({ length: columns[0]?.length ?? 0 }, (_, row) => row);
  await duckdb.run(`CREATE TABLE feature (idx DOUBLE${columns.map((_, c) => `, f${c} DOUBLE`).join('')})`);
  await duckdb.appendDoubles('feature', [index, ...columns]);
  const { rowId, asOf, label, labelStatus, split } = DATASET_COLUMNS;
  const selected = [
    rowId,
    asOf,
    ...featureSet.request.map((field) => `${requestColumn(field.name)} AS ${quote(field.name)}`),
    ...featureSet.featureNames.map((name, c) => `CASE WHEN ISNAN(f${c}) THEN NULL ELSE f${c} END AS ${quote(name)}`),
    label,
    labelStatus,
    split,
  ];
  // one thread and one order, so that the same rows are the same bytes
  await duckdb.run('SET threads = 1');
  await duckdb.run('SET preserve_insertion_order = true');
  await duckdb.run(`
    COPY (SELECT ${selected.join(', ')} FROM spine JOIN feature ON spine.idx = CAST(feature.idx AS BIGINT) ORDER BY spine.idx)
    TO ${textSql(path)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`);
}
