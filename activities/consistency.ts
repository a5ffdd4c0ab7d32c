import type { Db } from '../db/database.ts';
import { fileBatchesAfter, getLastSequence, listLogFiles } from '../db/ingest.ts';
import { raiseAlert, resolveAlert } from '../db/monitors.ts';
import { listAnsweringVersions, type LoggedPrediction, sampleServed } from '../db/predictions.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getModel, getVersion } from '../db/registry.ts';
import { lastBuilds, type ViewBuild } from '../db/view-progress.ts';
import { SerinError } from '../domain/errors.ts';
import { personalDataOf } from '../domain/project/personal-data.ts';
import { type ModelSpec, type ProjectSpec, versioned } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import { findSkew, type ServedVector, type SkewedValue, type ViewLog } from '../features/offline/consistency.ts';
import type { CheckConsistencyResult } from '../workflows/messages.ts';
import { type Dependencies, withDuckDb, sha256 } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

/** Rows of one look and version, about: beyond it keys are drawn. */
const SAMPLE_ROWS = 20_000;
/** Rows that are being written now belong to the next look. */
const SETTLING_MICROS = 2_000_000;
/** An answer this long after a build has been read after it, whatever clocks and the way of the answer. */
const BUILD_MARGIN_MICROS = 60_000_000;
/** The monitor that alerts are raised under. */
const CONSISTENCY_MONITOR = 'feature-consistency';
const RUNBOOK = 'docs/runbooks/feature-skew.md';

interface VersionLook {
  /** Answers of the window that can be held against the log at all. */
  readonly checkable: number;
  readonly checked: number;
  readonly skewed: readonly SkewedValue[];
}

export function createConsistencyActivities(dependencies: Dependencies) {
  const { db } = dependencies;
  const check = createConsistencyCheck(dependencies);
  return {
    /** The sources behind the features of a model's answers, each with the last sequence that was pushed or ingested. */
    async getConsistencyPlan({
      model,
    }: {
      model: string;
    }): Promise<{ sources: readonly { readonly source: string; readonly lastSeq: number }[] }> {
      const { spec } = await contractOf(db, model);
      const sources = [...new Set(spec.views.map(({ source }) => source))];
      return {
        sources: await Promise.all(
          sources.map(async (source) => ({ source, lastSeq: await getLastSequence(db, source) })),
        ),
      };
    },

    /**
     * Computes the features of logged answers again, from the log and with what each read knew, and alerts when one value is
     * not what was served. Reads alone but for the alert, of which a model has at most one open: a retry changes nothing.
     */
    async checkConsistency({
      model,
      after,
      windowMicros,
    }: {
      model: string;
      after: Micros | null;
      windowMicros: Micros;
    }): Promise<CheckConsistencyResult> {
      return withHeartbeat(({ progress }) => check({ model, after, windowMicros }, progress));
    },
  };
}

export interface ConsistencyWindow {
  readonly model: string;
  /** The end of the last look; null: none. */
  readonly after: Micros | null;
  /** How far a look goes back that has none before it. */
  readonly windowMicros: Micros;
}

