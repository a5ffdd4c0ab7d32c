import { normalQuantile } from '../statistics/special-functions.ts';
import type { GateEvidence, QualityEvidence } from './gate-evidence.ts';
import type { GateReport, GateResult, GateVerdict } from './gate-report.ts';
import { gateName, isBetterWhenLarger, limitText } from './gate-spec.ts';
import type { GateMetric, GateSpec } from './gate-spec.ts';

/** Judges every gate, also after one has failed: a person wants to see all that is wrong at once. */
export function evaluateGates(specs: readonly GateSpec[], evidence: GateEvidence): GateReport {
  const results = specs.map((gate): GateResult => ({
    gate,
    kind: gate.kind,
    name: gateName(gate),
    ...judge(gate, evidence),
  }));
  return { verdict: worstOf(results), results };
}

function worstOf(results: readonly GateResult[]): GateVerdict {
  if (results.some(({ verdict }) => verdict === 'fail')) return 'fail';
  return results.length > 0 && results.every(({ verdict }) => verdict === 'pass') ? 'pass' : 'insufficient';
}

type Judgement = Pick<GateResult, 'verdict' | 'observed' | 'limit' | 'sentence'>;

function judge(gate: GateSpec, evidence: GateEvidence): Judgement {
  const { evaluation, serving } = evidence;
  switch (gate.kind) {
    case 'schema':
      return judgeFindings(evidence.schema, 'the model file matches its feature set', 'the schema was not checked');
    case 'leakage':
      return judgeFindings(
        evidence.leakage?.map(({ sentence }) => sentence),
        'no feature leaks the label',
        'leakage was not checked',
      );
    case 'threshold':
      return evaluation === undefined
        ? insufficient('the model was not evaluated')
        : judgeThreshold(gate, metricOf(evaluation, gate.metric));
    case 'regression':
      return evaluation === undefined ? insufficient('the model was not evaluated') : judgeRegression(gate, evaluation);
    case 'slices':
      return evaluation === undefined
        ? insufficient('the model was not evaluated')
        : judgeSlices(gate, evaluation.slices);
    case 'calibration':
      return judgeAtMost('expected calibration error', evaluation?.calibration.ece, gate.maxEce, '');
    case 'latency':
      return judgeAtMost('p99 latency', serving?.loaded === true ? serving.latencyMsP99 : null, gate.p99Ms, ' ms');
    case 'parity':
      return judgeAtMost(
        'largest difference between served and evaluated scores',
        serving?.loaded === true && serving.rowsCompared > 0 ? serving.parityMaxAbsDifference : null,
        gate.maxAbsDifference,
        '',
      );
    case 'memory':
      return judgeAtMost('resident memory', serving?.loaded === true ? serving.rssMiB : null, gate.maxMiB, ' MiB');
  }
}

function judgeFindings(findings: readonly string[] | undefined, sound: string, unknown: string): Judgement {
  if (findings === undefined) return insufficient(unknown);
  const observed = findings.length;
  if (observed === 0) return { verdict: 'pass', observed, limit: 0, sentence: sound };
  const shown = findings.slice(0, 3).join('; ');
  return { verdict: 'fail', observed, limit: 0, sentence: observed > 3 ? `${shown}; and ${observed - 3} more` : shown };
}

function judgeThreshold(gate: GateSpec & { kind: 'threshold' }, observed: number | null): Judgement {
  const limit = limitOf(gate);
  if (!isMeasured(observed)) return insufficient(`${gate.metric} was not measured`, limit);
  return {
    verdict: isWithin(observed, gate) ? 'pass' : 'fail',
    observed,
    limit,
    sentence: `${gate.metric} is ${short(observed)}, the gate asks for ${limitText(gate)}`,
  };
}

/**
 * Harm is what the candidate loses: champion − candidate for auc, candidate − champion for log loss. The bound is one-sided,
 * harm + z(confidence)·standard error, by the normal approximation that the report's own interval rests on.
 */
