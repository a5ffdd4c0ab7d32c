/** Features of any rows as of each row's own instant, from the log: what a dataset of them would hold. */
import { join } from 'node:path';
import { answeredSql, deriveFeatures } from './dataset-assembly.ts';
import type { FeatureDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, SpineBounds } from './dataset-job.ts';
import { replayChunk } from './dataset-replay.ts';
import type { DuckDb, DuckDbSettings } from './duckdb.ts';

export interface AskedRows {
  /** A Parquet file with idx (0…n−1), as_of and `request <field>` for each request field of the feature set. */
  readonly spinePath: string;
  readonly bounds: SpineBounds;
  /** For intermediate files; they stay. */
  readonly folder: string;
  readonly duckdb: DuckDbSettings;
}

const ALL_KEYS = { chunk: 0, chunks: 1 };

/**
 * Replays the log through the kernel that serves the features, view by view.
 * @param onRows told how many events and rows have gone by, over and over; what it throws ends the work
 * @returns a SELECT of idx and, for feature i of the set, `f<i>` (NaN: missing), in no order; valid while `duckdb` is open
 */
export async function featuresOfRows(
  duckdb: DuckDb,
  definitions: FeatureDefinitions,
  job: Pick<DatasetJob, 'logs' | 'knowledgeCut' | 'digest'>,
  { spinePath, bounds, folder, duckdb: settings }: AskedRows,
  onRows: (rows: number) => void,
): Promise<string> {
  const { featureSet, derived } = definitions;
  const answers: string[][] = [];
  for (const view of featureSet.views.keys()) {
    const outputPath = join(folder, `view-${view}.parquet`);
    const task = {
      kind: 'replay',
      view,
      range: ALL_KEYS,
      spine: bounds,
      spinePath,
      outputPath,
      duckdb: settings,
    } as const;
    await replayChunk(duckdb, definitions, job, task, onRows);
    // the keys that were asked about: the next view has others
    await duckdb.run('DROP TABLE IF EXISTS key');
    answers.push([outputPath]);
  }
  const given = { spinePath, answers };
  await deriveFeatures(duckdb, definitions, given, onRows);
  const columns = featureSet.featureNames.map((_, i) => `f${i}`).join(', ');
  const joined = derived.length === 0 ? '' : 'JOIN derived ON answered.idx = CAST(derived.idx AS BIGINT)';
  return `SELECT answered.idx, ${columns} FROM (${answeredSql(definitions, given, () => true)}) answered ${joined}`;
}
