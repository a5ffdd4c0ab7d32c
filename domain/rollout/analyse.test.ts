import fc from 'fast-check';
import { expect, test } from 'vitest';
import { analyse, INITIAL_ANALYSIS } from './analyse.ts';
import type { AnalysisState } from './analyse.ts';
import { mergeShadows, mergeTallies, NO_SHADOW, NO_TALLY } from './evidence.ts';
import type { Analysis, AnalysisPhase, ArmTally, EvidenceBlock, ShadowTally, Verdict } from './evidence.ts';
import type { Guardrail, RolloutPolicy } from './policy.ts';
import { aPolicy } from './rollout-fixtures.ts';
import { binomial, normal, randomFrom } from './simulated-traffic.ts';

const errorsGuardrail: Guardrail = { metric: 'errors', margin: 0.005, direction: 'increase', required: true };
const slowGuardrail: Guardrail = { metric: 'slow', margin: 0.02, direction: 'increase', required: true };
const positivesGuardrail: Guardrail = { metric: 'positives', margin: 0.02, direction: 'either', required: true };
const lossGuardrail: Guardrail = { metric: 'loss', margin: 0.01, direction: 'increase', required: true };

function aBlock(overrides: Partial<EvidenceBlock> = {}): EvidenceBlock {
  const { champion = NO_TALLY, canary = NO_TALLY } = overrides;
  return {
    fromAt: 0,
    toAt: 1,
    weight: 0.05,
    champion,
    canary,
    shadow: NO_SHADOW,
    unitsChampion: champion.requests,
    unitsCanary: canary.requests,
    ...overrides,
  };
}

function tally(requests: number, overrides: Partial<ArmTally> = {}): ArmTally {
  return { ...NO_TALLY, requests, ...overrides };
}

/** The last analysis of several blocks. */
function analyseAll(
  policy: RolloutPolicy,
  blocks: readonly EvidenceBlock[],
  phase: AnalysisPhase,
  from: AnalysisState = INITIAL_ANALYSIS,
) {
  let state = from;
  let analysis: Analysis | undefined;
  for (const block of blocks) ({ state, analysis } = analyse(policy, state, block, phase));
  if (analysis === undefined) throw new Error('the test gave no block');
  return { state, analysis };
}

const sound = aBlock({ champion: tally(95_000, { errors: 950 }), canary: tally(5_000, { errors: 50 }) });

// ---- single looks -------------------------------------------------------------------------------------------------------

test('without data a stage holds', () => {
  expect(analyseAll(aPolicy(), [aBlock()], 'stage:0').analysis.verdict).toBe('hold');
});

test('a version as good as the champion advances, and the finding says it with numbers', () => {
  const { analysis } = analyseAll(aPolicy(), [sound, sound], 'stage:0');
  expect(analysis.verdict).toBe('advance');
  expect(analysis.findings.at(-1)?.sentence).toMatch(
    /^errors [+−]0\.\d\d pp \[−0\.\d\d, \+0\.\d\d\], margin 0\.50 pp, n = 10,000$/,
  );
});

test('scores that shift roll back either way, scores that stay advance, and errors have none', () => {
  const policy = aPolicy({ guardrails: [{ metric: 'score', margin: 0.05, direction: 'either', required: true }] });
  const scored = (requests: number, mean: number, errors = 0) => {
    const answered = requests - errors;
    return tally(requests, { errors, scoreSum: answered * mean, scoreSumSq: answered * (mean * mean + 0.01) });
  };
  const look = (mean: number, errors = 0) =>
    analyseAll(policy, [aBlock({ champion: scored(19_000, 0.2), canary: scored(1_000, mean, errors) })], 'stage:0')
      .analysis;
  expect(look(0.2).verdict).toBe('advance');
  expect(look(0.2).findings.at(-1)).toMatchObject({ metric: 'score', verdict: 'advance', n: 1_000 });
  expect(look(0.35).verdict).toBe('rollback');
  expect(look(0.05).verdict).toBe('rollback');
  expect(look(0.2, 100).findings.at(-1)).toMatchObject({ n: 900 });
  expect(look(0.35).findings.at(-1)?.sentence).toMatch(
    /^score \+0\.1\d+ \[\+0\.\d+, \+0\.\d+\], margin 0\.0500, n = 1,000$/,
  );
});

