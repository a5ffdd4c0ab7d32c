import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { putMonitorWindow, raiseAlert, resolveAlert } from '../db/monitors.ts';
import { readLiveScores } from '../db/outcomes.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getModel, getVersion } from '../db/registry.ts';
import { getRoute } from '../db/routes.ts';
import { getDataset } from '../db/runs.ts';
import { SerinError } from '../domain/errors.ts';
import type { ColumnStatistics } from '../domain/features/dataset-manifest.ts';
import { personalDataOf } from '../domain/project/personal-data.ts';
import type { ModelSpec, MonitorSpec } from '../domain/project/spec.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import { brierScore } from '../domain/statistics/classification.ts';
import { binCounts, psiCounts } from '../domain/statistics/drift.ts';
import type { Micros } from '../domain/time.ts';
import type { Dependencies } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';

/** PSI from which a shift matters at all, however sure: Siddiqi's "significant change". */
const PSI_EFFECT_FLOOR = 0.25;
/** Live Brier loss may exceed the held-out one by this much before it is worth a person's time. */
const QUALITY_MARGIN = 0.03;
const WINDOW_ROWS = 50_000;

/** What one monitor saw in one window. */
interface MonitorReport {
  readonly rows: number;
  readonly value: number | null;
  readonly limit: number;
  readonly breached: boolean;
  readonly sentence: string;
}

export function createMonitoringActivities({ db, now }: Dependencies) {
  return {
    async getMonitorPlan({ model }: { model: string }): Promise<{ everyMs: number }> {
      const { monitors } = await contractOf(model);
      if (monitors.length === 0)
        throw new SerinError('SPEC_INVALID', `the model "${model}" declares no monitors: there is nothing to run`);
      return { everyMs: Math.min(...monitors.map(({ everyMs }) => everyMs)) };
    },

    /**
     * Looks at the answers since the last window with every monitor of the model. A window's report and a monitor's one open
     * alert are set, not added, so a retry changes nothing.
     */
    async runMonitors({
      model,
      after,
    }: {
      model: string;
      after: Micros | null;
    }): Promise<{ windowEnd: Micros; findings: readonly string[] }> {
      return withHeartbeat(async () => {
        const windowEnd = now();
        const contract = await contractOf(model);
        const windowStart = after ?? windowEnd - Math.max(...contract.monitors.map(({ everyMs }) => everyMs)) * 1_000;
        const { champion } = await getRoute(db, model);
        const { manifest } = await getVersion(db, model, champion);
        const findings: string[] = [];
        for (const monitor of contract.monitors) {
          const report = await look(contract, monitor, manifest, windowStart, windowEnd);
          await putMonitorWindow(db, {
            model,
            monitor: monitor.name,
            windowStart,
            windowEnd,
            version: champion,
            report,
          });
          if (report.breached) {
            findings.push(`${monitor.name}: ${report.sentence}`);
            await raiseAlert(db, {
              alertId: alertId(model, monitor.name, windowStart),
              model,
              monitor: monitor.name,
              severity: monitor.kind === 'quality' ? 'critical' : 'warning',
              owner: monitor.owner,
              runbook: monitor.runbook,
              sentence: report.sentence,
              raisedAt: windowEnd,
            });
          } else if (report.rows >= monitor.minRows) {
            await resolveAlert(db, { model, monitor: monitor.name, at: windowEnd });
          }
        }
        return { windowEnd, findings };
      });
    },
  };

  async function contractOf(model: string): Promise<ModelSpec> {
    const { project, projectDigest } = await getModel(db, model);
    const { spec } = await getProjectVersion(db, project, projectDigest);
    const contract = spec.models.find(({ name }) => name === model);
    if (contract === undefined)
      throw new SerinError('MODEL_NOT_FOUND', `the project "${project}" declares no model "${model}" any more`);
    return contract;
  }

  async function look(
    contract: ModelSpec,
    monitor: MonitorSpec,
    manifest: ModelVersionManifest,
    from: Micros,
    to: Micros,
  ): Promise<MonitorReport> {
    switch (monitor.kind) {
      case 'quality':
        return lookAtQuality(contract.name, monitor, manifest, from, to);
      case 'score-drift':
        return lookAtScores(contract.name, monitor, manifest, from, to);
      case 'input-drift':
        return lookAtInputs(contract.name, monitor, manifest, from, to);
    }
  }

  async function lookAtQuality(
    model: string,
    monitor: MonitorSpec,
    manifest: ModelVersionManifest,
    from: Micros,
    to: Micros,
  ): Promise<MonitorReport> {
    const { score, outcome, weight } = await readLiveScores(db, {
      model,
      version: manifest.version,
      from,
      to,
      limit: WINDOW_ROWS,
    });
    const baseline = manifest.evaluation?.brier.value ?? null;
    if (score.length < monitor.minRows || baseline === null)
      return nothing(score.length, QUALITY_MARGIN, 'labelled answers', monitor);
    const value = brierScore(outcome, score, weight);
    const sentence = `Brier loss ${value.toFixed(4)} over ${score.length} labelled answers, ${baseline.toFixed(4)} when it was evaluated (at most ${QUALITY_MARGIN} more is expected)`;
    return {
      rows: score.length,
      value,
      limit: baseline + QUALITY_MARGIN,
      breached: value > baseline + QUALITY_MARGIN,
      sentence,
    };
  }

  async function lookAtScores(
    model: string,
    monitor: MonitorSpec,
    manifest: ModelVersionManifest,
    from: Micros,
    to: Micros,
  ): Promise<MonitorReport> {
    const baseline = manifest.evaluation?.scores.histogram ?? null;
    const scores = await readColumn(model, manifest.version, from, to, sql`score`);
    if (scores.length < monitor.minRows || baseline === null)
      return nothing(scores.length, PSI_EFFECT_FLOOR, 'answers', monitor);
    const edges = Array.from({ length: baseline.length - 1 }, (_, bin) => (bin + 1) / baseline.length);
    return shift('the score', Float64Array.from(baseline), binCounts(scores, edges).counts, scores.length);
  }

  async function lookAtInputs(
    model: string,
    monitor: MonitorSpec,
    manifest: ModelVersionManifest,
    from: Micros,
    to: Micros,
  ): Promise<MonitorReport> {
    if (manifest.dataset === null) return nothing(0, PSI_EFFECT_FLOOR, 'answers of a trained version', monitor);
    const { statistics } = (await getDataset(db, manifest.dataset)).manifest;
    let worst: MonitorReport | undefined;
    const { spec } = await getProjectVersion(db, manifest.project, manifest.projectDigest);
    const personal = personalDataOf(spec, manifest.featureSet).features;
    for (const [index, column] of statistics.entries()) {
      // not in the log
      if (personal.includes(column.feature)) continue;
      const values = await readColumn(model, manifest.version, from, to, sql`features[${index + 1}::int]`);
      if (values.length < monitor.minRows) return nothing(values.length, PSI_EFFECT_FLOOR, 'logged answers', monitor);
      const report = shift(column.feature, baselineOf(column), currentOf(values, column), values.length);
      if (worst === undefined || (report.value ?? 0) > (worst.value ?? 0)) worst = report;
    }
    return worst ?? nothing(0, PSI_EFFECT_FLOOR, 'features', monitor);
  }

  async function readColumn(
    model: string,
    version: number,
    from: Micros,
    to: Micros,
    column: ReturnType<typeof sql>,
  ): Promise<Float64Array> {
    const { rows } = await sql<{ value: number | null }>`
      select ${column} as value from prediction
      where model = ${model} and version = ${version} and arm in ('champion', 'canary') and error is null
        and answered_at >= ${from} and answered_at < ${to}
      limit ${WINDOW_ROWS}`.execute(db);
    return Float64Array.from(rows, ({ value }) => value ?? Number.NaN);
  }
}

