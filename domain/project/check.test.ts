import { expect, test } from 'vitest';
import { SerinError, type ErrorCode } from '../errors.ts';
import { checkProjectSpec } from './check.ts';
import type { Expression } from './expression.ts';

const HOUR = 3_600_000_000;
const column = (name: string): Expression => ({ op: 'column', name });

/** A valid project as JSON, as loose as what arrives over HTTP: tests break one thing in it. */
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any;

function aProject(): Loose {
  return {
    format: 'serin.project/1',
    name: 'flights',
    description: '',
    sources: [
      {
        name: 'flights',
        description: '',
        owner: 'team',
        columns: [
          { name: 'date', type: 'ts', nullable: false, pii: false, description: '' },
          { name: 'landed', type: 'ts', nullable: true, pii: false, description: '' },
          { name: 'delay', type: 'i64', nullable: false, min: -120, max: 1500, pii: false, description: '' },
          { name: 'origin', type: 'str', nullable: false, pii: false, description: '' },
        ],
        eventAt: 'date',
        zone: 'UTC',
        availableAt: column('landed'),
        eventId: ['date', 'origin'],
        freshnessSlaSeconds: 3600,
      },
    ],
    entities: [{ name: 'airport', keys: [{ name: 'airport', type: 'str' }], description: '' }],
    views: [
      {
        name: 'origin_delays',
        version: 1,
        entity: 'airport',
        source: 'flights',
        key: ['origin'],
        features: [
          {
            name: 'mean_delay',
            fn: 'mean',
            of: column('delay'),
            where: null,
            windows: [{ name: '24h', lengthMicros: 24 * HOUR, hopMicros: HOUR }],
            default: null,
            description: '',
          },
        ],
        owner: 'team',
        description: '',
      },
    ],
    featureSets: [
      {
        name: 'delays',
        version: 1,
        request: [{ name: 'origin', type: 'str', description: '' }],
        views: [{ alias: 'origin', view: 'origin_delays@1', key: ['origin'] }],
        features: [
          { kind: 'view', name: 'origin__mean_delay__24h', alias: 'origin', feature: 'mean_delay', window: '24h' },
          { kind: 'derived', name: 'hour', expression: { op: 'hourOfDay', of: column('as_of') }, description: '' },
          {
            kind: 'derived',
            name: 'late_hour',
            expression: { op: 'ge', left: column('hour'), right: { op: 'literal', value: 20, type: 'i64' } },
            description: '',
          },
        ],
        description: '',
      },
    ],
    spines: [
      {
        name: 'departures',
        source: 'flights',
        asOf: column('date'),
        where: null,
        request: [{ name: 'origin', value: column('origin') }],
      },
    ],
    labels: [
      {
        name: 'late',
        source: 'flights',
        of: { op: 'ge', left: column('delay'), right: { op: 'literal', value: 15, type: 'i64' } },
        description: '',
      },
    ],
    models: [
      {
        name: 'flight-delay',
        description: '',
        owner: 'team',
        riskTier: 'low',
        task: 'binary',
        spine: 'departures',
        label: 'late',
        threshold: 0.5,
        latencyBudgetMsP99: 50,
        rule: { featureSet: 'delays@1', expression: column('origin__mean_delay__24h') },
        gates: [{ kind: 'schema' }, { kind: 'slices', slice: 'origin', metric: 'auc', min: 0.5, minRows: 10 }],
        rollout: {
          stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
          guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
        },
        monitors: [
          { name: 'inputs', kind: 'input-drift', everyMs: 60_000, minRows: 100, owner: 'team', runbook: 'x.md' },
        ],
        logSampleRate: 0.1,
        trainings: [
          {
            name: 'logistic',
            featureSet: 'delays@1',
            trainer: { kind: 'logistic' },
            split: { trainFrom: 0, testFrom: HOUR, testTo: 2 * HOUR, trainRows: null, testRows: 10 },
            seed: 1,
            description: '',
          },
        ],
      },
    ],
  };
}

