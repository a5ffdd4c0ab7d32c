import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { BlobRef, BlobStore } from '../../domain/blob.ts';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { SerinError } from '../../domain/errors.ts';
import { DATASET_FORMAT, type DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { ProjectSpec, SplitSpec } from '../../domain/project/spec.ts';
import { type DatasetDefinitions, datasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, DatasetResult, KnowledgeCut, Progress, SourceLog, ThreadMessage } from './dataset-job.ts';
import type { DuckDbSettings } from './duckdb.ts';

export interface BuildDatasetInput {
  readonly project: ProjectSpec;
  readonly projectDigest: string;
  /** Name of the model, whose spine and label give the rows. */
  readonly model: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly split: SplitSpec;
  readonly seed: number;
  /** The files of each source's log; those that begin after the cut are left out. */
  readonly logFiles: Readonly<Record<string, readonly LogFile[]>>;
  readonly knowledgeCut: KnowledgeCut;
  readonly blobs: BlobStore;
  /** Folder for the file in the making, on the blob store's disk if that is local (the file then moves by rename). */
  readonly workDir: string;
  readonly duckdb: DuckDbSettings;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

export interface BuiltDataset {
  readonly manifest: DatasetManifest;
  /** Its digest names the dataset. */
  readonly manifestRef: BlobRef;
}

/**
 * Joins a model's spine with a feature set as of each row's own time. The same input gives the same bytes, file and
 * manifest; running it twice leaves one dataset. The work is done in a thread of its own.
 * @throws REFERENCE_MISSING, SPEC_INVALID for definitions that do not fit; DATASET_EMPTY naming the range; CANCELLED
 */
export async function buildDataset(input: BuildDatasetInput): Promise<BuiltDataset> {
  const { project, model, featureSet, split, seed, knowledgeCut, blobs, workDir } = input;
  input.signal?.throwIfAborted();
  const definitions = datasetDefinitions(project, model, featureSet);
  const inputs = inputFiles(definitions, input);
  const folder = join(workDir, `dataset-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  try {
    const outputPath = join(folder, 'dataset.parquet');
    const result = await runThread(
      {
        project,
        model,
        featureSet,
        split,
        seed,
        knowledgeCut,
        logs: await localLogs(inputs, blobs),
        outputPath,
        duckdb: input.duckdb,
      },
      input.onProgress,
      input.signal,
    );
    const manifest = manifestOf(input, definitions, inputs, await blobs.putFile(outputPath), result);
    return { manifest, manifestRef: await blobs.put(new TextEncoder().encode(canonicalJson(manifest))) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function inputFiles(
  { sources }: DatasetDefinitions,
  { logFiles, knowledgeCut }: BuildDatasetInput,
): Record<string, LogFile[]> {
  const inputs: Record<string, LogFile[]> = {};
  for (const { name } of sources) {
    const seq = knowledgeCut.seq[name];
    if (seq === undefined) {
      throw new SerinError(
        'REFERENCE_MISSING',
        `the knowledge cut has no sequence number for the source "${name}"; it has ${Object.keys(knowledgeCut.seq).join(', ') || 'none'}`,
      );
    }
    inputs[name] = (logFiles[name] ?? [])
      .filter((file) => file.firstSeq <= seq)
      .toSorted((a, b) => a.firstSeq - b.firstSeq);
  }
  return inputs;
}

async function localLogs(
  inputs: Readonly<Record<string, readonly LogFile[]>>,
  blobs: BlobStore,
): Promise<Record<string, SourceLog>> {
  const logs: Record<string, SourceLog> = {};
  for (const [source, files] of Object.entries(inputs)) {
    const paths: string[] = [];
    for (const file of files) paths.push(await blobs.localPath(file.blob));
    logs[source] = { paths, rows: files.reduce((sum, file) => sum + file.rows, 0) };
  }
  return logs;
}

function manifestOf(
  { project, projectDigest, split, seed, knowledgeCut }: BuildDatasetInput,
  { model, spine, label, featureSet, sources }: DatasetDefinitions,
  inputs: Readonly<Record<string, readonly LogFile[]>>,
  file: BlobRef,
  result: DatasetResult,
): DatasetManifest {
  return {
    format: DATASET_FORMAT,
    project: project.name,
    projectDigest,
    model: model.name,
    spine: spine.name,
    label: label.name,
    featureSet: featureSet.id,
    requestFields: featureSet.request.map((field) => field.name),
    features: featureSet.featureNames,
    split,
    seed,
    // sources that were not read cannot change the dataset, so they are not part of its name
    knowledgeCut: {
      at: knowledgeCut.at,
      seq: Object.fromEntries(sources.map(({ name }) => [name, knowledgeCut.seq[name]!])),
    },
    inputs,
    file,
    ...result,
  };
}

async function runThread(
  job: DatasetJob,
  onProgress: Progress | undefined,
  signal: AbortSignal | undefined,
): Promise<DatasetResult> {
  const worker = new Worker(new URL(compiledModule(import.meta.url, './dataset-thread.ts')), { workerData: job });
  const abort = (): void => worker.postMessage('abort');
  signal?.addEventListener('abort', abort);
  try {
    return await new Promise<DatasetResult>((resolve, reject) => {
      worker.on('message', (message: ThreadMessage) => {
        if (message.type === 'progress') onProgress?.(message.done, message.total);
        else if (message.type === 'done') resolve(message.result);
        else if (message.type === 'refused')
          reject(new SerinError(message.code, message.detail, { fields: message.fields }));
        else reject(new Error(`the dataset thread crashed: ${message.message}`));
      });
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`the dataset thread ended with ${code} and no result`)));
    });
  } finally {
    signal?.removeEventListener('abort', abort);
    await worker.terminate();
  }
}
