import {
  asymptoticLowerBound,
  asymptoticUpperBound,
  eProcessThreshold,
  momentsOf,
  SRM_ALARM,
  srmLogBayesFactor,
} from '../statistics/sequential.ts';
import type { Moments } from '../statistics/sequential.ts';
import { effectMoments, foldEvidence, isShare, sumsOf, weightOf } from './analysis-state.ts';
import type { AnalysisState, MetricState, PhaseCounts } from './analysis-state.ts';
import type {
  Analysis,
  AnalysisPhase,
  EvidenceBlock,
  Finding,
  FindingMetric,
  ShadowTally,
  Verdict,
} from './evidence.ts';
import { count, intervalText, percent, signedValue } from './finding-text.ts';
import type { Guardrail, GuardrailMetric, RolloutPolicy, ShadowStage } from './policy.ts';

export { INITIAL_ANALYSIS, type AnalysisState } from './analysis-state.ts';

/** Fewer canary requests than this and the normal approximation behind the intervals is not trusted. */
const LEAST_FOR_INTERVAL = 100;

/**
 * Harm below this part of the margin does not roll back, however surely it is measured: replicas differ a little for reasons
 * that are not the model, and with enough traffic any difference becomes certain. Such a version cannot advance either until
 * the whole interval lies inside the margin.
 */
const HARM_FLOOR = 0.25;

/**
 * Folds one block of evidence and says what follows, for everything seen so far. It can be asked as often as one likes: the
 * error bounds hold for all looks together.
 *
 * In this order: an e-process that proves the rates differ, with an effect beyond the margin, rolls back (exact at any sample
 * size); a broken sample ratio makes the rest void; an interval whose lower end is harm rolls back; and only when every
 * required guardrail's interval lies inside its margin, on enough canary requests, the stage advances. All else holds.
 *
 * Budgets: `alphaRollback` is shared by all guardrails, half to the e-process and half to the interval where there are both.
 * `alphaAdvance` is not shared, since all required guardrails must pass (an intersection-union test).
 */
export function analyse(
  policy: RolloutPolicy,
  before: AnalysisState,
  block: EvidenceBlock,
  phase: AnalysisPhase,
): { readonly state: AnalysisState; readonly analysis: Analysis } {
  const state = foldEvidence(policy, before, block, phase);
  return { state, analysis: { phase, ...conclude(policy, state, phase) } };
}

function conclude(
  policy: RolloutPolicy,
  state: AnalysisState,
  phase: AnalysisPhase,
): Pick<Analysis, 'verdict' | 'findings'> {
  switch (phase) {
    case 'shadow':
      return policy.shadow === null
        ? { verdict: 'hold', findings: [] }
        : concludeShadow(policy, policy.shadow, state.shadow);
    case 'watch':
      return concludeWatch(policy, state);
    default:
      return concludeStage(policy, state, phase);
  }
}

// ---- canary stages ------------------------------------------------------------------------------------------------------

function concludeStage(
  policy: RolloutPolicy,
  { counts, metrics }: AnalysisState,
  phase: AnalysisPhase,
): Pick<Analysis, 'verdict' | 'findings'> {
  const ratio = judgeRatio(counts, weightOf(policy, phase));
  const enough = judgeRequests(
    counts.canaryRequests,
    policy.stages[Number(phase.slice('stage:'.length))]?.minCanaryRequests ?? Infinity,
    'canary requests',
  );
  const judged = policy.guardrails.map((guardrail) => ({
    guardrail,
    ...judgeGuardrail(policy, guardrail, metrics[guardrail.metric]),
  }));
  const findings = [ratio, enough, ...judged.map(({ finding }) => finding)];
  if (judged.some(({ isCatastrophe }) => isCatastrophe)) return { verdict: 'rollback', findings };
  if (ratio.verdict === 'void') return { verdict: 'void', findings };
  if (judged.some(({ finding }) => finding.verdict === 'rollback')) return { verdict: 'rollback', findings };
  const proven = judged.every(({ guardrail, finding }) => !guardrail.required || finding.verdict === 'advance');
  return {
    verdict: proven && enough.verdict === 'advance' && ratio.verdict === 'advance' ? 'advance' : 'hold',
    findings,
  };
}

