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
import { delong } from '../../domain/statistics/delong.ts';
import { psiCounts, psiNumeric } from '../../domain/statistics/drift.ts';
import type { Smoothing } from '../../domain/statistics/psi.ts';
import {
  asymptoticCs,
  asymptoticCsAte,
  bernoulliEProcessBlocks,
  srm,
  srmSequential,
} from '../../domain/statistics/sequential.ts';

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
      bins: number(input, 'bins'),
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

  psi_counts: (input) => psiCounts(list(input, 'ref'), list(input, 'cur'), input['smoothing'] as Smoothing),
  psi_numeric: (input) =>
    psiNumeric(list(input, 'ref'), list(input, 'cur'), {
      bins: number(input, 'bins'),
      smoothing: input['smoothing'] as Smoothing,
    }),

  bernoulli_eprocess: (input) =>
    bernoulliEProcessBlocks(list(input, 'successes_a'), list(input, 'successes_b'), {
      block: list(input, 'block') as [number, number],
      prior: number(input, 'prior'),
      reportAt: list(input, 'report_at'),
    }),
  asymptotic_cs: (input) => asymptoticCs(list(input, 'x'), sequence(input)),
  asymptotic_cs_ate: (input) =>
    asymptoticCsAte(list(input, 'z'), list(input, 'y'), list(input, 'propensity'), sequence(input)),
  srm: (input) => srm(list(input, 'counts'), list(input, 'weights'), number(input, 'concentration')),
  srm_sequential: (input) =>
    srmSequential(list(input, 'assignment'), {
      weightOfOne: number(input, 'weight_of_one'),
      concentration: number(input, 'concentration'),
      reportAt: list(input, 'report_at'),
    }),
};

function sequence(input: Input): { alpha: number; tStar: number; reportAt: number[] } {
  return { alpha: number(input, 'alpha'), tStar: number(input, 't_star'), reportAt: list(input, 'report_at') };
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