/** @returns looks once; `progress` is told of the answers that have been checked */
export function createConsistencyCheck({ db, blobs, config, now }: Dependencies) {
  return async (
    { model, after, windowMicros }: ConsistencyWindow,
    progress: (checked: number) => void,
  ): Promise<CheckConsistencyResult> => {
    const to = now() - SETTLING_MICROS;
    const from = after ?? to - windowMicros;
    const { contract } = await contractOf(db, model);
    const looks: VersionLook[] = [];
    for (const version of await listAnsweringVersions(db, { model, from, to })) {
      looks.push(await lookAtVersion(model, version, from, to));
      progress(looks.reduce((sum, { checked }) => sum + checked, 0));
    }
    const sum = (of: (look: VersionLook) => number): number => looks.reduce((total, look) => total + of(look), 0);
    const skewed = looks.flatMap((look) => look.skewed);
    const [checked, checkable] = [sum((look) => look.checked), sum((look) => look.checkable)];
    const sentence = sentenceOf(skewed, checked);
    if (skewed.length > 0) {
      await raiseAlert(db, {
        alertId: sha256([model, CONSISTENCY_MONITOR, from]).slice(0, 16),
        model,
        monitor: CONSISTENCY_MONITOR,
        severity: 'critical',
        owner: contract.owner,
        runbook: RUNBOOK,
        sentence,
        raisedAt: now(),
      });
    } else if (checked > 0) {
      await resolveAlert(db, { model, monitor: CONSISTENCY_MONITOR, at: now() });
    }
    return { windowEnd: to, checkable, checked, mismatches: skewed.length, sentence };
  };

  async function lookAtVersion(model: string, version: number, from: Micros, to: Micros): Promise<VersionLook> {
    const { manifest } = await getVersion(db, model, version);
    // features are what the definitions of the version's own project say, whatever has been applied since
    const { spec } = await getProjectVersion(db, manifest.project, manifest.projectDigest);
    const set = spec.featureSets.find((each) => versioned(each) === manifest.featureSet);
    if (set === undefined || set.views.length === 0) return { checkable: 0, checked: 0, skewed: [] };
    const keyFields = [...new Set(set.views.flatMap(({ key }) => key))].toSorted();
    const { rows, checkable } = await sampleServed(db, { model, version, from, to, keyFields, limit: SAMPLE_ROWS });
    const viewIds = [...new Set(set.views.map(({ view }) => view))];
    const { logs, builds } = await logsOf(spec, viewIds);
    const served = rows.flatMap((row) => servedVector(row, viewIds, builds));
    const found = await withDuckDb(config, (duckdb) =>
      findSkew({ spec, featureSet: manifest.featureSet, served, logs, blobs, duckdb }),
    );
    // personal features are not logged: that they are missing says nothing
    const personal = new Set(personalDataOf(spec, manifest.featureSet).features);
    const skewed = found.filter(({ feature }) => !personal.has(feature));
    return { checkable, checked: served.length, skewed };
  }

  /** What each view has been made of: the log as it was when it was built, and what has been pushed since. */
  async function logsOf(
    spec: ProjectSpec,
    viewIds: readonly string[],
  ): Promise<{ logs: Map<string, ViewLog>; builds: ReadonlyMap<string, ViewBuild> }> {
    const builds = await lastBuilds(db, viewIds);
    const logs = new Map<string, ViewLog>();
    for (const id of viewIds) {
      const { source } = spec.views.find((view) => versioned(view) === id)!;
      const unseen = await fileBatchesAfter(db, source, builds.get(id)?.seq ?? 0);
      logs.set(id, { files: await listLogFiles(db, source), unseen });
    }
    return { logs, builds };
  }
}

async function contractOf(db: Db, model: string): Promise<{ contract: ModelSpec; spec: ProjectSpec }> {
  const { project, projectDigest } = await getModel(db, model);
  const { spec } = await getProjectVersion(db, project, projectDigest);
  const contract = spec.models.find(({ name }) => name === model);
  if (contract === undefined)
    throw new SerinError('MODEL_NOT_FOUND', `the project "${project}" declares no model "${model}" any more`);
  return { contract, spec };
}

/**
 * None for an answer from before a view was last built: what the view lacked then is not known any more. The look of that time
 * has held it against the log.
 */
function servedVector(
  { predictionId, request, asOf, answeredAt, features, known }: LoggedPrediction,
  viewIds: readonly string[],
  builds: ReadonlyMap<string, ViewBuild>,
): ServedVector[] {
  if (known === null) return [];
  for (const viewId of viewIds) {
    const build = builds.get(viewId);
    if (build === undefined || answeredAt < build.at + BUILD_MARGIN_MICROS) return [];
  }
  return [{ id: predictionId, request, asOf, readAt: known.readAt, knownSeq: known.knownSeq, values: features }];
}

function sentenceOf(skewed: readonly SkewedValue[], checked: number): string {
  const [first] = skewed;
  if (first === undefined) {
    return checked === 0
      ? 'no logged answer could be held against the log'
      : `the features of ${checked} logged answers are those of the log`;
  }
  const answers = new Set(skewed.map(({ id }) => id)).size;
  const rest = skewed.length === 1 ? '' : `; ${skewed.length} values of ${answers} of ${checked} answers differ`;
  return `${first.feature} was ${shown(first.served)} in the answer ${first.id} and is ${shown(first.recomputed)} by the log${rest}`;
}

function shown(value: number | null): string {
  return value === null ? 'missing' : String(value);
}