test('a stage does not advance before its canary requests, and those of another weight do not count', () => {
  const policy = aPolicy();
  const { state } = analyseAll(policy, [sound, sound], 'stage:0');
  expect(analyseAll(policy, [sound], 'stage:1', state).analysis).toMatchObject({ verdict: 'hold' });
  const twenty = aBlock({ weight: 0.2, champion: tally(400), canary: tally(100) });
  expect(analyseAll(policy, [sound, twenty], 'stage:1', state).analysis.verdict).toBe('advance');
});

test('a canary that gets nothing never advances, and is void once that cannot be chance', () => {
  const one = aBlock({ champion: tally(20, { errors: 0 }) });
  expect(analyseAll(aPolicy(), [one], 'stage:0').analysis.verdict).toBe('hold');
  expect(
    analyseAll(
      aPolicy(),
      Array.from({ length: 50 }, () => one),
      'stage:0',
    ).analysis.verdict,
  ).toBe('void');
});

test('a canary that gets more units than the route says is void, even while it looks good', () => {
  const skewed = aBlock({ champion: tally(94_000, { errors: 940 }), canary: tally(6_000, { errors: 60 }) });
  expect(analyseAll(aPolicy(), [skewed], 'stage:0').analysis).toMatchObject({ verdict: 'void' });
});

test('a catastrophe rolls back even where the split is broken, since that can only be the canary', () => {
  const broken = Array.from({ length: 20 }, () =>
    aBlock({ champion: tally(950, { errors: 9 }), canary: tally(200, { errors: 100 }) }),
  );
  expect(analyseAll(aPolicy(), broken, 'stage:0').analysis.verdict).toBe('rollback');
});

test('a canary without a single event does not advance on luck', () => {
  const lucky = aBlock({ champion: tally(3_800, { errors: 38 }), canary: tally(200) });
  expect(
    analyseAll(aPolicy({ stages: [{ ...aPolicy().stages[0]!, minCanaryRequests: 1 }] }), [lucky], 'stage:0').analysis
      .verdict,
  ).toBe('hold');
});

test('a guardrail that is not required holds nothing up but still rolls back', () => {
  const policy = aPolicy({ guardrails: [errorsGuardrail, { ...lossGuardrail, required: false }] });
  expect(analyseAll(policy, [sound, sound], 'stage:0').analysis.verdict).toBe('advance');
  const losing = {
    ...sound,
    champion: { ...sound.champion, labelled: 5_000, lossSum: 750, lossSumSq: 160 },
    canary: { ...sound.canary, labelled: 5_000, lossSum: 1_500, lossSumSq: 600 },
    labelWeight: 0.5,
  };
  expect(analyseAll(policy, [losing, losing], 'stage:0').analysis.verdict).toBe('rollback');
});

test('a required loss without labels holds', () => {
  expect(
    analyseAll(aPolicy({ guardrails: [errorsGuardrail, lossGuardrail] }), [sound, sound], 'stage:0').analysis.verdict,
  ).toBe('hold');
});

test('labels weigh by the share that was in force when they were assigned, not by the one now', () => {
  const policy = aPolicy({ guardrails: [lossGuardrail] });
  const labelled = (n: number) => ({ labelled: n, lossSum: 0.15 * n, lossSumSq: 0.045 * n });
  const late = aBlock({
    weight: 0.2,
    labelWeight: 0.05,
    champion: tally(8_000, labelled(95_000)),
    canary: tally(2_000, labelled(5_000)),
  });
  const { analysis } = analyseAll(policy, [late, late, late], 'stage:1');
  expect(analysis.findings.at(-1)).toMatchObject({ metric: 'loss', n: 15_000 });
  expect(Math.abs(analysis.findings.at(-1)?.estimate ?? 1)).toBeLessThan(1e-9);
});

