import type { Db } from '../db/database.ts';
import { isAnyForgotten, lockForgottenBlobs } from '../db/forget-requests.ts';
import { getLastSequence, listLogFiles } from '../db/ingest.ts';
import { getProjectVersion } from '../db/projects.ts';
import { type Dataset, getDataset, isDatasetFile, putDataset } from '../db/runs.ts';
import { SerinError } from '../domain/errors.ts';
import type { DatasetDiff, RowExplanation } from '../domain/features/dataset-explanation.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import type { ProjectSpec, TrainingSpec } from '../domain/project/spec.ts';
import { buildDataset, localLogs } from '../features/offline/dataset.ts';
import type { DatasetCheckpoint } from '../features/offline/dataset-chunks.ts';
import { diffDatasets } from '../features/offline/dataset-diff.ts';
import { explainRow, type OpenDataset } from '../features/offline/dataset-explanation.ts';
import type { KnowledgeCut } from '../features/offline/dataset-job.ts';
import type {
  BuildDatasetInput,
  BuildDatasetResult,
  DiffDatasetsInput,
  ExplainRowInput,
  RebuildDatasetInput,
  RebuildDatasetResult,
} from '../workflows/messages.ts';
import { type Dependencies, duckdbSettings, withDuckDb } from './dependencies.ts';
import type { Beating } from './heartbeat.ts';
import { trainingOf } from './training-plan.ts';

/** What a heartbeat carries: how far a build is, in rows, what it takes as known, and the chunks that the next attempt finds done. */
export interface DatasetHeartbeat {
  readonly done: number;
  readonly total: number;
  /** The same in all attempts, whatever arrives meanwhile. Null while it is not settled. */
  readonly knowledgeCut: KnowledgeCut | null;
  readonly checkpoint: DatasetCheckpoint | null;
}

const FIRST_ATTEMPT: DatasetHeartbeat = { done: 0, total: 0, knowledgeCut: null, checkpoint: null };