/** Lindon & Malek's Bayes factor of the unit counts against the configured split; void from 1000 on. */
function judgeRatio({ unitsChampion, unitsCanary }: PhaseCounts, weight: number): Finding {
  const n = unitsChampion + unitsCanary;
  const none = { metric: 'sampleRatio', lower: null, upper: null, margin: null, n } as const;
  if (n === 0)
    return { ...none, estimate: null, verdict: 'hold', sentence: 'no unit has been assigned under this weight yet' };
  const logBayesFactor = srmLogBayesFactor([unitsChampion, unitsCanary], [1 - weight, weight]);
  const share = unitsCanary / n;
  const seen = `the canary has ${percent(share)} of ${count(n)} units, the route says ${percent(weight)}`;
  if (logBayesFactor >= SRM_ALARM)
    return {
      ...none,
      estimate: share,
      verdict: 'void',
      sentence: `${seen}: the split is broken, nothing can be concluded`,
    };
  return { ...none, estimate: share, verdict: 'advance', sentence: seen };
}

function judgeRequests(n: number, least: number, what: string): Finding {
  const verdict: Verdict = n >= least ? 'advance' : 'hold';
  return {
    metric: 'requests',
    estimate: n,
    lower: null,
    upper: null,
    margin: least,
    n,
    verdict,
    sentence: `${count(n)} of ${count(least)} ${what}`,
  };
}

function judgeGuardrail(
  policy: RolloutPolicy,
  guardrail: Guardrail,
  state: MetricState,
): { finding: Finding; isCatastrophe: boolean } {
  const { metric, margin, direction } = guardrail;
  const n = state.canaryRequests;
  const moments = effectMoments(state);
  if (moments.n === 0 || n === 0) {
    const sentence = `${metric}: no canary request has been ${metric === 'loss' ? 'labelled' : 'answered'} yet`;
    return {
      isCatastrophe: false,
      finding: { metric, estimate: null, lower: null, upper: null, margin, n, verdict: 'hold', sentence },
    };
  }
  // A move either way is judged on the side it goes to, which looks at two tails instead of one.
  const sign = direction === 'either' && moments.mean < 0 ? -1 : 1;
  const tails = direction === 'either' ? 2 : 1;
  const alpha = rollbackAlpha(policy, metric) / tails;
  const tStar = policy.targetSampleSize;
  const harm: Moments = { ...moments, mean: sign * moments.mean };
  const lower = asymptoticLowerBound(harm, { alpha, tStar });
  const upper = asymptoticUpperBound(harm, { alpha: policy.alphaAdvance, tStar });
  // Even a canary without a single event shows a rate below the margin only from this many requests on.
  const least = isShare(metric)
    ? Math.max(LEAST_FOR_INTERVAL, Math.log(1 / policy.alphaAdvance) / margin)
    : LEAST_FOR_INTERVAL;
  const isInside = n >= least && upper < margin;
  const isHarm = n >= LEAST_FOR_INTERVAL && lower > HARM_FLOOR * margin;
  const isCatastrophe =
    state.separation !== null && state.separation.log_e >= eProcessThreshold(alpha) && harm.mean > margin;
  const verdict: Verdict = isCatastrophe ? 'rollback' : isInside ? 'advance' : isHarm ? 'rollback' : 'hold';
  const ends = sign === 1 ? { lower, upper } : { lower: -upper, upper: -lower };
  const interval = intervalText({ metric, estimate: moments.mean, ...ends, margin, n });
  const sentence = isCatastrophe ? `${interval}: an exact test is sure that the rates differ` : interval;
  return { isCatastrophe, finding: { metric, estimate: moments.mean, ...ends, margin, n, verdict, sentence } };
}

function rollbackAlpha({ alphaRollback, guardrails }: RolloutPolicy, metric: GuardrailMetric): number {
  return alphaRollback / guardrails.length / (isShare(metric) ? 2 : 1);
}

// ---- watch --------------------------------------------------------------------------------------------------------------

/**
 * With the champion gone there is no concurrent arm. Errors and slow answers are compared with what the champion did beside the
 * canary, with the margin on top; predictions and loss move with the world and are left to the monitors, but outcomes that
 * arrive late for requests of the canary stages still count as a comparison.
 */
function concludeWatch(policy: RolloutPolicy, state: AnalysisState): Pick<Analysis, 'verdict' | 'findings'> {
  const findings = policy.guardrails.flatMap((guardrail): Finding[] => {
    switch (guardrail.metric) {
      case 'errors':
      case 'slow':
        return [judgeWatched(policy, guardrail, state)];
      case 'loss': {
        const { finding } = judgeGuardrail(policy, guardrail, state.metrics.loss);
        return [finding.verdict === 'rollback' ? finding : { ...finding, verdict: 'hold' }];
      }
      case 'positives':
      case 'score':
        return [];
    }
  });
  return { verdict: findings.some(({ verdict }) => verdict === 'rollback') ? 'rollback' : 'hold', findings };
}

