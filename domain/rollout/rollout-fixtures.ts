import type { Analysis, AnalysisPhase, Verdict } from './evidence.ts';
import type { RolloutPolicy } from './policy.ts';
import type { Actor, CommandType, EvidenceArrived, RolloutCommand, RolloutSpec } from './state.ts';

/** Builders for the tests of rollouts. One second is the unit of time in them. */
export const SECOND = 1_000_000;
export const DIGEST = 'sha256:seen';

export const author: Actor = { id: 'ada', roles: ['engineer', 'approver'] };
export const approver: Actor = { id: 'grace', roles: ['approver'] };
export const secondApprover: Actor = { id: 'joan', roles: ['approver'] };
export const operator: Actor = { id: 'oscar', roles: ['operator'] };
export const viewer: Actor = { id: 'vera', roles: ['viewer'] };

/** Shadow, 5 %, 20 %, an approval, 100 %, watch; 10 to 60 seconds a stage. */
export function aPolicy(overrides: Partial<RolloutPolicy> = {}): RolloutPolicy {
  const durations = { minDurationMs: 10_000, maxDurationMs: 60_000 };
  return {
    shadow: { minRequests: 100, ...durations, maxErrorRate: 0.01 },
    stages: [
      { weightPercent: 5, ...durations, minCanaryRequests: 100 },
      { weightPercent: 20, ...durations, minCanaryRequests: 100 },
      {
        weightPercent: 100,
        ...durations,
        minCanaryRequests: 0,
        approval: { role: 'approver', count: 1, expiresMs: 30_000 },
      },
    ],
    watch: { durationMs: 30_000 },
    guardrails: [{ metric: 'errors', margin: 0.005, direction: 'increase', required: true }],
    alphaRollback: 0.01,
    alphaAdvance: 0.05,
    targetSampleSize: 20_000,
    lookEveryMs: 1_000,
    onDeadline: 'askHuman',
    minBakeMs: 0,
    maxRolloutMs: 600_000,
    ...overrides,
  };
}

export function aSpec(overrides: Partial<RolloutPolicy> = {}): RolloutSpec {
  return {
    rolloutId: 'rollout/late-arrival/2',
    model: 'late-arrival',
    version: 2,
    author: author.id,
    policy: aPolicy(overrides),
  };
}

export function evidence(
  phase: AnalysisPhase,
  verdict: Verdict,
  seconds: number,
  evidenceDigest = DIGEST,
): EvidenceArrived {
  const analysis: Analysis = {
    phase,
    verdict,
    findings: [
      {
        metric: 'errors',
        estimate: 0,
        lower: 0,
        upper: 0,
        margin: 0.005,
        n: 1,
        verdict,
        sentence: `errors say ${verdict}`,
      },
    ],
  };
  return { type: 'EvidenceArrived', at: seconds * SECOND, analysis, evidenceDigest };
}

export function command(type: CommandType, actor: Actor, seconds: number, evidenceDigest?: string): RolloutCommand {
  return {
    type,
    actor,
    reason: `${type} in a test`,
    at: seconds * SECOND,
    ...(evidenceDigest === undefined ? {} : { evidenceDigest }),
  };
}