/** Makes datasets of trainings and looks into them. */
export function createDatasetBuilds({ db, blobs, config, now }: Pick<Dependencies, 'db' | 'blobs' | 'config' | 'now'>) {
  return { build, rebuild, diff, explain };

  /** @param earlier what the last attempt said last; null: there was none */
  async function build(
    { project, projectDigest, model, training: name }: BuildDatasetInput,
    { signal, progress }: Beating,
    earlier: DatasetHeartbeat | null,
  ): Promise<BuildDatasetResult> {
    const { beat, say } = heartbeats(progress, earlier);
    const { spec } = await getProjectVersion(db, project, projectDigest);
    const training = trainingOf(spec, model, name);
    const logFiles: Record<string, readonly LogFile[]> = {};
    for (const source of spec.sources) logFiles[source.name] = await listLogFiles(db, source.name);
    const knowledgeCut = beat().knowledgeCut ?? (await cutNow(db, spec, training, logFiles));
    say({ knowledgeCut });
    const { manifest, manifestRef } = await buildDataset({
      project: spec,
      projectDigest,
      model,
      featureSet: training.featureSet,
      split: training.split,
      seed: training.seed,
      logFiles,
      knowledgeCut,
      signal,
      ...means(beat().checkpoint, say),
    });
    await db.transaction().execute(async (tx) => {
      await lockForgottenBlobs(tx);
      if (await isAnyForgotten(tx, inputsOf(manifest))) {
        if (!(await isDatasetFile(tx, manifest.file.sha256))) await blobs.remove(manifest.file);
        throw new Error(`an entity was forgotten while the dataset was built: it is built anew`);
      }
      await putDataset(tx, { digest: manifestRef.sha256, project, model, manifest, at: now() });
    });
    return {
      digest: manifestRef.sha256,
      rows: manifest.rows,
      trainRows: manifest.splits.TRAIN.rows,
      testRows: manifest.splits.TEST.rows,
      leakageFindings: manifest.leakage.filter(({ severity }) => severity === 'fail').length,
    };
  }

  /** The same build from the files and the knowledge that a manifest names, whatever the logs have become since. */
  async function rebuild(
    { dataset: digest }: RebuildDatasetInput,
    { signal, progress }: Beating,
    earlier: DatasetHeartbeat | null,
  ): Promise<RebuildDatasetResult> {
    const { beat, say } = heartbeats(progress, earlier);
    const { project, manifest, redacted } = await getDataset(db, digest);
    refuseRedacted(digest, redacted);
    const { spec } = await getProjectVersion(db, project, manifest.projectDigest);
    const { model, featureSet, split, seed, projectDigest, inputs, knowledgeCut } = manifest;
    const { manifestRef } = await buildDataset({
      project: spec,
      projectDigest,
      model,
      featureSet,
      split,
      seed,
      logFiles: inputs,
      knowledgeCut,
      signal,
      ...means(beat().checkpoint, say),
    });
    return { dataset: digest, rebuilt: manifestRef.sha256, same: manifestRef.sha256 === digest };
  }

  /** What a build works with, and whom it tells how far it is. */
  function means(checkpoint: DatasetCheckpoint | null, say: (news: Partial<DatasetHeartbeat>) => void) {
    return {
      blobs,
      workDir: config.workDir,
      duckdb: duckdbSettings(config),
      // 0 leaves it to the machine
      ...(config.datasetThreads && { threads: config.datasetThreads }),
      ...(checkpoint !== null && { checkpoint }),
      onCheckpoint: (latest: DatasetCheckpoint) => say({ checkpoint: latest }),
      onProgress: (done: number, total: number) => say({ done, total }),
    };
  }

  async function diff(input: DiffDatasetsInput, signal: AbortSignal): Promise<DatasetDiff> {
    const [before, after] = await Promise.all([getDataset(db, input.before), getDataset(db, input.after)]);
    // the later knowledge of a source holds the earlier one
    const seqOf = ({ manifest }: Dataset, source: string): number => manifest.knowledgeCut.seq[source] ?? 0;
    const inputs = Object.fromEntries(
      Object.keys(after.manifest.inputs).map((source) => {
        const { manifest } = seqOf(before, source) > seqOf(after, source) ? before : after;
        return [source, manifest.inputs[source]!];
      }),
    );
    const [a, b] = await Promise.all([openDataset(before, inputs), openDataset(after, inputs)]);
    return withDuckDb(config, (duckdb) => diffDatasets(duckdb, a, b), signal);
  }

  async function explain({ dataset: digest, row }: ExplainRowInput, signal: AbortSignal): Promise<RowExplanation> {
    const dataset = await getDataset(db, digest);
    const opened = await openDataset(dataset, dataset.manifest.inputs);
    return withDuckDb(config, (duckdb) => explainRow(duckdb, opened, row), signal);
  }

  async function openDataset(
    { digest, project, manifest, file, redacted }: Dataset,
    inputs: DatasetManifest['inputs'],
  ): Promise<OpenDataset> {
    refuseRedacted(digest, redacted);
    const { spec } = await getProjectVersion(db, project, manifest.projectDigest);
    const logs = await localLogs(inputs, blobs);
    return { digest, manifest, project: spec, path: await blobs.localPath(file), logs };
  }
}

function inputsOf({ inputs }: DatasetManifest): string[] {
  return Object.values(inputs).flatMap((files) => files.map(({ blob }) => blob.sha256));
}

/** The files of the log that it was made from are gone, and others stand in their place. */
function refuseRedacted(digest: string, redacted: Dataset['redacted']): void {
  if (redacted === null) return;
  throw new SerinError(
    'DATASET_REDACTED',
    `an entity was forgotten after the dataset ${digest.slice(0, 12)} was built (request ${redacted.requestId}): its rows can be read, but what they were made from is gone; build a new one`,
  );
}

/** Heartbeats that hold all that was said: one that did not would make a third attempt forget the chunks. */
function heartbeats(progress: Beating['progress'], earlier: DatasetHeartbeat | null) {
  let latest: DatasetHeartbeat = { ...FIRST_ATTEMPT, ...earlier, done: 0 };
  progress(latest);
  return {
    beat: () => latest,
    say: (news: Partial<DatasetHeartbeat>): void => progress((latest = { ...latest, ...news })),
  };
}

/** A training knows what was known when its test range ended, so that it can be repeated later. */
async function cutNow(
  db: Db,
  { sources }: ProjectSpec,
  { split }: TrainingSpec,
  logFiles: Readonly<Record<string, readonly LogFile[]>>,
): Promise<KnowledgeCut> {
  const seq: Record<string, number> = {};
  for (const { name } of sources) seq[name] = await getLastSequence(db, name);
  const files = Object.values(logFiles).flat();
  return { at: Math.max(split.testTo, ...files.map(({ maxAvailableAt }) => maxAvailableAt)), seq };
}