/** Values per bin, the missing ones in a bin of their own. */
function baselineOf({ counts, nulls }: ColumnStatistics): Float64Array {
  return Float64Array.of(...counts, nulls);
}

function currentOf(values: Float64Array, { edges }: ColumnStatistics): Float64Array {
  const present = values.filter((value) => !Number.isNaN(value));
  return Float64Array.of(...binCounts(present, edges).counts, values.length - present.length);
}

/** Breached when the shift is both large (the floor) and not chance: above the χ² critical value for the sample sizes. */
function shift(what: string, baseline: Float64Array, current: Float64Array, rows: number): MonitorReport {
  const { psi, critical_99: critical } = psiCounts(baseline, current);
  const limit = Math.max(PSI_EFFECT_FLOOR, critical);
  const breached = psi > limit;
  const sentence = `${what} has PSI ${psi.toFixed(3)} against the training baseline over ${rows} answers (limit ${limit.toFixed(3)})`;
  return { rows, value: psi, limit, breached, sentence };
}

function nothing(rows: number, limit: number, of: string, { minRows }: MonitorSpec): MonitorReport {
  return {
    rows,
    value: null,
    limit,
    breached: false,
    sentence: `${rows} ${of}: too few to tell (at least ${minRows})`,
  };
}

function alertId(model: string, monitor: string, windowStart: number): string {
  return createHash('sha256').update(`${model}/${monitor}/${windowStart}`).digest('hex').slice(0, 16);
}