test('predictions that move down are harm as much as those that move up', () => {
  const policy = aPolicy({ guardrails: [positivesGuardrail] });
  const moved = (positives: number) =>
    aBlock({ champion: tally(9_500, { positives: 1_900 }), canary: tally(500, { positives }) });
  expect(analyseAll(policy, [moved(100), moved(30), moved(30), moved(30)], 'stage:0').analysis.verdict).toBe(
    'rollback',
  );
  expect(analyseAll(policy, [moved(100), moved(180), moved(180), moved(180)], 'stage:0').analysis.verdict).toBe(
    'rollback',
  );
  expect(
    analyseAll(aPolicy({ guardrails: [slowGuardrail] }), [moved(100), moved(180)], 'stage:0').analysis.verdict,
  ).not.toBe('rollback');
});

test('the state survives JSON, so a look can go on in another process', () => {
  const policy = aPolicy({ guardrails: [errorsGuardrail, lossGuardrail] });
  const { state } = analyseAll(policy, [sound], 'stage:0');
  const revived = JSON.parse(JSON.stringify(state)) as AnalysisState;
  expect(analyse(policy, revived, sound, 'stage:0')).toEqual(analyse(policy, state, sound, 'stage:0'));
});

// ---- shadow -------------------------------------------------------------------------------------------------------------

const shadowPolicy = aPolicy({
  shadow: {
    minRequests: 500,
    minDurationMs: 0,
    maxDurationMs: 1,
    maxErrorRate: 0.01,
    maxFlipRate: 0.1,
    maxMeanScoreShift: 0.05,
  },
});
const mirrored = (overrides: Partial<ShadowTally>) => [
  aBlock({
    weight: 0,
    shadow: { pairs: 5_000, flips: 150, differenceSum: 25, differenceSumSq: 50, errors: 0, ...overrides },
  }),
];

test.each<[string, Partial<ShadowTally>, Verdict]>([
  ['few flips, no errors, a small shift', {}, 'advance'],
  ['too few requests', { pairs: 400, flips: 10, differenceSum: 2, differenceSumSq: 4 }, 'hold'],
  ['nothing mirrored', { pairs: 0, flips: 0, differenceSum: 0, differenceSumSq: 0 }, 'hold'],
  ['many flips', { flips: 1_000 }, 'rollback'],
  ['many errors', { errors: 200 }, 'rollback'],
  ['scores that shift', { differenceSum: -600, differenceSumSq: 150 }, 'rollback'],
  ['flips about at the limit', { flips: 490 }, 'hold'],
])('shadow: %s', (_, overrides, verdict) => {
  expect(analyseAll(shadowPolicy, mirrored(overrides), 'shadow').analysis.verdict).toBe(verdict);
});

// ---- watch --------------------------------------------------------------------------------------------------------------

test('errors that rise after the promotion roll back, under whichever arm the nodes count the new champion', () => {
  const { state } = analyseAll(aPolicy(), [sound, sound], 'stage:0');
  const failing = tally(2_000, { errors: 120 });
  for (const arms of [{ champion: failing }, { canary: failing }]) {
    expect(analyseAll(aPolicy(), [aBlock({ weight: 1, ...arms })], 'watch', state).analysis.verdict).toBe('rollback');
  }
  expect(
    analyseAll(aPolicy(), [aBlock({ weight: 1, champion: tally(2_000, { errors: 22 }) })], 'watch', state).analysis
      .verdict,
  ).toBe('hold');
});