function judgeRegression(
  { metric, maxHarm, confidence }: GateSpec & { kind: 'regression' },
  { comparison }: QualityEvidence,
): Judgement {
  const difference = metric === 'auc' ? comparison?.aucDifference : comparison?.logLossDifference;
  if (!isMeasured(difference?.value) || !isMeasured(difference?.standardError)) {
    return insufficient(`there is no comparison of ${metric} with the champion on the same rows`, maxHarm);
  }
  const harm = metric === 'auc' ? -difference.value : difference.value;
  const worst = harm + normalQuantile(confidence) * difference.standardError;
  const sentence = `${metric} ${signed(difference.value)} against the champion on the same rows; at ${confidence} confidence at most ${short(Math.max(0, worst))} worse, ${maxHarm} is allowed`;
  if (worst <= maxHarm) return { verdict: 'pass', observed: worst, limit: maxHarm, sentence };
  if (harm > maxHarm) return { verdict: 'fail', observed: worst, limit: maxHarm, sentence };
  return {
    verdict: 'insufficient',
    observed: worst,
    limit: maxHarm,
    sentence: `${sentence}: the rows are too few to tell`,
  };
}

function judgeSlices(gate: GateSpec & { kind: 'slices' }, slices: QualityEvidence['slices']): Judgement {
  const limit = limitOf(gate);
  const large = slices.filter(({ column, rows }) => column === gate.slice && rows >= gate.minRows);
  if (large.length === 0) return insufficient(`no value of the slice ${gate.slice} has ${gate.minRows} rows`, limit);
  const unknown = large.find((each) => !isMeasured(sliceMetric(each, gate.metric)));
  if (unknown !== undefined)
    return insufficient(`${gate.metric} of ${gate.slice} = ${unknown.value} was not measured`, limit);
  const measured = large.map((each) => ({ ...each, observed: sliceMetric(each, gate.metric) ?? Number.NaN }));
  const sign = isBetterWhenLarger(gate.metric) ? 1 : -1;
  const worst = measured.reduce((a, b) => (sign * b.observed < sign * a.observed ? b : a));
  const below = measured.filter(({ observed }) => !isWithin(observed, gate));
  return {
    verdict: below.length === 0 ? 'pass' : 'fail',
    observed: worst.observed,
    limit,
    sentence: `the worst of ${large.length} values of ${gate.slice} is ${worst.value} with ${gate.metric} ${short(worst.observed)} over ${worst.rows} rows; ${below.length} outside ${limitText(gate)}`,
  };
}

function judgeAtMost(what: string, observed: number | null | undefined, limit: number, unit: string): Judgement {
  if (!isMeasured(observed)) return insufficient(`the ${what} was not measured`, limit);
  return {
    verdict: observed <= limit ? 'pass' : 'fail',
    observed,
    limit,
    sentence: `the ${what} is ${short(observed)}${unit}, at most ${limit}${unit} is allowed`,
  };
}

function insufficient(sentence: string, limit: number | null = null): Judgement {
  return { verdict: 'insufficient', observed: null, limit, sentence };
}

function isWithin(
  observed: number,
  { min = -Infinity, max = Infinity }: { readonly min?: number; readonly max?: number },
): boolean {
  return observed >= min && observed <= max;
}

function limitOf({
  metric,
  min,
  max,
}: {
  readonly metric: GateMetric;
  readonly min?: number;
  readonly max?: number;
}): number | null {
  return (isBetterWhenLarger(metric) ? min : max) ?? null;
}

function metricOf(evaluation: QualityEvidence, metric: GateMetric): number | null {
  switch (metric) {
    case 'auc':
      return evaluation.auc?.value ?? null;
    case 'log_loss':
      return evaluation.logLoss.value;
    case 'brier':
      return evaluation.brier.value;
    case 'ece':
      return evaluation.calibration.ece;
  }
}

function sliceMetric({ auc, logLoss }: QualityEvidence['slices'][number], metric: 'auc' | 'log_loss'): number | null {
  return (metric === 'auc' ? auc : logLoss)?.value ?? null;
}

function isMeasured(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function short(value: number): string {
  return Number(value.toPrecision(4)).toString();
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${short(Math.abs(value))}`;
}