function refusalOf(value: unknown): SerinError {
  try {
    checkProjectSpec(value);
  } catch (error) {
    if (error instanceof SerinError) return error;
    throw error;
  }
  throw new Error('the project was taken');
}

const twice = (list: Loose[]): void => void list.push(structuredClone(list[0]));
const setFeature = (spec: Loose, name: string, expression: Expression): void =>
  void spec.featureSets[0].features.push({ kind: 'derived', name, expression, description: '' });
const one: Expression = { op: 'literal', value: 1, type: 'i64' };
let deep: Expression = one;
for (let i = 0; i < 100; i++) deep = { op: 'abs', of: deep };

test('a valid project is taken, with the defaults of trainer and rollout filled in', () => {
  const spec = checkProjectSpec(aProject());
  expect(spec.models[0]!.trainings[0]!.trainer).toMatchObject({ kind: 'logistic', l2: 1 });
  expect(spec.models[0]!.rollout.onDeadline).toBe('askHuman');
  expect(checkProjectSpec(spec)).toEqual(spec);
});

test('what is promised of serving is kept as given, and absent where nothing is', () => {
  const spec = aProject();
  expect(checkProjectSpec(spec).models[0]).not.toHaveProperty('serving');
  spec.models[0].serving = { deadlineMs: 25 };
  expect(checkProjectSpec(spec).models[0]!.serving).toEqual({ deadlineMs: 25 });
});

