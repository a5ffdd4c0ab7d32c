/** From the JSON form of a golden case to a call: null in a list is a missing value (NaN), "inf" an infinity. */
import {
  averagePrecision,
  brierScore,
  calibrationSlope,
  expectedCalibrationError,
  logLoss,
  rocAuc,
  thresholdMetrics,
} from '../../domain/statistics/classification.ts';
import { bettingCs } from '../../domain/statistics/betting.ts';
import { bootstrapMean } from '../../domain/statistics/bootstrap.ts';
import { delong } from '../../domain/statistics/delong.ts';
import {
  chi2Contingency,
  chi2Gof,
  divergences,
  ks2samp,
  meanShiftZ,
  nullRateTest,
  psiCounts,
  psiNumeric,
  wasserstein1,
} from '../../domain/statistics/drift.ts';
import { fairness } from '../../domain/statistics/fairness.ts';
import { mannWhitney } from '../../domain/statistics/mann-whitney.ts';
import { msprtPairs } from '../../domain/statistics/msprt.ts';
import { adjustPValues } from '../../domain/statistics/multiple-testing.ts';
import { DEFAULT_SMOOTHING, type Smoothing } from '../../domain/statistics/psi.ts';
import { rankingMetrics } from '../../domain/statistics/ranking.ts';
import { regressionMetrics } from '../../domain/statistics/regression.ts';
import {
  asymptoticCs,
  asymptoticCsAte,
  bernoulliEProcessBlocks,
  srm,
  srmSequential,
} from '../../domain/statistics/sequential.ts';
import { aucBySlice } from '../../domain/statistics/slices.ts';
import { cuped, mcnemar, twoProportionZ, welchT } from '../../domain/statistics/two-sample.ts';

type Input = Readonly<Record<string, unknown>>;

