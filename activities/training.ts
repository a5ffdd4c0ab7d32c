import { activityInfo, log } from '@temporalio/activity';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { appendDecision } from '../db/decisions.ts';
import { getProject, getProjectVersion } from '../db/projects.ts';
import { getModel, registerVersion } from '../db/registry.ts';
import { getDataset, getRun, openRun, putRunMetrics, type Run, updateRun } from '../db/runs.ts';
import type { BlobRef } from '../domain/blob.ts';
import { SerinError } from '../domain/errors.ts';
import { evaluateGates } from '../domain/gates/evaluate-gates.ts';
import type { GateReport, GateVerdict } from '../domain/gates/gate-report.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import { type TrainingCheckpoint, trainInThread } from '../training/train-in-thread.ts';
import { type Dependencies, sha256 } from './dependencies.ts';
import { evaluateRun } from './evaluation.ts';
import { withHeartbeat } from './heartbeat.ts';
import { NewestOnly } from './newest-only.ts';
import { modelOf, postProcessingOfRun, type RunPlan, type RunResult, trainingOf } from './training-plan.ts';

const CHECKPOINT_EVERY_STEPS = 10;
/** Metric points are written in pages: one statement for many steps. */
const METRIC_PAGE = 50;

/** What a heartbeat carries: where the next attempt goes on. */
interface TrainingHeartbeat {
  readonly step: number;
  readonly checkpoint: BlobRef | null;
}