test.each<[string, ErrorCode, RegExp, (spec: Loose) => void]>([
  // the shape
  [
    'another format',
    'SPEC_INVALID',
    /^project\.format is "serin.project\/0"; it must be one of serin.project\/1/,
    (s) => (s.format = 'serin.project/0'),
  ],
  [
    'an unknown field',
    'SPEC_INVALID',
    /^sources\.flights\.freshness is 5; there is no such field/,
    (s) => (s.sources[0].freshness = 5),
  ],
  ['a list that is none', 'SPEC_INVALID', /^project\.views is \{\}; it must be a list/, (s) => (s.views = {})],
  [
    'a name with a space',
    'SPEC_INVALID',
    /^sources\[0\]\.name is "My Flights"; a name is/,
    (s) => (s.sources[0].name = 'My Flights'),
  ],
  [
    'a column in capitals',
    'SPEC_INVALID',
    /columns\[2\]\.name is "Delay"; a name of a column/,
    (s) => (s.sources[0].columns[2].name = 'Delay'),
  ],
  [
    'a column of the log',
    'SPEC_INVALID',
    /columns\.event_id\.name is "event_id"; the names .* are Serin's own/,
    (s) => (s.sources[0].columns[2].name = 'event_id'),
  ],
  [
    'a request field of the dataset',
    'SPEC_INVALID',
    /request\.label\.name is "label"; the names/,
    (s) => (s.featureSets[0].request[0].name = 'label'),
  ],
  [
    'an unknown type',
    'SPEC_INVALID',
    /columns\.delay\.type is "int"; it must be one of i64, f64/,
    (s) => (s.sources[0].columns[2].type = 'int'),
  ],
  [
    'a range of a text',
    'SPEC_INVALID',
    /columns\.origin\.min is 1; only numbers have a range/,
    (s) => (s.sources[0].columns[3].min = 1),
  ],
  [
    'an empty range',
    'SPEC_INVALID',
    /columns\.delay\.min is 2000; it must not be above max, 1500/,
    (s) => (s.sources[0].columns[2].min = 2000),
  ],
  [
    'an unknown zone',
    'SPEC_INVALID',
    /zone is "Mars\/Olympus"; it must be an IANA zone/,
    (s) => (s.sources[0].zone = 'Mars/Olympus'),
  ],
  [
    'no event id',
    'SPEC_INVALID',
    /sources\.flights\.eventId is \[\]; it must be a list of 1/,
    (s) => (s.sources[0].eventId = []),
  ],
  [
    'a version below 1',
    'SPEC_INVALID',
    /version is 0; it must be a whole number of at least 1/,
    (s) => (s.views[0].version = 0),
  ],
  [
    'a hop that does not divide',
    'SPEC_INVALID',
    /windows\.24h\.hopMicros is 18000000000; the hop must divide/,
    (s) => (s.views[0].features[0].windows[0].hopMicros = 5 * HOUR),
  ],
  [
    'a window of no length',
    'BAD_DURATION',
    /windows\.24h: a window must be longer than 0 µs, got 0/,
    (s) => (s.views[0].features[0].windows[0].lengthMicros = 0),
  ],
  [
    'a mean of nothing',
    'SPEC_INVALID',
    /mean_delay\.of is null; mean needs an expression/,
    (s) => (s.views[0].features[0].of = null),
  ],
  [
    'a rate of something',
    'SPEC_INVALID',
    /mean_delay\.of is .*; rate counts rows/,
    (s) => (s.views[0].features[0].fn = 'rate'),
  ],
  [
    'a split that ends before it starts',
    'SPEC_INVALID',
    /split\.testFrom is 0; it must be after trainFrom, 0/,
    (s) => (s.models[0].trainings[0].split.testFrom = 0),
  ],
  [
    'a test set of no time',
    'SPEC_INVALID',
    /split\.testTo is 3600000000; it must be after testFrom/,
    (s) => (s.models[0].trainings[0].split.testTo = HOUR),
  ],
  [
    'a date as text',
    'SPEC_INVALID',
    /split\.trainFrom is "2001-01-01"; it must be an instant/,
    (s) => (s.models[0].trainings[0].split.trainFrom = '2001-01-01'),
  ],
  [
    'a threshold above 1',
    'SPEC_INVALID',
    /threshold is 1.5; it must be a number between 0 and 1/,
    (s) => (s.models[0].threshold = 1.5),
  ],
  [
    'a deadline of nothing',
    'SPEC_INVALID',
    /models\.flight-delay\.serving\.deadlineMs is 0; it must be a number between 1 and 60000/,
    (s) => (s.models[0].serving = { deadlineMs: 0 }),
  ],
  [
    'a gate that does not exist',
    'SPEC_INVALID',
    /models\.flight-delay\.gates\[0\]\.kind is "vibes"/,
    (s) => (s.models[0].gates[0].kind = 'vibes'),
  ],
  [
    'a rollout without guardrails',
    'SPEC_INVALID',
    /models\.flight-delay\.rollout\.guardrails/,
    (s) => (s.models[0].rollout.guardrails = []),
  ],
  [
    'a trainer with an odd number',
    'TRAINING_INVALID',
    /trainings\.logistic\.trainer\.l2 is 0 but must be/,
    (s) => (s.models[0].trainings[0].trainer.l2 = 0),
  ],
  // expressions
  [
    'an unknown operator',
    'SPEC_INVALID',
    /labels\.late\.of\.op is "sqrt"; it must be one of/,
    (s) => (s.labels[0].of = { op: 'sqrt', of: one }),
  ],
  [
    'a literal of another type',
    'SPEC_INVALID',
    /of\.right\.value is 1.5; it must be null or a value of type i64/,
    (s) => (s.labels[0].of.right.value = 1.5),
  ],
  ['a bottomless expression', 'SPEC_INVALID', /nested at most 64 deep/, (s) => (s.labels[0].of = deep)],
  [
    'an empty disjunction',
    'SPEC_INVALID',
    /labels\.late\.of\.of is \[\]/,
    (s) => (s.labels[0].of = { op: 'or', of: [] }),
  ],
  [
    'a label that is no condition',
    'SPEC_INVALID',
    /^labels\.late\.of is of type i64; it must be bool/,
    (s) => (s.labels[0].of = column('delay')),
  ],
  [
    'operands that do not fit',
    'SPEC_INVALID',
    /^labels\.late\.of does not fit: ge takes i64 or f64, not str/,
    (s) => (s.labels[0].of.right = column('origin')),
  ],
  [
    'a mean of a text',
    'SPEC_INVALID',
    /mean_delay\.of is of type str; it must be i64 or f64/,
    (s) => (s.views[0].features[0].of = column('origin')),
  ],
  [
    'a share of a number',
    'SPEC_INVALID',
    /mean_delay\.of is of type i64; it must be bool/,
    (s) => (s.views[0].features[0].fn = 'share'),
  ],
  [
    'a filter that is no condition',
    'SPEC_INVALID',
    /mean_delay\.where is of type i64; it must be bool/,
    (s) => (s.views[0].features[0].where = column('delay')),
  ],
  [
    'availability that is no instant',
    'SPEC_INVALID',
    /availableAt is of type i64; it must be ts/,
    (s) => (s.sources[0].availableAt = column('delay')),
  ],
  [
    'a spine at no instant',
    'SPEC_INVALID',
    /departures\.asOf is of type str; it must be ts/,
    (s) => (s.spines[0].asOf = column('origin')),
  ],
  [
    'a spine filter that is no condition',
    'SPEC_INVALID',
    /departures\.where is of type i64/,
    (s) => (s.spines[0].where = column('delay')),
  ],
  [
    'a rule over a request field that is no feature',
    'REFERENCE_MISSING',
    /rule\.expression is "origin", but there is no column of that name/,
    (s) => (s.models[0].rule.expression = column('origin')),
  ],
  [
    'a rule that is no number',
    'SPEC_INVALID',
    /rule\.expression is of type bool/,
    (s) => (s.models[0].rule.expression = column('late_hour')),
  ],
  [
    'a derived text',
    'SPEC_INVALID',
    /features\.name\.expression is of type str/,
    (s) => setFeature(s, 'name', column('origin')),
  ],
  [
    'an event time that is no instant',
    'SPEC_INVALID',
    /eventAt is "delay"; it must name a ts column/,
    (s) => (s.sources[0].eventAt = 'delay'),
  ],
  [
    'an event time that may be null',
    'SPEC_INVALID',
    /columns\.landed\.nullable is true; the column of eventAt/,
    (s) => (s.sources[0].eventAt = 'landed'),
  ],
  // names used twice
  ['a source twice', 'DUPLICATE_NAME', /sources has the source "flights" twice/, (s) => twice(s.sources)],
  [
    'a column twice',
    'DUPLICATE_NAME',
    /sources\.flights\.columns has the column "date" twice/,
    (s) => twice(s.sources[0].columns),
  ],
  [
    'an event id column twice',
    'DUPLICATE_NAME',
    /eventId has the column "date" twice/,
    (s) => twice(s.sources[0].eventId),
  ],
  ['an entity twice', 'DUPLICATE_NAME', /entity "airport" twice/, (s) => twice(s.entities)],
  ['a key part twice', 'DUPLICATE_NAME', /key part "airport" twice/, (s) => twice(s.entities[0].keys)],
  ['a view version twice', 'DUPLICATE_NAME', /feature view "origin_delays@1" twice/, (s) => twice(s.views)],
  ['a feature of a view twice', 'DUPLICATE_NAME', /feature "mean_delay" twice/, (s) => twice(s.views[0].features)],
  ['a window twice', 'DUPLICATE_NAME', /window "24h" twice/, (s) => twice(s.views[0].features[0].windows)],
  ['a feature set twice', 'DUPLICATE_NAME', /feature set "delays@1" twice/, (s) => twice(s.featureSets)],
  ['an alias twice', 'DUPLICATE_NAME', /alias "origin" twice/, (s) => twice(s.featureSets[0].views)],
  [
    'a feature of a set twice',
    'NAME_CLASH',
    /featureSets.delays@1: two outputs are named "origin__mean_delay__24h"/,
    (s) => twice(s.featureSets[0].features),
  ],
  [
    'a feature named as a request field',
    'NAME_CLASH',
    /featureSets.delays@1: two outputs are named "origin"/,
    (s) => setFeature(s, 'origin', one),
  ],
  ['a request field twice', 'DUPLICATE_NAME', /request field "origin" twice/, (s) => twice(s.featureSets[0].request)],
  ['a spine twice', 'DUPLICATE_NAME', /spine "departures" twice/, (s) => twice(s.spines)],
  ['a label twice', 'DUPLICATE_NAME', /label "late" twice/, (s) => twice(s.labels)],
  ['a model twice', 'DUPLICATE_NAME', /model "flight-delay" twice/, (s) => twice(s.models)],
  ['a training twice', 'DUPLICATE_NAME', /training "logistic" twice/, (s) => twice(s.models[0].trainings)],
  ['a monitor twice', 'DUPLICATE_NAME', /monitor "inputs" twice/, (s) => twice(s.models[0].monitors)],
  // references
  [
    'an event id of no column',
    'REFERENCE_MISSING',
    /eventId is "orgin", but there is no column of that name; did you mean "origin"\?/,
    (s) => (s.sources[0].eventId = ['orgin']),
  ],
  [
    'an expression over no column',
    'REFERENCE_MISSING',
    /availableAt is "lnded".*did you mean "landed"\?/,
    (s) => (s.sources[0].availableAt = column('lnded')),
  ],
  [
    'a view of no source',
    'REFERENCE_MISSING',
    /views\.origin_delays@1\.source is "flight".*did you mean "flights"\?/,
    (s) => (s.views[0].source = 'flight'),
  ],
  [
    'a view of no entity',
    'REFERENCE_MISSING',
    /entity is "planet", but there is no entity of that name; there is airport/,
    (s) => (s.views[0].entity = 'planet'),
  ],
  [
    'a key of no column',
    'REFERENCE_MISSING',
    /key\[0\] is "origins".*did you mean "origin"\?/,
    (s) => (s.views[0].key = ['origins']),
  ],
  [
    'a set with another view version',
    'REFERENCE_MISSING',
    /views\.origin\.view is "origin_delays@2".*did you mean "origin_delays@1"\?/,
    (s) => (s.featureSets[0].views[0].view = 'origin_delays@2'),
  ],
  [
    'a feature that the view lacks',
    'REFERENCE_MISSING',
    /feature is "mean".*there is mean_delay/,
    (s) => (s.featureSets[0].features[0].feature = 'mean'),
  ],
  [
    'a window that the feature lacks',
    'REFERENCE_MISSING',
    /window is "23h".*did you mean "24h"\?/,
    (s) => (s.featureSets[0].features[0].window = '23h'),
  ],
  [
    'an alias that the set lacks',
    'REFERENCE_MISSING',
    /alias is "orign".*did you mean "origin"\?/,
    (s) => (s.featureSets[0].features[0].alias = 'orign'),
  ],
  [
    'a derived feature of no feature',
    'REFERENCE_MISSING',
    /features\.again\.expression is "late_hou".*did you mean "late_hour"\?/,
    (s) => setFeature(s, 'again', column('late_hou')),
  ],
  [
    'a spine of no source',
    'REFERENCE_MISSING',
    /spines\.departures\.source is "trains"/,
    (s) => (s.spines[0].source = 'trains'),
  ],
  [
    'a label of no source',
    'REFERENCE_MISSING',
    /labels\.late\.source is "trains"/,
    (s) => (s.labels[0].source = 'trains'),
  ],
  ['a model of no spine', 'REFERENCE_MISSING', /spine is "arrivals"/, (s) => (s.models[0].spine = 'arrivals')],
  [
    'a model of no label',
    'REFERENCE_MISSING',
    /label is "lat".*did you mean "late"\?/,
    (s) => (s.models[0].label = 'lat'),
  ],
  [
    'a rule over no set',
    'REFERENCE_MISSING',
    /rule\.featureSet is "delays@7"/,
    (s) => (s.models[0].rule.featureSet = 'delays@7'),
  ],
  [
    'a rule over no feature',
    'REFERENCE_MISSING',
    /rule\.expression is "hours".*did you mean "hour"\?/,
    (s) => (s.models[0].rule.expression = column('hours')),
  ],
  [
    'a training on no set',
    'REFERENCE_MISSING',
    /trainings\.logistic\.featureSet is "delay@1".*did you mean "delays@1"\?/,
    (s) => (s.models[0].trainings[0].featureSet = 'delay@1'),
  ],
  [
    'a slice of nothing',
    'REFERENCE_MISSING',
    /gates\[1\]\.slice is "airline"/,
    (s) => (s.models[0].gates[1].slice = 'airline'),
  ],
  [
    'a request field that the spine lacks',
    'REFERENCE_MISSING',
    /request field of delays@1 is "gate", but there is no request field in the spine departures/,
    (s) => s.featureSets[0].request.push({ name: 'gate', type: 'str', description: '' }),
  ],
  [
    'derived features in a circle',
    'REFERENCE_CYCLE',
    /a reads b reads a; a derived feature must not read itself/,
    (s) => {
      setFeature(s, 'a', column('b'));
      setFeature(s, 'b', column('a'));
    },
  ],
  [
    'a derived feature of itself',
    'REFERENCE_CYCLE',
    /me reads me;/,
    (s) => setFeature(s, 'me', { op: 'add', left: column('me'), right: one }),
  ],
  // both ends agree
  [
    'a key of too many columns',
    'SPEC_INVALID',
    /one column for each key part of airport: airport/,
    (s) => s.views[0].key.push('delay'),
  ],
  [
    'a key of another type',
    'KEY_TYPE_MISMATCH',
    /key\[0\]: the key part "airport" is str and the field "delay" is i64/,
    (s) => (s.views[0].key = ['delay']),
  ],
  [
    'a feature under another name',
    'SPEC_INVALID',
    /is named <alias>__<feature>__<window>, here origin__mean_delay__24h/,
    (s) => (s.featureSets[0].features[0].name = 'mine'),
  ],
  [
    'a request field of another type',
    'SPEC_INVALID',
    /request field origin of delays@1 is "str"; the spine departures gives i64/,
    (s) => (s.spines[0].request[0].value = column('delay')),
  ],
  [
    'a label of another source',
    'SPEC_INVALID',
    /its source must be that of departures: flights/,
    (s) => {
      s.sources.push({ ...s.sources[0], name: 'others' });
      s.labels[0].source = 'others';
    },
  ],
  [
    'an outcome known at once',
    'SPEC_INVALID',
    /flights gives the label and the features of origin .* declared available at its event time, date; declare/,
    (s) => (s.sources[0].availableAt = column('date')),
  ],
])('%s is refused', (_, code, message, breakIt) => {
  const spec = aProject();
  breakIt(spec);
  const refusal = refusalOf(spec);
  expect(refusal.message).toMatch(message);
  expect(refusal.code).toBe(code);
});

test('a second source that is known at once is taken: the leakage gate looks at its rows', () => {
  const spec = aProject();
  spec.sources.push({ ...structuredClone(spec.sources[0]), name: 'flights_scheduled', availableAt: column('date') });
  spec.views[0].source = 'flights_scheduled';
  expect(checkProjectSpec(spec).sources).toHaveLength(2);
});

test.each([null, undefined, 7, 'flights', []])('%j is no project', (value) => {
  expect(refusalOf(value)).toMatchObject({
    code: 'SPEC_INVALID',
    message: expect.stringContaining('it must be an object'),
  });
});