test('outcomes that come late for canary requests can still take the version back in its watch', () => {
  const policy = aPolicy({ guardrails: [errorsGuardrail, lossGuardrail] });
  const { state } = analyseAll(policy, [sound, sound], 'stage:0');
  const labels = (mean: number, n: number) => ({ labelled: n, lossSum: mean * n, lossSumSq: (mean * mean + 0.04) * n });
  const late = aBlock({
    weight: 0.05,
    champion: tally(0, labels(0.15, 9_500)),
    canary: tally(0, labels(0.3, 500)),
    unitsChampion: 0,
    unitsCanary: 0,
  });
  expect(analyseAll(policy, [late, late, late], 'watch', state).analysis.verdict).toBe('rollback');
});

// ---- laws of the tallies ------------------------------------------------------------------------------------------------

const someTally = fc.record(
  Object.fromEntries(Object.keys(NO_TALLY).map((key) => [key, fc.nat(1_000_000)])) as Record<
    keyof ArmTally,
    fc.Arbitrary<number>
  >,
);
const someShadow = fc.record(
  Object.fromEntries(Object.keys(NO_SHADOW).map((key) => [key, fc.nat(1_000_000)])) as Record<
    keyof ShadowTally,
    fc.Arbitrary<number>
  >,
);

test('tallies merge in any order and grouping, and with nothing they stay themselves', () => {
  fc.assert(
    fc.property(someTally, someTally, someTally, (a, b, c) => {
      expect(mergeTallies(a, mergeTallies(b, c))).toEqual(mergeTallies(mergeTallies(a, b), c));
      expect(mergeTallies(a, b)).toEqual(mergeTallies(b, a));
      expect(mergeTallies(a, NO_TALLY)).toEqual(a);
    }),
  );
  fc.assert(
    fc.property(someShadow, someShadow, someShadow, (a, b, c) => {
      expect(mergeShadows(a, mergeShadows(b, c))).toEqual(mergeShadows(mergeShadows(a, b), c));
      expect(mergeShadows(a, b)).toEqual(mergeShadows(b, a));
      expect(mergeShadows(a, NO_SHADOW)).toEqual(a);
    }),
  );
});

// ---- error rates over simulated rollouts --------------------------------------------------------------------------------

interface Scenario {
  readonly errors?: number;
  readonly slow?: number;
  readonly positives?: number;
  readonly meanLoss?: number;
  /** The canary's real share where it is not the configured one. */
  readonly realShare?: number;
  readonly diurnal?: number;
  readonly requestsPerTick?: number;
}

interface Played {
  readonly verdict: Verdict | 'inconclusive';
  readonly canaryRequests: number;
}

const TICKS = 96;
/** Nothing is promoted before. */
const BAKE_TICKS = 48;
const WEIGHTS = [0.05, 0.2, 0.5];
const simulated = aPolicy({
  stages: WEIGHTS.map((weight) => ({
    weightPercent: 100 * weight,
    minDurationMs: 1,
    maxDurationMs: 1,
    minCanaryRequests: 500,
  })),
  guardrails: [errorsGuardrail, slowGuardrail, positivesGuardrail, lossGuardrail],
});

