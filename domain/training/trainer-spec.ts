import { SerinError } from '../errors.ts';

/** L2-penalised logistic regression, fitted by Newton's method on standardised columns. */
export interface LogisticSpec {
  readonly kind: 'logistic';
  /** Penalty ½·l2·‖w‖² added to the summed log loss (scikit-learn's 1/C). Above 0, so that separable data stay bounded. */
  readonly l2: number;
  /** Upper bound on Newton steps; about 6 suffice unless the data are nearly separable. */
  readonly maxIterations: number;
  /** Share of the training rows, the latest by time, held out of the fit to measure it; 0 measures the fit alone. */
  readonly validationFraction: number;
}

/** Histogram gradient-boosted trees with logistic loss, grown leaf by leaf. */
export interface GbtSpec {
  readonly kind: 'gbt';
  readonly trees: number;
  /** Leaves per tree, at most. */
  readonly leaves: number;
  readonly learningRate: number;
  readonly minRowsPerLeaf: number;
  /** Least sum of p·(1 − p) in a leaf: keeps leaves of certain rows from taking huge steps. */
  readonly minHessianPerLeaf: number;
  /** A split must improve the objective by more than this. */
  readonly minGain: number;
  /** Penalty on squared leaf values. */
  readonly l2: number;
  /** Value bins per column (missing has its own). */
  readonly maxBins: number;
  /** As for logistic: the latest rows by time, held out of the fit. */
  readonly validationFraction: number;
  /** Stop after this many trees without a lower validation loss, and keep the trees up to the best; 0 never stops early. */
  readonly earlyStoppingTrees: number;
}

export type TrainerSpec = LogisticSpec | GbtSpec;

/** What an author writes: the kind, and whatever should differ from the defaults. */
export type TrainerSpecInput =
  | (Pick<LogisticSpec, 'kind'> & Partial<LogisticSpec>)
  | (Pick<GbtSpec, 'kind'> & Partial<GbtSpec>);

interface NumberRule {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  /** The minimum itself is not allowed. */
  readonly above?: true;
  readonly integer?: true;
}

type Rules<Spec> = { readonly [Field in Exclude<keyof Spec, 'kind'>]: NumberRule };

const VALIDATION_FRACTION: NumberRule = { default: 0.1, min: 0, max: 0.5 };

const LOGISTIC_RULES: Rules<LogisticSpec> = {
  l2: { default: 1, min: 0, max: 1e9, above: true },
  maxIterations: { default: 30, min: 1, max: 1000, integer: true },
  validationFraction: VALIDATION_FRACTION,
};

/** The defaults are those the peers agree on (LightGBM's and XGBoost's), so that results can be compared. */
const GBT_RULES: Rules<GbtSpec> = {
  trees: { default: 100, min: 1, max: 10_000, integer: true },
  leaves: { default: 31, min: 2, max: 1024, integer: true },
  learningRate: { default: 0.1, min: 0, max: 1, above: true },
  minRowsPerLeaf: { default: 20, min: 1, max: 1e9, integer: true },
  minHessianPerLeaf: { default: 1e-3, min: 0, max: 1e9 },
  minGain: { default: 0, min: 0, max: 1e9 },
  l2: { default: 1, min: 0, max: 1e9 },
  maxBins: { default: 255, min: 2, max: 255, integer: true },
  validationFraction: VALIDATION_FRACTION,
  earlyStoppingTrees: { default: 0, min: 0, max: 10_000, integer: true },
};

const RULES = { logistic: LOGISTIC_RULES, gbt: GBT_RULES } as const;

/**
 * Reads a trainer spec from outside (a project file, the API, a stored run) and fills in the defaults.
 * @param path where the value stands, for the message, such as `models.lateness.trainer`
 * @throws SerinError TRAINING_INVALID naming the field, its value and the rule
 */
export function checkTrainerSpec(value: unknown, path: string): TrainerSpec {
  if (!isRecord(value)) refuse(path, value, 'must be an object with a kind');
  const { kind, ...given } = value;
  if (kind === 'logistic') return { kind, ...checkNumbers(RULES.logistic, given, path) };
  if (kind === 'gbt') {
    const spec: GbtSpec = { kind, ...checkNumbers(RULES.gbt, given, path) };
    if (spec.earlyStoppingTrees > 0 && spec.validationFraction === 0)
      refuse(`${path}.earlyStoppingTrees`, spec.earlyStoppingTrees, 'needs a validationFraction above 0');
    return spec;
  }
  return refuse(`${path}.kind`, kind, `must be one of ${Object.keys(RULES).join(', ')}`);
}

function checkNumbers<Field extends string>(
  rules: Readonly<Record<Field, NumberRule>>,
  given: Readonly<Record<string, unknown>>,
  path: string,
): Record<Field, number> {
  for (const field of Object.keys(given))
    if (!Object.hasOwn(rules, field))
      refuse(
        `${path}.${field}`,
        given[field],
        `is not a field of this trainer; it has ${Object.keys(rules).join(', ')}`,
      );
  const checked = {} as Record<Field, number>;
  for (const field of Object.keys(rules) as Field[])
    checked[field] = checkNumber(rules[field], given[field], `${path}.${field}`);
  return checked;
}

function checkNumber(rule: NumberRule, value: unknown, path: string): number {
  if (value === undefined) return rule.default;
  const fits =
    typeof value === 'number' &&
    (rule.above ? value > rule.min : value >= rule.min) &&
    value <= rule.max &&
    (!rule.integer || Number.isInteger(value));
  if (fits) return value;
  const what = rule.integer ? 'a whole number' : 'a number';
  return refuse(
    path,
    value,
    `must be ${what} ${rule.above ? 'above' : 'from'} ${rule.min} ${rule.above ? 'and at most' : 'to'} ${rule.max}`,
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(field: string, value: unknown, rule: string): never {
  const shown =
    value === undefined
      ? 'nothing'
      : typeof value === 'number'
        ? String(value)
        : (JSON.stringify(value) ?? typeof value);
  throw new SerinError('TRAINING_INVALID', `${field} is ${shown} but ${rule}`, {
    fields: { field, value: shown, rule },
  });
}