function judgeWatched(
  policy: RolloutPolicy,
  { metric, margin }: Guardrail,
  { metrics, watched }: AnalysisState,
): Finding {
  const reference = metrics[metric].champion;
  const moments = momentsOf(sumsOf(watched, metric));
  const { n } = moments;
  if (n < LEAST_FOR_INTERVAL || reference.n === 0) {
    const sentence = `${metric}: ${count(n)} requests watched, too few to compare`;
    return { metric, estimate: null, lower: null, upper: null, margin, n, verdict: 'hold', sentence };
  }
  // Three standard errors, so that an underestimated reference does not make harm of nothing.
  const allowed = reference.mean + 3 * Math.sqrt(reference.m2 / reference.n / reference.n);
  const bounds = { alpha: rollbackAlpha(policy, metric), tStar: policy.targetSampleSize };
  const estimate = moments.mean - allowed;
  const lower = asymptoticLowerBound(moments, bounds) - allowed;
  const upper = asymptoticUpperBound(moments, bounds) - allowed;
  const sentence = `as the champion, ${intervalText({ metric, estimate, lower, upper, margin, n })}`;
  return { metric, estimate, lower, upper, margin, n, verdict: lower > margin ? 'rollback' : 'hold', sentence };
}

// ---- shadow -------------------------------------------------------------------------------------------------------------

/** Both versions answered the same requests, so each limit is judged on one sample, by one-sided sequences. */
function concludeShadow(
  policy: RolloutPolicy,
  stage: ShadowStage,
  shadow: ShadowTally,
): Pick<Analysis, 'verdict' | 'findings'> {
  const { pairs, flips, errors, differenceSum, differenceSumSq } = shadow;
  const limits = [stage.maxErrorRate, stage.maxFlipRate, stage.maxMeanScoreShift].filter(
    (limit) => limit !== undefined,
  ).length;
  const budget = {
    tStar: policy.targetSampleSize,
    advance: policy.alphaAdvance,
    rollback: policy.alphaRollback / limits,
  };
  const findings: Finding[] = [judgeRequests(pairs, stage.minRequests, 'requests answered by both')];
  findings.push(judgeLimit('shadowErrors', shareMoments(pairs + errors, errors), stage.maxErrorRate, budget));
  if (stage.maxFlipRate !== undefined)
    findings.push(judgeLimit('flips', shareMoments(pairs, flips), stage.maxFlipRate, budget));
  if (stage.maxMeanScoreShift !== undefined) {
    const shift = momentsOf({ n: pairs, sum: differenceSum, sumSq: differenceSumSq });
    findings.push(
      judgeLimit('scoreShift', { ...shift, mean: Math.abs(shift.mean) }, stage.maxMeanScoreShift, {
        ...budget,
        rollback: budget.rollback / 2,
      }),
    );
  }
  if (findings.some(({ verdict }) => verdict === 'rollback')) return { verdict: 'rollback', findings };
  return { verdict: findings.every(({ verdict }) => verdict === 'advance') ? 'advance' : 'hold', findings };
}

/** With half an event added for the variance: no event at all is not proof of a rate of zero. */
function shareMoments(n: number, events: number): Moments {
  if (n === 0) return { n, mean: 0, m2: 0 };
  const rate = (events + 0.5) / (n + 1);
  return { n, mean: events / n, m2: n * rate * (1 - rate) };
}

interface Budget {
  readonly tStar: number;
  readonly advance: number;
  readonly rollback: number;
}

function judgeLimit(
  metric: FindingMetric,
  moments: Moments,
  limit: number,
  { tStar, advance, rollback }: Budget,
): Finding {
  const { n, mean } = moments;
  if (n === 0)
    return {
      metric,
      estimate: null,
      lower: null,
      upper: null,
      margin: limit,
      n,
      verdict: 'hold',
      sentence: `${metric}: no request has been mirrored yet`,
    };
  const lower = asymptoticLowerBound(moments, { alpha: rollback, tStar });
  const upper = asymptoticUpperBound(moments, { alpha: advance, tStar });
  const least =
    metric === 'scoreShift' ? LEAST_FOR_INTERVAL : Math.max(LEAST_FOR_INTERVAL, Math.log(1 / advance) / limit);
  const verdict: Verdict =
    n >= LEAST_FOR_INTERVAL && lower > limit ? 'rollback' : n >= least && upper < limit ? 'advance' : 'hold';
  const sentence =
    metric === 'scoreShift'
      ? `mean score differs by ${signedValue(mean)} [${signedValue(lower)}, ${signedValue(upper)}], at most ${limit} is allowed, n = ${count(n)}`
      : `${metric === 'flips' ? 'flipped labels' : 'shadow errors'} ${percent(mean)} [${percent(Math.max(0, lower))}, ${percent(upper)}], at most ${percent(limit)} is allowed, n = ${count(n)}`;
  return { metric, estimate: mean, lower, upper, margin: limit, n, verdict, sentence };
}
