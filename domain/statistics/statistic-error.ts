export type StatisticErrorCode =
  | 'empty'
  | 'length_mismatch'
  | 'single_class'
  | 'no_positives'
  | 'non_finite'
  | 'invalid_label'
  | 'invalid_weight'
  | 'out_of_range'
  | 'invalid_parameter'
  | 'zero_variance'
  | 'insufficient_n'
  | 'separation'
  | 'single_group';

/**
 * A statistic that has no value for its input. The code says which condition of the definition failed, so that a gate can
 * report `insufficient` with the reason instead of treating a made-up number as evidence.
 *
 * Every statistic checks in one order: length_mismatch, invalid_parameter, empty, non_finite, then invalid_label /
 * out_of_range / invalid_weight, then its own conditions (single_class, zero_variance, …).
 */
export class StatisticError extends Error {
  readonly code: StatisticErrorCode;

  constructor(code: StatisticErrorCode, detail: string) {
    super(detail);
    this.name = 'StatisticError';
    this.code = code;
  }
}
