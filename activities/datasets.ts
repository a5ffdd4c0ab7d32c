import { activityInfo } from '@temporalio/activity';
import { getLastSequence, listLogFiles } from '../db/ingest.ts';
import { getProjectVersion } from '../db/projects.ts';
import { type Dataset, getDataset, putDataset } from '../db/runs.ts';
import type { DatasetDiff, RowExplanation } from '../domain/features/dataset-explanation.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import type { DatasetCheckpoint } from '../features/offline/dataset-chunks.ts';
import { buildDataset, localLogs } from '../features/offline/dataset.ts';
import { diffDatasets } from '../features/offline/dataset-diff.ts';
import { explainRow, type OpenDataset } from '../features/offline/dataset-explanation.ts';
import { DuckDb } from '../features/offline/duckdb.ts';
import type {
  BuildDatasetInput,
  BuildDatasetResult,
  DiffDatasetsInput,
  ExplainRowInput,
} from '../workflows/messages.ts';
import { type Dependencies, duckdbSettings } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';
import { trainingOf } from './training-plan.ts';

/** What a heartbeat carries: how far a build is, in rows, and the chunks that the next attempt finds done. */
interface DatasetHeartbeat {
  readonly done: number;
  readonly total: number;
  readonly checkpoint: DatasetCheckpoint | null;
}

export function createDatasetActivities({ db, blobs, config, now }: Dependencies) {
  return {
    /** The dataset is named by its content, so building it twice gives one dataset. */
    async buildDataset({
      project,
      projectDigest,
      model,
      training: name,
    }: BuildDatasetInput): Promise<BuildDatasetResult> {
      return withHeartbeat(async ({ signal, progress }) => {
        const earlier = (activityInfo().heartbeatDetails as DatasetHeartbeat | undefined)?.checkpoint ?? null;
        // a heartbeat without it would make a third attempt forget the chunks
        let beat: DatasetHeartbeat = { done: 0, total: 0, checkpoint: earlier };
        progress(beat);
        const { spec } = await getProjectVersion(db, project, projectDigest);
        const training = trainingOf(spec, model, name);
        const logFiles: Record<string, LogFile[]> = {};
        const seq: Record<string, number> = {};
        for (const source of spec.sources) {
          seq[source.name] = await getLastSequence(db, source.name);
          logFiles[source.name] = await listLogFiles(db, source.name);
        }
        const { manifest, manifestRef } = await buildDataset({
          project: spec,
          projectDigest,
          model,
          featureSet: training.featureSet,
          split: training.split,
          seed: training.seed,
          logFiles,
          // a training knows what was known when its test range ended, so that it can be repeated later
          knowledgeCut: {
            at: Math.max(
              training.split.testTo,
              ...Object.values(logFiles)
                .flat()
                .map(({ maxAvailableAt }) => maxAvailableAt),
            ),
            seq,
          },
          blobs,
          workDir: config.workDir,
          duckdb: duckdbSettings(config),
          signal,
          ...(earlier !== null && { checkpoint: earlier }),
          onCheckpoint: (checkpoint) => progress((beat = { ...beat, checkpoint })),
          onProgress: (done, total) => progress((beat = { ...beat, done, total })),
        });
        await putDataset(db, { digest: manifestRef.sha256, project, model, manifest, at: now() });
        return {
          digest: manifestRef.sha256,
          rows: manifest.rows,
          trainRows: manifest.splits.TRAIN.rows,
          testRows: manifest.splits.TEST.rows,
          leakageFindings: manifest.leakage.filter(({ severity }) => severity === 'fail').length,
        };
      });
    },

    /** Reads alone: nothing is left behind, so a retry is as good as the first attempt. */
    async diffDatasets(input: DiffDatasetsInput): Promise<DatasetDiff> {
      return withHeartbeat(async ({ signal }) => {
        const [before, after] = await Promise.all([getDataset(db, input.before), getDataset(db, input.after)]);
        // the later knowledge of a source holds the earlier one
        const seqOf = ({ manifest }: Dataset, source: string): number => manifest.knowledgeCut.seq[source] ?? 0;
        const sources = Object.keys(after.manifest.inputs);
        const inputs = Object.fromEntries(
          sources.map((source) => {
            const { manifest } = seqOf(before, source) > seqOf(after, source) ? before : after;
            return [source, manifest.inputs[source]!];
          }),
        );
        const [a, b] = await Promise.all([openDataset(before, inputs), openDataset(after, inputs)]);
        return withDuckDb(signal, (duckdb) => diffDatasets(duckdb, a, b));
      });
    },

    /** Reads alone, as `diffDatasets`. */
    async explainRow({ dataset: digest, row }: ExplainRowInput): Promise<RowExplanation> {
      return withHeartbeat(async ({ signal }) => {
        const dataset = await getDataset(db, digest);
        const opened = await openDataset(dataset, dataset.manifest.inputs);
        return withDuckDb(signal, (duckdb) => explainRow(duckdb, opened, row));
      });
    },
  };

  async function openDataset(
    { digest, project, manifest }: Dataset,
    inputs: DatasetManifest['inputs'],
  ): Promise<OpenDataset> {
    const { spec } = await getProjectVersion(db, project, manifest.projectDigest);
    const logs = await localLogs(inputs, blobs);
    return { digest, manifest, project: spec, path: await blobs.localPath(manifest.file), logs };
  }

  async function withDuckDb<T>(signal: AbortSignal, work: (duckdb: DuckDb) => Promise<T>): Promise<T> {
    const duckdb = await DuckDb.open(duckdbSettings(config));
    const interrupt = (): void => duckdb.interrupt();
    signal.addEventListener('abort', interrupt);
    try {
      return await work(duckdb);
    } finally {
      signal.removeEventListener('abort', interrupt);
      duckdb.close();
    }
  }
}
