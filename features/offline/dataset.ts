import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { BlobRef, BlobStore } from '../../domain/blob.ts';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { SerinError } from '../../domain/errors.ts';
import { DATASET_FORMAT, type DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import type { ProjectSpec, SplitSpec } from '../../domain/project/spec.ts';
import { type DatasetDefinitions, datasetDefinitions } from './dataset-definitions.ts';
import { chunkCount, type ChunkSize, type DatasetCheckpoint, shareOf, WeightedProgress } from './dataset-chunks.ts';
import type {
  DatasetJob,
  DatasetResult,
  KeyRange,
  KnowledgeCut,
  LabelTask,
  Progress,
  ReplayTask,
  SourceLog,
} from './dataset-job.ts';
import { DatasetThreads } from './dataset-threads.ts';
import { isAnsweredBySql } from './latest-answers.ts';
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
  /** The limits of all threads together. */
  readonly duckdb: DuckDbSettings;
  /** Replays at the same time; absent: one for each core but one. */
  readonly threads?: number;
  /** What one chunk may hold; absent: `CHUNK_EVENTS` and `CHUNK_QUESTIONS`. */
  readonly chunkSize?: ChunkSize;
  /** Where an earlier attempt had come to. */
  readonly checkpoint?: DatasetCheckpoint;
  readonly onCheckpoint?: (checkpoint: DatasetCheckpoint) => void;
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
 * manifest, whatever the threads and chunks; running it twice leaves one dataset. The work is done in threads of its own,
 * key range by key range; a build that is given the checkpoint of one that was cut off does not repeat its ranges.
 * @throws REFERENCE_MISSING, SPEC_INVALID for definitions that do not fit; DATASET_EMPTY naming the range; CANCELLED
 */
export async function buildDataset(input: BuildDatasetInput): Promise<BuiltDataset> {
  const { project, model, featureSet, split, seed, knowledgeCut, blobs, workDir } = input;
  input.signal?.throwIfAborted();
  const definitions = datasetDefinitions(project, model, featureSet);
  const inputs = inputFiles(definitions, input);
  const digest = sha256({ project, model, featureSet, split, seed, knowledgeCut, inputs, build: BUILD_FORMAT });
  const folder = join(workDir, `dataset-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  const logs = await localLogs(inputs, blobs);
  const job: DatasetJob = { project, model, featureSet, split, seed, knowledgeCut, logs, digest };
  const threads = new DatasetThreads(job, replayThreads(input), input.signal);
  try {
    const outputPath = join(folder, 'dataset.parquet');
    const result = await runBuild({ input, definitions, job, threads, folder, outputPath });
    const manifest = manifestOf(input, definitions, inputs, await blobs.putFile(outputPath), result);
    return { manifest, manifestRef: await blobs.put(new TextEncoder().encode(canonicalJson(manifest))) };
  } finally {
    await threads.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Build {
  readonly input: BuildDatasetInput;
  readonly definitions: DatasetDefinitions;
  readonly job: DatasetJob;
  readonly threads: DatasetThreads;
  readonly folder: string;
  readonly outputPath: string;
}

/** Spine, then the chunks of all views and of the label side by side, then the file. */
async function runBuild(build: Build): Promise<DatasetResult> {
  const { input, definitions, job, threads, folder, outputPath } = build;
  const { featureSet } = definitions;
  const rowsOf = (source: string): number => Math.max(1, job.logs[source]!.rows);
  const mostRows = Math.max(1, ...Object.values(job.logs).map(({ rows }) => rows));
  const labelRows = definitions.label.window === undefined ? 0 : rowsOf(definitions.label.source);
  const weights = [mostRows, ...featureSet.views.map((view) => rowsOf(view.plan.source)), labelRows, mostRows];
  const progress = new WeightedProgress(weights, input.onProgress);

  const spinePath = join(folder, 'spine.parquet');
  const spine = await threads.run({ kind: 'spine', folder, outputPath: spinePath, duckdb: input.duckdb });
  progress.finish(0);
  const chunks = new ChunkStore(build);
  const shared = { spine, spinePath, duckdb: shareOf(input.duckdb, replayThreads(input)) };
  const [labels, ...answers] = await Promise.all([
    labelRows === 0
      ? []
      : chunks.all(
          'label',
          labelRows,
          spine.rows,
          (done) => progress.advance(weights.length - 2, done),
          (range, path) => ({
            kind: 'label',
            range,
            outputPath: path,
            ...shared,
          }),
        ),
    ...featureSet.views.map(async (view, number) => {
      const uses = featureSet.uses.filter((use) => use.view === number).length;
      // DuckDB answers for all keys at once, and spills
      const whole = view.kind === 'history' && isAnsweredBySql(view.plan, definitions.views[number]!);
      return chunks.all(
        view.plan.id,
        whole ? 1 : rowsOf(view.plan.source),
        whole ? 0 : uses * spine.rows,
        (done) => progress.advance(1 + number, done),
        (range, path) => ({
          kind: 'replay',
          view: number,
          range,
          outputPath: path,
          ...shared,
        }),
      );
    }),
  ]);
  for (let step = 1; step < weights.length - 1; step++) progress.finish(step);
  const result = await threads.run(
    { kind: 'assemble', spine, spinePath, answers, labels: labels!, outputPath, duckdb: input.duckdb },
    (rows) => progress.advance(weights.length - 1, rows),
  );
  await chunks.remove();
  progress.finish(weights.length - 1);
  return result;
}

/**
 * The chunks of a build as blobs, so that another attempt finds them, wherever it runs. They hold row numbers and values,
 * neither keys nor times, and are removed when the dataset is there.
 */
class ChunkStore {
  readonly #build: Build;
  readonly #done: Record<string, BlobRef>;

  constructor(build: Build) {
    this.#build = build;
    const { checkpoint } = build.input;
    this.#done = checkpoint?.build === build.job.digest ? { ...checkpoint.chunks } : {};
  }

  /** Local files of all chunks of one view or label, in the order of their keys. */
  async all(
    name: string,
    events: number,
    questions: number,
    onRows: (rows: number) => void,
    taskOf: (range: KeyRange, outputPath: string) => ReplayTask | LabelTask,
  ): Promise<string[]> {
    const chunks = chunkCount({ events, questions }, this.#build.input.chunkSize);
    const gone: number[] = Array.from({ length: chunks }, () => 0);
    return Promise.all(
      gone.map(async (_, chunk) => {
        const report = (rows: number): void => {
          gone[chunk] = Math.min(rows, Math.ceil(events / chunks));
          onRows(gone.reduce((sum, each) => sum + each, 0));
        };
        const path = await this.#one(`${name} ${chunk + 1}/${chunks}`, report, (outputPath) =>
          taskOf({ chunk, chunks }, outputPath),
        );
        report(events);
        return path;
      }),
    );
  }

  async #one(
    name: string,
    onRows: (rows: number) => void,
    taskOf: (outputPath: string) => ReplayTask | LabelTask,
  ): Promise<string> {
    const { input, threads, folder, job } = this.#build;
    const known = this.#done[name];
    if (known !== undefined && (await input.blobs.has(known))) return input.blobs.localPath(known);
    const path = join(folder, `chunk-${randomUUID()}.parquet`);
    await threads.run(taskOf(path), onRows);
    const ref = await input.blobs.putFile(path);
    this.#done[name] = ref;
    input.onCheckpoint?.({ build: job.digest, chunks: { ...this.#done } });
    return input.blobs.localPath(ref);
  }

  async remove(): Promise<void> {
    for (const ref of Object.values(this.#done)) await this.#build.input.blobs.remove(ref);
  }
}

/** Changes when the same definitions would give other intermediate files. */
const BUILD_FORMAT = 1;

function replayThreads({ threads }: BuildDatasetInput): number {
  return threads ?? Math.max(1, availableParallelism() - 1);
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
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
      .toSorted((a, b) => a.firstSeq - b.firstSeq || (a.blob.sha256 < b.blob.sha256 ? -1 : 1));
  }
  return inputs;
}

/** The files of each source's log on this machine. */
export async function localLogs(
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