export function createTrainingActivities(dependencies: Dependencies) {
  const { db, blobs, config, now } = dependencies;
  return {
    /** The run's id comes from the workflow execution, so a retry opens the same run. */
    async openRun({
      model,
      training: name,
      author,
      key,
    }: {
      model: string;
      training: string;
      author: string;
      key: string;
    }) {
      const { project } = await getModel(db, model);
      const { spec, digest } = await getProject(db, project);
      const training = trainingOf(spec, model, name);
      // the end of an execution's id is random, its beginning is the time in minutes
      const runId = `${model}-${name}-${key.slice(-12)}`;
      const params: RunPlan = { project, projectDigest: digest, training };
      await db
        .transaction()
        .execute((tx) =>
          openRun(tx, { runId, project, model, training: name, author, seed: training.seed, params, startedAt: now() }),
        );
      return { runId, project, projectDigest: digest };
    },

    async failRun({ runId, failure }: { runId: string; failure: string }): Promise<void> {
      await updateRun(db, runId, { status: 'failed', failure, endedAt: now() });
    },

    /**
     * Trains in a thread, from the checkpoint that the last attempt's heartbeat names. The trainer is deterministic, so a
     * resumed run ends with the bytes of an uninterrupted one; a finished one is found by its model file.
     */
    async train({ runId, dataset: digest }: { runId: string; dataset: string }): Promise<void> {
      const { plan, result } = await readRun(runId);
      if (result.modelFile !== undefined) return;
      const { manifest, file } = await getDataset(db, digest);
      await updateRun(db, runId, { dataset: digest });
      const directory = join(config.workDir, 'training', `${runId}-${activityInfo().attempt}`);
      await mkdir(directory, { recursive: true });
      try {
        const trained = await withHeartbeat(async ({ signal, progress }) => {
          let beat: TrainingHeartbeat = (activityInfo().heartbeatDetails as TrainingHeartbeat | undefined) ?? {
            step: 0,
            checkpoint: null,
          };
          progress(beat); // a heartbeat without it would make a third attempt forget the checkpoint
          if (beat.checkpoint !== null) log.info('training goes on from a checkpoint', { runId, step: beat.step });
          // steps can be quicker than the disk, and the trainer keeps only its last checkpoints: one that is gone is no loss
          const checkpoints = new NewestOnly<TrainingCheckpoint>(async ({ path, step }) => {
            try {
              beat = { step, checkpoint: await blobs.putFile(path) };
              progress(beat);
            } catch (error) {
              log.warn('a checkpoint was not stored; a retry goes on from the one before', { runId, step, error });
            }
          });
          const points: { name: string; step: number; value: number }[] = [];
          let writing: Promise<void> = Promise.resolve();
          const flush = () => {
            const page = points.splice(0);
            writing = writing.then(() => putRunMetrics(db, runId, page));
            writing.catch(() => undefined); // thrown below, when the training is over
          };
          const trained = await trainInThread({
            spec: plan.training.trainer,
            datasetPath: await blobs.localPath(file),
            columns: manifest.features,
            seed: plan.training.seed,
            ...(plan.training.calibration !== undefined && { calibration: plan.training.calibration }),
            outDir: directory,
            checkpointDir: join(directory, 'checkpoints'),
            checkpointEverySteps: CHECKPOINT_EVERY_STEPS,
            ...(beat.checkpoint !== null && { resumeFrom: await blobs.localPath(beat.checkpoint) }),
            signal,
            onProgress: ({ step, trainLogLoss, validationLogLoss }) => {
              points.push({ name: 'trainLogLoss', step, value: trainLogLoss });
              if (validationLogLoss !== null)
                points.push({ name: 'validationLogLoss', step, value: validationLogLoss });
              if (points.length >= METRIC_PAGE) flush();
              progress(beat);
            },
            onCheckpoint: (checkpoint) => checkpoints.offer(checkpoint),
          });
          flush();
          await Promise.all([writing, checkpoints.settled()]);
          return trained;
        });
        const next: RunResult = {
          ...result,
          modelFile: await blobs.putFile(trained.modelPath),
          ...(trained.testScoresPath !== null && { testScores: await blobs.putFile(trained.testScoresPath) }),
          importance: trained.importance,
          ...(trained.calibration !== undefined && { calibration: trained.calibration }),
          environment: trained.environment,
          trainRows: trained.trainRows,
          trainSeconds: trained.seconds,
          trainCpuSeconds: trained.cpuSeconds,
        };
        await updateRun(db, runId, { result: next });
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },

    /** Asks the real inference server, started with the candidate, and measures the answers. Sets its results: a retry measures anew. */
    async evaluate({ runId, dataset: digest }: { runId: string; dataset: string }): Promise<void> {
      const { run, plan, result } = await readRun(runId);
      const { manifest, file } = await getDataset(db, digest);
      const evaluated = await withHeartbeat((beating) =>
        evaluateRun(dependencies, { run, plan, result, manifest, file }, beating),
      );
      await updateRun(db, runId, { result: { ...result, ...evaluated } });
    },

    /** Judges the run's evidence. `dataset`: only the gates that need no model, before any is trained. */
    async decideGates({
      runId,
      dataset: digest,
      kinds,
    }: {
      runId: string;
      dataset: string;
      kinds: 'dataset' | 'all';
    }): Promise<{ verdict: GateVerdict; sentences: readonly string[] }> {
      const { run, plan, result } = await readRun(runId);
      const { manifest } = await getDataset(db, digest);
      const { spec } = await getProjectVersion(db, plan.project, plan.projectDigest);
      const gates = modelOf(spec, run.model).gates.filter(({ kind }) => kinds === 'all' || kind === 'leakage');
      if (kinds === 'dataset' && gates.length === 0) return { verdict: 'pass', sentences: [] };
      const report: GateReport = evaluateGates(gates, {
        leakage: manifest.leakage.filter(({ severity }) => severity === 'fail'),
        ...(result.schemaFindings !== undefined && { schema: result.schemaFindings }),
        ...(result.evaluation !== undefined && { evaluation: result.evaluation }),
        ...(result.serving !== undefined && { serving: result.serving }),
      });
      const stopped = report.verdict !== 'pass';
      const evidenceSha256 = sha256(report);
      await db.transaction().execute(async (tx) => {
        await updateRun(tx, runId, {
          dataset: digest,
          gateReport: report,
          ...(stopped && { status: 'gated', endedAt: now() }),
        });
        if (!stopped && kinds === 'dataset') return;
        await appendDecision(tx, {
          subject: `run/${runId}`,
          kind: stopped ? 'gated' : 'gatesPassed',
          actor: 'gates',
          reason: sentenceOf(report),
          evidenceSha256,
          payload: { model: run.model, training: run.training, dataset: digest, verdict: report.verdict },
          idempotencyKey: `gates/${runId}/${kinds}/${evidenceSha256}`,
          decidedAt: now(),
        });
      });
      const sentences = report.results
        .filter(({ verdict }) => verdict !== 'pass')
        .map(({ name, verdict, sentence }) => `${name} (${verdict}): ${sentence}`);
      return { verdict: report.verdict, sentences };
    },

    /** One version per run: a retry finds it registered. */
    async registerVersion({ runId }: { runId: string }): Promise<{ version: number }> {
      const { run, plan, result } = await readRun(runId);
      if (run.gateReport?.verdict !== 'pass') {
        throw new SerinError(
          'GATES_NOT_PASSED',
          `the gates of run ${runId} say ${run.gateReport?.verdict ?? 'nothing'}; only a run that passed them is registered`,
        );
      }
      const modelFile = result.modelFile;
      if (modelFile === undefined || run.dataset === null)
        throw new SerinError('MODEL_FILE_INVALID', `run ${runId} left no model file`);
      const { manifest: dataset } = await getDataset(db, run.dataset);
      const { spec } = await getProjectVersion(db, plan.project, plan.projectDigest);
      const gateReportSha256 = sha256(run.gateReport);
      return db.transaction().execute(async (tx) => {
        const manifest: ModelVersionManifest = {
          model: run.model,
          version: run.number,
          kind: 'onnx',
          project: plan.project,
          projectDigest: plan.projectDigest,
          featureSet: plan.training.featureSet,
          featureNames: dataset.features,
          modelFile,
          ...(result.goldens !== undefined && { goldens: result.goldens }),
          ...postProcessingOfRun(modelOf(spec, run.model), result),
          training: run.training,
          dataset: run.dataset,
          runId,
          evaluation: result.evaluation ?? null,
          gateReportSha256,
          author: run.author,
        };
        const version = await registerVersion(tx, { manifest, sha256: sha256(manifest), at: now() });
        await updateRun(tx, runId, { status: 'registered', version: version.version, endedAt: now() });
        await appendDecision(tx, {
          subject: `model/${run.model}/v${version.version}`,
          kind: 'registered',
          actor: run.author,
          reason: `run ${runId} passed its gates`,
          evidenceSha256: gateReportSha256,
          payload: { manifestSha256: version.manifestSha256, runId },
          idempotencyKey: `register/${runId}`,
          decidedAt: now(),
        });
        return { version: version.version };
      });
    },
  };

  async function readRun(runId: string): Promise<{ run: Run; plan: RunPlan; result: RunResult }> {
    const run = await getRun(db, runId);
    return { run, plan: run.params as RunPlan, result: (run.result ?? {}) as RunResult };
  }
}

function sentenceOf({ verdict, results }: GateReport): string {
  const not = results.filter((result) => result.verdict !== 'pass');
  return not.length === 0
    ? `${results.length} gates passed`
    : `${verdict}: ${not.map(({ name, sentence }) => `${name}: ${sentence}`).join('; ')}`;
}
