import { randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { getLastSequence, listLogFiles } from '../db/ingest.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getVersion, type ModelVersion } from '../db/registry.ts';
import { getRoute } from '../db/routes.ts';
import { canonicalJson } from '../domain/canonical-json.ts';
import { SerinError } from '../domain/errors.ts';
import type { ScoreJob } from '../domain/scoring/score-job.ts';
import {
  planScoreParts,
  type ScoredPart,
  type ScoreFile,
  type ScoreKnowledge,
  type ScoreManifest,
  type ScorePlan,
} from '../domain/scoring/score-plan.ts';
import { localLogs } from '../features/offline/dataset.ts';
import { shareOf } from '../features/offline/dataset-chunks.ts';
import { featureDefinitions } from '../features/offline/dataset-definitions.ts';
import { type DuckDb, fileListSql, textSql } from '../features/offline/duckdb.ts';
import type { ScoreBatchInput, ScoreBatchResult } from '../workflows/messages.ts';
import { type Dependencies, duckdbSettings, sha256, withDuckDb } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';
import { claimOutput, completeOutput, discardOutput, keepPart, partInMaking } from './score-output.ts';
import { scoreInThread } from './score-thread.ts';

/** Files of one batch at most. */
const FILES_MAX = 10_000;

export interface OpenedBatch {
  readonly version: number;
  /** Sources behind the features, each with the last sequence that was pushed or ingested; none where the features are ready. */
  readonly sources: readonly { readonly source: string; readonly lastSeq: number }[];
  /** Where the folder holds the answer to this very request. */
  readonly done: ScoreBatchResult | null;
}

export interface PlannedBatch {
  /** Digest of the plan's blob. */
  readonly plan: string;
  readonly parts: number;
  readonly rows: number;
  /** Parts that this machine scores at the same time. */
  readonly together: number;
}

export function createBatchScoringActivities({ db, blobs, config, now }: Dependencies) {
  async function readPlan(digest: string): Promise<ScorePlan> {
    return JSON.parse(new TextDecoder().decode(await blobs.get({ sha256: digest }))) as ScorePlan;
  }

  async function knowledgeFor({ manifest }: ModelVersion): Promise<ScoreKnowledge> {
    const logFiles: Record<string, ScoreKnowledge['logFiles'][string]> = {};
    const seq: Record<string, number> = {};
    for (const source of await sourcesOf(manifest.project, manifest.projectDigest, manifest.featureSet)) {
      // in this order: a file that comes in between holds only what comes later
      seq[source] = await getLastSequence(db, source);
      logFiles[source] = await listLogFiles(db, source);
    }
    return { logFiles, at: now(), seq };
  }

  async function sourcesOf(project: string, digest: string, featureSet: string): Promise<string[]> {
    const { spec } = await getProjectVersion(db, project, digest);
    return featureDefinitions(spec, featureSet).sources.map(({ name }) => name);
  }

  return {
    /** Fixes the version and takes the output folder: a retry finds both as they are. */
    async openScoreBatch({ request }: ScoreBatchInput): Promise<OpenedBatch> {
      const { model, output, featuresReady } = request;
      const version = request.version ?? (await getRoute(db, model)).champion;
      const { manifest } = await getVersion(db, model, version);
      const done = await claimOutput(output, sha256(request));
      const names = featuresReady ? [] : await sourcesOf(manifest.project, manifest.projectDigest, manifest.featureSet);
      return {
        version,
        sources: await Promise.all(
          names.map(async (source) => ({ source, lastSeq: await getLastSequence(db, source) })),
        ),
        done: done === null ? null : resultOf(output, done, true),
      };
    },

    /** Looks at the input and writes down what the batch is made from. A retry may plan anew: nothing has been scored yet. */
    async planScoreBatch({
      request,
      version,
      partRows,
    }: ScoreBatchInput & { readonly version: number }): Promise<PlannedBatch> {
      return withHeartbeat(async ({ signal }) => {
        const registered = await getVersion(db, request.model, version);
        const files = await withDuckDb(config, (duckdb) => listInput(duckdb, request.input), signal);
        const parts = planScoreParts(files, partRows);
        const knowledge = request.featuresReady ? null : await knowledgeFor(registered);
        const { manifestSha256: versionSha256 } = registered;
        const { model, asOf, featuresReady } = request;
        const made = { model, versionSha256, asOf: asOf ?? null, featuresReady, files, seq: knowledge?.seq ?? null };
        const plan: ScorePlan = {
          format: 1,
          request,
          requestDigest: sha256(request),
          batch: sha256(made).slice(0, 16),
          version,
          versionSha256,
          knowledge,
          files,
          parts,
        };
        const { sha256: digest } = await blobs.put(new TextEncoder().encode(canonicalJson(plan)));
        return {
          plan: digest,
          parts: parts.length,
          rows: parts.reduce((sum, { rows }) => sum + rows, 0),
          together: partsTogether(config.datasetThreads),
        };
      });
    },

    /** The same part of the same plan is the same file, so a retry puts it in the place of what an earlier attempt left. */
    async scorePart({ plan: digest, part: number }: { plan: string; part: number }): Promise<ScoredPart> {
      return withHeartbeat(async ({ signal, progress }) => {
        const plan = await readPlan(digest);
        const { output } = plan.request;
        for (const { file } of plan.parts[number]!.slices) await refuseChanged(plan.files[file]!);
        const attempt = randomUUID();
        const folder = join(config.workDir, `score-${attempt}`);
        await mkdir(folder, { recursive: true });
        const written = await partInMaking(output, plan.requestDigest, attempt);
        try {
          const scored = await scoreInThread(await jobOf(plan, number, written, folder), signal, (rows) =>
            progress({ part: number, rows }),
          );
          // a file that was written to meanwhile may have given anything
          for (const { file } of plan.parts[number]!.slices) await refuseChanged(plan.files[file]!);
          return { ...(await keepPart(output, plan.requestDigest, number, written)), ...scored };
        } finally {
          await rm(folder, { recursive: true, force: true });
          await rm(written, { force: true });
        }
      });
    },

    /** Moves, then says that all is there: it can be repeated from any point. */
    async commitScoreBatch({
      plan: digest,
      parts,
    }: {
      plan: string;
      parts: readonly ScoredPart[];
    }): Promise<ScoreBatchResult> {
      const { request, requestDigest, batch, version, versionSha256, knowledge, files } = await readPlan(digest);
      const { manifest } = await getVersion(db, request.model, version);
      const sum = (of: (part: ScoredPart) => number): number => parts.reduce((total, part) => total + of(part), 0);
      const complete = await withHeartbeat(() =>
        completeOutput(request.output, parts, {
          format: 1,
          request: requestDigest,
          plan: digest,
          batch,
          model: request.model,
          version,
          versionSha256,
          featureSet: manifest.featureSet,
          asOf: request.asOf ?? null,
          knownSeq: knowledge?.seq ?? null,
          inputs: files,
          rows: sum(({ rows }) => rows),
          unscored: sum(({ unscored }) => unscored),
          positives: sum(({ positives }) => positives),
        }),
      );
      return resultOf(request.output, complete, false);
    },

    /** Removing twice leaves as little. */
    async discardScoreBatch({ request }: ScoreBatchInput): Promise<void> {
      await discardOutput(request.output, sha256(request));
    },
  };

  async function jobOf(plan: ScorePlan, number: number, outputPath: string, folder: string): Promise<ScoreJob> {
    const { request, version, knowledge, files, batch } = plan;
    const { manifest } = await getVersion(db, request.model, version);
    const { spec } = await getProjectVersion(db, manifest.project, manifest.projectDigest);
    const { slices, firstRow } = plan.parts[number]!;
    return {
      project: spec,
      manifest,
      modelPath: manifest.modelFile === null ? null : await blobs.localPath(manifest.modelFile),
      asOf: request.asOf ?? null,
      featuresReady: request.featuresReady,
      knowledge:
        knowledge === null
          ? null
          : {
              logs: await localLogs(knowledge.logFiles, blobs),
              cut: { at: knowledge.at, seq: knowledge.seq },
            },
      batch,
      slices: slices.map(({ file, from, to }) => ({ path: files[file]!.path, from, to })),
      firstRow,
      outputPath,
      folder,
      duckdb: shareOf(duckdbSettings(config), partsTogether(config.datasetThreads)),
    };
  }
}

/** 0 and nothing said leave it to the machine. */
function partsTogether(threads: number | undefined): number {
  return threads || Math.max(1, availableParallelism() - 1);
}

/** @throws SerinError INPUT_INVALID when nothing is there, or it is no Parquet */
async function listInput(duckdb: DuckDb, input: string): Promise<ScoreFile[]> {
  const found = await duckdb.rows(`SELECT file FROM glob(${textSql(input)}) ORDER BY file`);
  const paths = found.map(({ file }) => file as string);
  const refuse = (problem: string, cause?: unknown): SerinError =>
    new SerinError('INPUT_INVALID', `${input} ${problem}`, { cause, fields: { field: 'input' } });
  if (paths.length === 0) throw refuse('is not there, as far as the workers see');
  if (paths.length > FILES_MAX) throw refuse(`is ${paths.length} files: ${FILES_MAX} at most in a batch`);
  let rows: Map<string, number>;
  try {
    const counted = await duckdb.rows(`SELECT file_name, num_rows FROM parquet_file_metadata(${fileListSql(paths)})`);
    rows = new Map(counted.map((row) => [row['file_name'] as string, row['num_rows'] as number]));
  } catch (error) {
    throw refuse(`cannot be read as Parquet: ${(error as Error).message.split('\n', 1)[0]}`, error);
  }
  return Promise.all(paths.map(async (path) => ({ path, ...(await identityOf(path)), rows: rows.get(path)! })));
}

async function identityOf(path: string): Promise<Pick<ScoreFile, 'bytes' | 'modifiedMs'>> {
  const { size, mtimeMs } = await stat(path);
  return { bytes: size, modifiedMs: mtimeMs };
}

async function refuseChanged({ path, bytes, modifiedMs }: ScoreFile): Promise<void> {
  const found = await identityOf(path).catch(() => null);
  if (found?.bytes === bytes && found.modifiedMs === modifiedMs) return;
  throw new SerinError(
    'INPUT_CHANGED',
    `${path} ${found === null ? 'is gone' : 'is not the file it was'} since the batch was planned: start it again`,
    { fields: { path } },
  );
}

function resultOf(output: string, manifest: ScoreManifest, alreadyThere: boolean): ScoreBatchResult {
  const { version, rows, unscored, positives, files } = manifest;
  return { output, version, rows, unscored, positives, files: files.length, alreadyThere };
}