/** Every statistic by the name of its golden file. */
export const STATISTICS: Readonly<Record<string, (input: Input) => unknown>> = {
  auc_roc: (input) => ({ auc: rocAuc(list(input, 'y'), list(input, 'score'), optionalList(input, 'weight')) }),
  average_precision: (input) => ({
    ap: averagePrecision(list(input, 'y'), list(input, 'score'), optionalList(input, 'weight')),
  }),
  log_loss: (input) => ({
    log_loss: logLoss(list(input, 'y'), list(input, 'p'), {
      eps: numberOr(input, 'eps', 1e-15),
      weight: optionalList(input, 'weight'),
    }),
  }),
  brier: (input) => ({ brier: brierScore(list(input, 'y'), list(input, 'p'), optionalList(input, 'weight')) }),
  ece: (input) =>
    expectedCalibrationError(list(input, 'y'), list(input, 'p'), {
      bins: numberOr(input, 'bins', 10),
      strategy: input['mode'] as 'equal_width' | 'equal_mass',
    }),
  threshold_metrics: (input) =>
    thresholdMetrics(list(input, 'y'), list(input, 'score'), {
      threshold: number(input, 'threshold'),
      beta: numberOr(input, 'beta', 1),
      weight: optionalList(input, 'weight'),
    }),
  calibration_slope: (input) =>
    calibrationSlope(list(input, 'y'), list(input, 'p'), {
      eps: numberOr(input, 'eps', 1e-12),
      weight: optionalList(input, 'weight'),
    }),
  delong: (input) => delong(list(input, 'y'), list(input, 'score_a'), list(input, 'score_b')),
  slices: (input) =>
    aucBySlice(list(input, 'y'), list(input, 'score'), input['slice'] as string[], number(input, 'min_n')),
  fairness: (input) => fairness(list(input, 'y'), list(input, 'prediction'), input['group'] as string[]),
  ranking: (input) => {
    const queries = input['queries'] as Input[];
    return rankingMetrics(
      queries.map((query) => ({ relevance: list(query, 'relevance'), score: list(query, 'score') })),
      number(input, 'k'),
    );
  },
  regression: (input) => regressionMetrics(list(input, 'y'), list(input, 'prediction'), optionalList(input, 'weight')),

  psi_counts: (input) => psiCounts(list(input, 'ref'), list(input, 'cur'), smoothing(input)),
  psi_numeric: (input) =>
    psiNumeric(list(input, 'ref'), list(input, 'cur'), {
      bins: numberOr(input, 'bins', 10),
      smoothing: smoothing(input),
    }),
  ks_2samp: (input) => ks2samp(list(input, 'a'), list(input, 'b')),
  chi2_contingency: (input) => chi2Contingency((input['table'] as unknown[][]).map((row) => row.map(toNumber))),
  chi2_gof: (input) => chi2Gof(list(input, 'observed'), list(input, 'expected_weights')),
  divergences: (input) => divergences(list(input, 'p'), list(input, 'q')),
  wasserstein_1: (input) =>
    wasserstein1(list(input, 'a'), list(input, 'b'), optionalList(input, 'a_weight'), optionalList(input, 'b_weight')),
  null_rate_test: (input) =>
    nullRateTest({
      refNull: number(input, 'ref_null'),
      refN: number(input, 'ref_n'),
      curNull: number(input, 'cur_null'),
      curN: number(input, 'cur_n'),
    }),
  mean_shift_z: (input) =>
    meanShiftZ(list(input, 'cur'), { refMean: number(input, 'ref_mean'), refSd: number(input, 'ref_sd') }),

  two_proportion_z: (input) =>
    twoProportionZ(
      { x: number(input, 'x_a'), n: number(input, 'n_a') },
      { x: number(input, 'x_b'), n: number(input, 'n_b') },
      numberOr(input, 'level', 0.95),
    ),
  welch_t: (input) => welchT(list(input, 'a'), list(input, 'b'), numberOr(input, 'level', 0.95)),
  mann_whitney: (input) => mannWhitney(list(input, 'a'), list(input, 'b')),
  cuped: (input) =>
    cuped({ y: list(input, 'y_a'), x: list(input, 'x_a') }, { y: list(input, 'y_b'), x: list(input, 'x_b') }),
  mcnemar: (input) => mcnemar(number(input, 'only_a_wrong'), number(input, 'only_b_wrong')),
  multiple_testing: (input) => adjustPValues(list(input, 'p'), number(input, 'q')),
  bootstrap_mean: (input) =>
    bootstrapMean(list(input, 'x'), {
      level: numberOr(input, 'level', 0.95),
      resamples: numberOr(input, 'resamples', 10_000),
    }),

  msprt: (input) =>
    msprtPairs(list(input, 'a'), list(input, 'b'), {
      sigma2: number(input, 'sigma2'),
      tau2: number(input, 'tau2'),
      reportAt: list(input, 'report_at'),
    }),
  betting_cs: (input) =>
    bettingCs(list(input, 'x'), {
      alpha: number(input, 'alpha'),
      truncation: numberOr(input, 'truncation', 0.5),
      theta: numberOr(input, 'theta', 0.5),
      means: optionalList(input, 'm') ?? [],
      grid: numberOr(input, 'grid', 1000),
      reportAt: list(input, 'report_at'),
    }),
  bernoulli_eprocess: (input) =>
    bernoulliEProcessBlocks(list(input, 'successes_a'), list(input, 'successes_b'), {
      block: list(input, 'block') as [number, number],
      prior: numberOr(input, 'prior', 0.18),
      reportAt: list(input, 'report_at'),
    }),
  asymptotic_cs: (input) => asymptoticCs(list(input, 'x'), sequence(input)),
  asymptotic_cs_ate: (input) =>
    asymptoticCsAte(list(input, 'z'), list(input, 'y'), list(input, 'propensity'), sequence(input)),
  srm: (input) => srm(list(input, 'counts'), list(input, 'weights'), numberOr(input, 'concentration', 100)),
  srm_sequential: (input) =>
    srmSequential(list(input, 'assignment'), {
      weightOfOne: number(input, 'weight_of_one'),
      concentration: numberOr(input, 'concentration', 100),
      reportAt: list(input, 'report_at'),
    }),
};

function sequence(input: Input): { alpha: number; tStar: number; reportAt: number[] } {
  return { alpha: number(input, 'alpha'), tStar: number(input, 't_star'), reportAt: list(input, 'report_at') };
}

function smoothing(input: Input): Smoothing {
  return (input['smoothing'] as Smoothing | undefined) ?? DEFAULT_SMOOTHING;
}

function toNumber(value: unknown): number {
  if (value === null) return NaN;
  if (value === 'inf') return Infinity;
  if (value === '-inf') return -Infinity;
  if (value === 'nan') return NaN;
  if (typeof value === 'number') return value;
  throw new TypeError(`not a number in a golden file: ${JSON.stringify(value)}`);
}

function number(input: Input, name: string): number {
  return toNumber(input[name]);
}

function numberOr(input: Input, name: string, absent: number): number {
  return input[name] === undefined ? absent : number(input, name);
}

function list(input: Input, name: string): number[] {
  const value = input[name];
  if (!Array.isArray(value)) throw new TypeError(`the golden input has no list ${name}`);
  return value.map(toNumber);
}

function optionalList(input: Input, name: string): number[] | undefined {
  return input[name] === undefined || input[name] === null ? undefined : list(input, name);
}