/** One rollout of 96 looks over 5, 20 and 50 %, 2,000 requests a look: errors 1 %, slow 10 %, positives 10 %, loss 0.15 ± 0.2. */
function playRollout(seed: number, scenario: Scenario): Played {
  const random = randomFrom(seed * 7_919 + 13);
  const { requestsPerTick = 2_000, diurnal = 0 } = scenario;
  let state = INITIAL_ANALYSIS;
  let canaryRequests = 0;
  for (let tick = 0; tick < TICKS; tick++) {
    const stage = Math.floor((tick * WEIGHTS.length) / TICKS);
    const weight = WEIGHTS[stage] ?? 0.5;
    const inCanary = binomial(random, requestsPerTick, scenario.realShare ?? weight);
    const swing = 1 + diurnal * Math.sin((2 * Math.PI * tick) / 48);
    const arm = (n: number, errors: number, slow: number, positives: number, meanLoss: number): ArmTally => {
      const mean = n === 0 ? 0 : meanLoss + (0.2 * normal(random)) / Math.sqrt(n);
      return {
        ...NO_TALLY,
        requests: n,
        errors: binomial(random, n, errors * swing),
        slow: binomial(random, n, slow * swing),
        positives: binomial(random, n, positives * swing),
        labelled: n,
        lossSum: mean * n,
        lossSumSq: (mean * mean + 0.04) * n,
      };
    };
    const champion = arm(requestsPerTick - inCanary, 0.01, 0.1, 0.1, 0.15);
    const canary = arm(
      inCanary,
      scenario.errors ?? 0.01,
      scenario.slow ?? 0.1,
      scenario.positives ?? 0.1,
      scenario.meanLoss ?? 0.15,
    );
    canaryRequests += inCanary;
    const step = analyse(simulated, state, aBlock({ weight, champion, canary }), `stage:${stage}`);
    state = step.state;
    const { verdict } = step.analysis;
    if (verdict === 'rollback' || verdict === 'void' || (verdict === 'advance' && tick >= BAKE_TICKS))
      return { verdict, canaryRequests };
  }
  return { verdict: 'inconclusive', canaryRequests };
}

function playMany(runs: number, scenario: Scenario) {
  const played = Array.from({ length: runs }, (_, seed) => playRollout(seed, scenario));
  const share = (verdict: Played['verdict']) => played.filter((each) => each.verdict === verdict).length / runs;
  const requests = played.map((each) => each.canaryRequests).toSorted((a, b) => a - b);
  return { share, medianRequests: requests[Math.floor(runs / 2)] ?? Infinity };
}

test('an equal model is promoted at least 95 times in 100 and rolled back at most once', () => {
  const { share } = playMany(400, {});
  expect(share('advance')).toBeGreaterThanOrEqual(0.95);
  expect(share('rollback')).toBeLessThanOrEqual(0.01);
});

test('swings of the day in both arms are not taken for harm', () => {
  const { share } = playMany(200, { diurnal: 0.5 });
  expect(share('advance')).toBeGreaterThanOrEqual(0.95);
  expect(share('rollback')).toBeLessThanOrEqual(0.01);
});

test('with too little traffic an equal model is neither promoted by luck nor rolled back', () => {
  const { share } = playMany(200, { requestsPerTick: 60 });
  expect(share('rollback')).toBeLessThanOrEqual(0.01);
  expect(share('inconclusive')).toBeGreaterThanOrEqual(0.95);
});

test.each<[string, Scenario, number]>([
  ['doubled errors', { errors: 0.02 }, 2_500],
  ['errors times five', { errors: 0.05 }, 400],
  ['errors times twenty', { errors: 0.2 }, 250],
  ['many more slow answers', { slow: 0.18 }, 500],
  ['half the positive answers', { positives: 0.05 }, 1_000],
  ['a loss twice as high', { meanLoss: 0.3 }, 500],
])(
  '%s are always rolled back, after a median of canary requests within the goal',
  (_, scenario, goal) => {
    const { share, medianRequests } = playMany(100, scenario);
    expect(share('rollback')).toBe(1);
    expect(medianRequests).toBeLessThanOrEqual(goal);
  },
  60_000,
);

test('a model exactly at a margin is promoted at most 5 times in 100', () => {
  for (const scenario of [{ errors: 0.015 }, { slow: 0.12 }, { positives: 0.08 }, { meanLoss: 0.16 }]) {
    expect(playMany(100, scenario).share('advance')).toBeLessThanOrEqual(0.05);
  }
});

test('a split that is not the configured one is void, and a canary without traffic is never promoted', () => {
  expect(playMany(50, { realShare: 0 }).share('void')).toBe(1);
  expect(playMany(50, { realShare: 0.07 }).share('void')).toBe(1);
});
