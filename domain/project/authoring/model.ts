/** Trainings and models: how a version is made, and what is promised of it. */
import { parseTime } from '../../features/time-text.ts';
import type { CalibrationMethod } from '../../calibration/calibration.ts';
import type { GateSpec } from '../../gates/gate-spec.ts';
import type { SliceThresholds } from '../../registry/post-processing.ts';
import { checkRolloutPolicy } from '../../rollout/policy.ts';
import type { RolloutPolicyInput } from '../../rollout/policy.ts';
import type { Micros } from '../../time.ts';
import { checkTrainerSpec } from '../../training/trainer-spec.ts';
import type { TrainerSpec, TrainerSpecInput } from '../../training/trainer-spec.ts';
import type { ModelSpec, MonitorSpec, ServingSpec, TrainingSpec } from '../spec.ts';
import { versioned } from '../spec.ts';
import { type Duration, inMs } from './durations.ts';
import type { AnyFeatureSet } from './feature-set.ts';
import type { Label } from './label.ts';
import type { RequestKinds, Spine, Terms } from './spine.ts';
import type { Numeric } from './terms.ts';

export interface SplitDefinition {
  /** A day such as `2001-05-01` (its start, UTC) or an instant such as `2001-05-01T06:00:00Z`. */
  readonly trainFrom: string;
  readonly testFrom: string;
  readonly testTo: string;
  /** Rows drawn by a seeded hash; left out: all. */
  readonly trainRows?: number;
  readonly testRows?: number;
  /** Rows are left out for this long after what the test rows' labels reach. */
  readonly embargo?: Duration;
  /** A request field: what is tested of one value is not trained on. */
  readonly group?: string;
}

interface TrainingDefinition<N> {
  readonly featureSet: AnyFeatureSet<N>;
  readonly trainer: TrainerSpecInput;
  readonly split: SplitDefinition & { readonly group?: keyof N & string };
  readonly seed: number;
  readonly description: string;
  /** Makes scores probabilities, by the rows that the trainer holds out to validate. */
  readonly calibration?: CalibrationMethod;
}

export interface Training<N = never> {
  readonly name: string;
  readonly featureSet: AnyFeatureSet<N>;
  readonly trainer: TrainerSpec;
  readonly split: SplitDefinition;
  readonly seed: number;
  readonly description: string;
  readonly calibration?: CalibrationMethod;
}

/** One way to train a model: a feature set, a trainer, a split by time. */
export function training<N>(name: string, definition: TrainingDefinition<N>): Training<N> {
  return { name, ...definition, trainer: checkTrainerSpec(definition.trainer, `trainings.${name}.trainer`) };
}

interface MonitorDefinition extends Omit<MonitorSpec, 'name' | 'everyMs'> {
  readonly every: Duration;
}

export function monitor(name: string, { every, ...rest }: MonitorDefinition): MonitorSpec {
  return { name, everyMs: inMs(every), ...rest };
}

interface ModelDefinition<Q extends Terms, Row> {
  readonly description: string;
  readonly owner: string;
  readonly riskTier: ModelSpec['riskTier'];
  readonly spine: Spine<Q>;
  readonly label: Label<NoInfer<RequestKinds<Q>>>;
  /** Score from which an answer's label is 1. */
  readonly threshold: number;
  /** Names of label 0 and label 1. */
  readonly classes?: readonly [string, string];
  /** Other thresholds for some values of a request field. */
  readonly slices?: SliceThresholds & { readonly by: keyof RequestKinds<NoInfer<Q>> & string };
  readonly latencyBudgetMsP99: number;
  /** The rule baseline: version 0, the first champion and the last rung of the fallback ladder. */
  readonly rule: {
    readonly featureSet: AnyFeatureSet<RequestKinds<Q>> & { readonly row: Row };
    readonly score: (row: NoInfer<Row>) => Numeric;
  };
  readonly gates: readonly GateSpec[];
  readonly rollout: RolloutPolicyInput;
  readonly monitors: readonly MonitorSpec[];
  /** Share of champion answers that are logged; canary, shadow, fallback and errors always are. */
  readonly logSampleRate: number;
  readonly trainings: readonly Training<RequestKinds<Q>>[];
  readonly serving?: ServingDefinition;
}

interface ServingDefinition extends Omit<ServingSpec, 'fallback'> {
  /** Another model of the project: its champion answers when no version of this one does, before the rule. */
  readonly fallback?: Pick<Model, 'spec'>;
}

export interface Model {
  readonly spec: ModelSpec;
  readonly spine: Pick<Spine, 'spec' | 'source' | 'sources'>;
  readonly label: Label<never>;
  readonly featureSets: readonly AnyFeatureSet<never>[];
}

export function model<Q extends Terms, Row>(name: string, definition: ModelDefinition<Q, Row>): Model {
  const { spine: rows, label: outcome, rule, trainings, rollout, serving, ...contract } = definition;
  return {
    spine: rows,
    label: outcome,
    featureSets: [rule.featureSet, ...trainings.map((each) => each.featureSet)],
    spec: {
      name,
      task: 'binary',
      ...contract,
      rollout: checkRolloutPolicy(rollout, `models.${name}.rollout`),
      spine: rows.spec.name,
      label: outcome.spec.name,
      rule: { featureSet: versioned(rule.featureSet.spec), expression: rule.score(rule.featureSet.row).expression },
      trainings: trainings.map(trainingSpec),
      ...(serving !== undefined && { serving: servingSpec(serving) }),
    },
  };
}

function servingSpec({ fallback, ...rest }: ServingDefinition): ServingSpec {
  return { ...rest, ...(fallback !== undefined && { fallback: fallback.spec.name }) };
}

function trainingSpec({ featureSet: set, split, ...rest }: Training): TrainingSpec {
  const { trainFrom, testFrom, testTo, trainRows = null, testRows = null, embargo, group } = split;
  return {
    ...rest,
    featureSet: versioned(set.spec),
    split: {
      trainFrom: instant(trainFrom),
      testFrom: instant(testFrom),
      testTo: instant(testTo),
      trainRows,
      testRows,
      ...(embargo !== undefined && { embargoMicros: embargo.micros }),
      ...(group !== undefined && { group }),
    },
  };
}

function instant(text: string): Micros {
  return parseTime(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text);
}
