/** The shape of labels, trainings, monitors and models. */
import { CALIBRATION_METHODS } from '../calibration/calibration.ts';
import { embargoFault, labelWindowFault, refuse } from '../features/definition-rules.ts';
import { checkGateSpecs } from '../gates/gate-spec.ts';
import { CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { checkRolloutPolicy } from '../rollout/policy.ts';
import type { SliceThresholds } from '../registry/post-processing.ts';
import { checkTrainerSpec } from '../training/trainer-spec.ts';
import { definitionName, description, entries, expression, expressionOrNull, micros, texts } from './spec-fields.ts';
import type {
  LabelSpec,
  LabelWindowSpec,
  ModelSpec,
  MonitorSpec,
  ServingSpec,
  SplitSpec,
  TrainingSpec,
} from './spec.ts';

const LABEL_FUNCTIONS: readonly LabelWindowSpec['fn'][] = [
  'any',
  'count',
  'rate',
  'sum',
  'mean',
  'min',
  'max',
  'variance_pop',
  'variance_samp',
  'stddev_pop',
  'stddev_samp',
  'first',
  'last',
  'count_distinct',
];

export function readLabel(value: unknown, path: string): LabelSpec {
  const fields = new CheckedFields(value, path, ['name', 'source', 'of', 'description', 'window']);
  return {
    name: definitionName(fields),
    source: fields.text('source'),
    of: expression(fields, 'of'),
    description: description(fields),
    ...(fields.has('window') && { window: readLabelWindow(fields.raw('window'), fields.at('window')) }),
  };
}

function readLabelWindow(value: unknown, path: string): LabelWindowSpec {
  const fields = new CheckedFields(value, path, [
    'fn',
    'where',
    'key',
    'on',
    'boundary',
    'gapMicros',
    'horizonMicros',
    'delayMicros',
    'earlyPositive',
    'censor',
  ]);
  const [gap, horizon, delay] = [
    micros(fields, 'gapMicros'),
    micros(fields, 'horizonMicros'),
    micros(fields, 'delayMicros'),
  ];
  refuse(labelWindowFault({ gap, horizon, delay }), path);
  const fn = fields.oneOf('fn', LABEL_FUNCTIONS);
  const earlyPositive = fields.truth('earlyPositive');
  if (earlyPositive && fn !== 'any')
    throw specInvalid(
      fields.at('earlyPositive'),
      true,
      `only any has it: ${fn} has no value before its window is over`,
    );
  return {
    fn,
    where: expressionOrNull(fields, 'where'),
    ...readJoin(fields),
    boundary: fields.oneOf('boundary', ['inclusive', 'exclusive']),
    gapMicros: gap,
    horizonMicros: horizon,
    delayMicros: delay,
    earlyPositive,
    censor: fields.raw('censor') === null ? null : readCensor(fields.raw('censor'), fields.at('censor')),
  };
}

function readCensor(value: unknown, path: string): NonNullable<LabelWindowSpec['censor']> {
  const fields = new CheckedFields(value, path, ['source', 'key', 'on', 'where']);
  return { source: fields.text('source'), ...readJoin(fields), where: expressionOrNull(fields, 'where') };
}

/** Columns, and the request fields they equal, one for one. */
function readJoin(fields: CheckedFields): { key: string[]; on: string[] } {
  const [key, on] = [texts(fields, 'key', 0), texts(fields, 'on', 0)];
  if (key.length !== on.length)
    throw specInvalid(
      fields.at('on'),
      on,
      `it must have one request field for each column of the key, ${key.join(', ')}`,
    );
  return { key, on };
}

const MODEL_FIELDS = [
  'name',
  'description',
  'owner',
  'riskTier',
  'task',
  'spine',
  'label',
  'threshold',
  'classes',
  'slices',
  'latencyBudgetMsP99',
  'rule',
  'gates',
  'rollout',
  'monitors',
  'logSampleRate',
  'trainings',
  'serving',
];

export function readModel(value: unknown, path: string): ModelSpec {
  const fields = new CheckedFields(value, path, MODEL_FIELDS);
  const rule = new CheckedFields(fields.raw('rule'), fields.at('rule'), ['featureSet', 'expression']);
  return {
    name: definitionName(fields),
    description: description(fields),
    owner: fields.text('owner'),
    riskTier: fields.oneOf('riskTier', ['low', 'medium', 'high']),
    task: fields.oneOf('task', ['binary']),
    spine: fields.text('spine'),
    label: fields.text('label'),
    threshold: fields.number('threshold', { min: 0, max: 1 }),
    ...(fields.has('classes') && { classes: readClasses(fields) }),
    ...(fields.has('slices') && { slices: readSlices(fields.raw('slices'), fields.at('slices')) }),
    latencyBudgetMsP99: fields.number('latencyBudgetMsP99', { min: 0, max: 60_000, exclusive: true }),
    rule: { featureSet: rule.text('featureSet'), expression: expression(rule, 'expression') },
    gates: checkGateSpecs(fields.raw('gates'), fields.at('gates')),
    rollout: checkRolloutPolicy(fields.raw('rollout'), fields.at('rollout')),
    monitors: entries(fields, 'monitors', readMonitor),
    logSampleRate: fields.number('logSampleRate', { min: 0, max: 1 }),
    trainings: entries(fields, 'trainings', readTraining, 1),
    ...(fields.has('serving') && { serving: readServing(fields.raw('serving'), fields.at('serving')) }),
  };
}

function readServing(value: unknown, path: string): ServingSpec {
  const fields = new CheckedFields(value, path, ['deadlineMs', 'timeoutMs', 'mandatory', 'fallback']);
  return {
    ...(fields.has('deadlineMs') && { deadlineMs: fields.number('deadlineMs', { min: 1, max: 60_000 }) }),
    ...(fields.has('timeoutMs') && { timeoutMs: fields.number('timeoutMs', { min: 1, max: 60_000 }) }),
    ...(fields.has('mandatory') && { mandatory: texts(fields, 'mandatory') }),
    ...(fields.has('fallback') && { fallback: fields.text('fallback') }),
  };
}

function readClasses(fields: CheckedFields): readonly [string, string] {
  const [negative, positive, ...more] = texts(fields, 'classes', 2);
  const isNamed = (name: string | undefined): name is string => name !== undefined && name !== '';
  if (!isNamed(negative) || !isNamed(positive) || more.length > 0 || negative === positive)
    throw specInvalid(
      fields.at('classes'),
      fields.raw('classes'),
      'it must be two different names that are not empty: of label 0 and of label 1',
    );
  return [negative, positive];
}

const MAX_SLICES = 1_000;

function readSlices(value: unknown, path: string): SliceThresholds {
  const fields = new CheckedFields(value, path, ['by', 'thresholds']);
  const given = fields.raw('thresholds');
  const values = typeof given === 'object' && given !== null && !Array.isArray(given) ? Object.keys(given) : [];
  if (values.length === 0 || values.length > MAX_SLICES || values.includes(''))
    throw specInvalid(
      fields.at('thresholds'),
      given,
      `it must be an object of 1 to ${MAX_SLICES} thresholds by value, such as {"AA": 0.4}`,
    );
  const thresholds = new CheckedFields(given, fields.at('thresholds'), values);
  return {
    by: fields.text('by'),
    thresholds: Object.fromEntries(values.map((each) => [each, thresholds.number(each, { min: 0, max: 1 })])),
  };
}

function readMonitor(value: unknown, path: string): MonitorSpec {
  const fields = new CheckedFields(value, path, ['name', 'kind', 'everyMs', 'minRows', 'owner', 'runbook']);
  return {
    name: definitionName(fields),
    kind: fields.oneOf('kind', ['input-drift', 'score-drift', 'quality']),
    everyMs: fields.durationMs('everyMs', 1_000),
    minRows: fields.count('minRows', 1),
    owner: fields.text('owner'),
    runbook: fields.text('runbook'),
  };
}

function readTraining(value: unknown, path: string): TrainingSpec {
  const fields = new CheckedFields(value, path, [
    'name',
    'featureSet',
    'trainer',
    'split',
    'seed',
    'description',
    'calibration',
  ]);
  const trainer = checkTrainerSpec(fields.raw('trainer'), fields.at('trainer'));
  const calibration = fields.has('calibration') ? fields.oneOf('calibration', CALIBRATION_METHODS) : null;
  if (calibration !== null && trainer.validationFraction === 0)
    throw specInvalid(
      fields.at('calibration'),
      calibration,
      'it is fitted on the rows held out to validate, so the trainer needs a validationFraction above 0',
    );
  return {
    name: definitionName(fields),
    featureSet: fields.text('featureSet'),
    trainer,
    split: readSplit(fields.raw('split'), fields.at('split')),
    seed: fields.count('seed', 0),
    description: description(fields),
    ...(calibration !== null && { calibration }),
  };
}

function readSplit(value: unknown, path: string): SplitSpec {
  const fields = new CheckedFields(value, path, [
    'trainFrom',
    'testFrom',
    'testTo',
    'trainRows',
    'testRows',
    'embargoMicros',
    'group',
  ]);
  const [trainFrom, testFrom, testTo] = [
    instant(fields, 'trainFrom'),
    instant(fields, 'testFrom'),
    instant(fields, 'testTo'),
  ];
  if (trainFrom >= testFrom)
    throw specInvalid(fields.at('testFrom'), testFrom, `it must be after trainFrom, ${trainFrom}`);
  if (testFrom >= testTo) throw specInvalid(fields.at('testTo'), testTo, `it must be after testFrom, ${testFrom}`);
  const embargoMicros = fields.has('embargoMicros') ? micros(fields, 'embargoMicros') : null;
  if (embargoMicros !== null) refuse(embargoFault(embargoMicros), fields.at('embargoMicros'));
  return {
    trainFrom,
    testFrom,
    testTo,
    trainRows: rowsOrNull(fields, 'trainRows'),
    testRows: rowsOrNull(fields, 'testRows'),
    ...(embargoMicros !== null && { embargoMicros }),
    ...(fields.has('group') && { group: fields.text('group') }),
  };
}

function instant(fields: CheckedFields, name: string): number {
  const value = fields.raw(name);
  if (!Number.isSafeInteger(value))
    throw specInvalid(fields.at(name), value, 'it must be an instant in whole microseconds since 1970, UTC');
  return value as number;
}

function rowsOrNull(fields: CheckedFields, name: string): number | null {
  return fields.raw(name) === null ? null : fields.count(name, 1);
}
