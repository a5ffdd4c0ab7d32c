import { expect, test } from 'vitest';
import { SerinError, type ErrorCode } from '../errors.ts';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  label,
  latest,
  mean,
  model,
  project,
  source,
  spine,
  sum,
  topK,
  training,
  window,
} from './authoring.ts';
import { checkProjectSpec } from './check.ts';

const week = { '7d': window(days(7)) } as const;

/** A valid project as loose JSON: tests break one thing in it. */
// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any;

function aProject(): Loose {
  const orders = source('orders', {
    description: '',
    owner: 'shop',
    columns: {
      id: column.i64(),
      customer: column.str(),
      at: column.ts(),
      known: column.ts(),
      amount: column.f64(),
      tier: column.str(),
      what: column.str({ nullable: true }),
    },
    eventAt: 'at',
    availableAt: (row) => row.known,
    eventId: ['id'],
    freshnessSla: hours(1),
    revisions: 'versions',
    operation: { column: 'what', retract: 'R', tombstone: 'T' },
  });
  const customer = entity('customer', { keys: { customer: 'str' }, description: '' });
  const totals = featureView('totals', {
    version: 1,
    entity: customer,
    source: orders,
    key: { customer: 'customer' },
    description: '',
    ttl: days(1),
    features: (row) => ({
      n: count({ windows: week }),
      spent: sum(row.amount, { windows: week, by: row.tier }),
      average: mean(row.amount, { windows: week, default: 0 }),
      tiers: topK(row.tier, { windows: week, k: 3 }),
      amount: latest(row.amount),
      tier: latest(row.tier),
    }),
  });
  const features = featureSet('features', {
    version: 1,
    description: '',
    request: { customer: column.str() },
    views: { me: totals.as({ customer: 'customer' }).pick({ n: ['7d'], amount: true }) },
  });
  const again = label('again', {
    source: orders,
    on: { customer: 'customer' },
    description: '',
    window: { horizon: days(7), censor: { source: orders, on: { customer: 'customer' } } },
  });
  return structuredClone(
    project('shop', {
      description: '',
      models: [
        model('repeat', {
          description: '',
          owner: 'shop',
          riskTier: 'low',
          spine: spine('asked', {
            source: orders,
            asOf: (row) => row.at,
            request: (row) => ({ customer: row.customer, amount: row.amount }),
          }),
          label: again,
          threshold: 0.5,
          latencyBudgetMsP99: 50,
          rule: { featureSet: features, score: (row) => row.me.amount.ln1p() },
          gates: [{ kind: 'schema' }],
          rollout: {
            stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
            guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
          },
          monitors: [],
          logSampleRate: 0,
          trainings: [
            training('t', {
              featureSet: features,
              trainer: { kind: 'logistic' },
              split: {
                trainFrom: '2001-01-01',
                testFrom: '2001-02-01',
                testTo: '2001-03-01',
                embargo: days(1),
                group: 'customer',
              },
              seed: 1,
              description: '',
            }),
          ],
        }),
      ],
    }),
  );
}

const feature = (spec: Loose, name: string): Loose => spec.views[0].features.find((each: Loose) => each.name === name);
const pick = (spec: Loose, overrides: object): void =>
  void spec.featureSets[0].features.push({ kind: 'view', alias: 'me', window: null, ...overrides });
const literal = (value: unknown, type: string): object => ({ op: 'literal', value, type });

const AS_OF = { op: 'column', name: 'as_of' };
const asQuery = (spec: Loose, overrides: object): void =>
  void Object.assign(spec.spines[0], {
    asOf: AS_OF,
    request: [],
    sql: { text: 'select as_of, customer from orders', sources: ['orders'], ...overrides },
  });

function refusalOf(spec: unknown): SerinError {
  try {
    checkProjectSpec(spec);
  } catch (error) {
    if (error instanceof SerinError) return error;
    throw error;
  }
  throw new Error('the project was taken');
}

test('a project that uses all of it is taken, and its check changes nothing', () => {
  const spec = aProject();
  expect(checkProjectSpec(spec)).toEqual(spec);
});

test.each<[string, ErrorCode, RegExp, (spec: Loose) => void]>([
  // durations
  [
    'a TTL below 0',
    'BAD_DURATION',
    /totals@1\.ttlMicros: a TTL cannot be negative/,
    (s) => (s.views[0].ttlMicros = -1),
  ],
  [
    'a window of less than nothing',
    'BAD_DURATION',
    /n\.windows\.7d: a window must be longer than 0 µs, got -5/,
    (s) => (feature(s, 'n').windows[0].lengthMicros = -5),
  ],
  [
    'an offset below 0',
    'BAD_DURATION',
    /n\.windows\.7d: an offset moves a window back/,
    (s) => (feature(s, 'n').windows[0].offsetMicros = -1),
  ],
  [
    'a rate over all of the past',
    'BAD_DURATION',
    /n\.windows\.7d: a rate needs a window with a length/,
    (s) => {
      feature(s, 'n').fn = 'rate';
      feature(s, 'n').windows[0].lengthMicros = null;
    },
  ],
  [
    'a rate per no time',
    'BAD_DURATION',
    /n\.unitMicros: the unit of a rate/,
    (s) => Object.assign(feature(s, 'n'), { fn: 'rate', unitMicros: 0 }),
  ],
  [
    'a label that looks nowhere',
    'BAD_DURATION',
    /labels\.again\.window: a label's horizon must be longer than 0 µs, got 0/,
    (s) => (s.labels[0].window.horizonMicros = 0),
  ],
  ['a gap below 0', 'BAD_DURATION', /labels\.again\.window: a label's gap/, (s) => (s.labels[0].window.gapMicros = -1)],
  [
    'an embargo below 0',
    'BAD_DURATION',
    /split\.embargoMicros: an embargo cannot be negative/,
    (s) => (s.models[0].trainings[0].split.embargoMicros = -1),
  ],
  [
    'a duration that is no whole number',
    'SPEC_INVALID',
    /totals@1\.ttlMicros is 0\.5; it must be a duration in whole microseconds/,
    (s) => (s.views[0].ttlMicros = 0.5),
  ],
  // windows
  [
    'a hop over all of the past',
    'SPEC_INVALID',
    /windows\.7d\.hopMicros is 10; a window over all of the past has no hop/,
    (s) => Object.assign(feature(s, 'n').windows[0], { lengthMicros: null, hopMicros: 10 }),
  ],
  [
    'a hop with an offset',
    'SPEC_INVALID',
    /a window with an offset has no hop/,
    (s) => Object.assign(feature(s, 'n').windows[0], { hopMicros: 3_600_000_000, offsetMicros: 1 }),
  ],
  [
    'a window of a latest value',
    'SPEC_INVALID',
    /amount\.windows is .*; latest is of no window/,
    (s) => (feature(s, 'amount').windows = feature(s, 'n').windows),
  ],
  [
    'an aggregate without a window',
    'SPEC_INVALID',
    /n\.windows is \[\]; it must be a list of 1/,
    (s) => (feature(s, 'n').windows = []),
  ],
  // functions
  [
    'an unknown function',
    'SPEC_INVALID',
    /n\.fn is "median"; it must be one of count, sum/,
    (s) => (feature(s, 'n').fn = 'median'),
  ],
  [
    'what another function takes',
    'SPEC_INVALID',
    /n\.k is 3; count does not take it, only top_k; leave it out/,
    (s) => (feature(s, 'n').k = 3),
  ],
  [
    'a top of too many',
    'SPEC_INVALID',
    /tiers\.k is 1001; it must be at most 1000/,
    (s) => (feature(s, 'tiers').k = 1001),
  ],
  ['a top of none', 'SPEC_INVALID', /tiers\.k is missing/, (s) => delete feature(s, 'tiers').k],
  [
    'a quantile beyond 1',
    'SPEC_INVALID',
    /average\.q is 90; it must be a number between 0 and 1/,
    (s) => Object.assign(feature(s, 'average'), { fn: 'quantile', q: 90 }),
  ],
  [
    'a sum of texts',
    'SPEC_INVALID',
    /spent\.of is of type str; it must be i64 or f64 or bool/,
    (s) => (feature(s, 'spent').of = { op: 'column', name: 'tier' }),
  ],
  [
    'a group that does not exist',
    'REFERENCE_MISSING',
    /spent\.by is "teir", .* did you mean "tier"/,
    (s) => (feature(s, 'spent').by = { op: 'column', name: 'teir' }),
  ],
  [
    'a group of a latest value',
    'SPEC_INVALID',
    /amount\.by is .*; latest is not grouped/,
    (s) => (feature(s, 'amount').by = { op: 'column', name: 'tier' }),
  ],
  [
    'a default of another type',
    'SPEC_INVALID',
    /average\.default is "none"; it must be null or a value of type f64/,
    (s) => (feature(s, 'average').default = 'none'),
  ],
  [
    'half an order as the default of a count',
    'SPEC_INVALID',
    /n\.default is 0\.5; it must be null or a value of type i64/,
    (s) => (feature(s, 'n').default = 0.5),
  ],
  [
    'a default of a list',
    'SPEC_INVALID',
    /spent\.default is 0; a list has no default/,
    (s) => (feature(s, 'spent').default = 0),
  ],
  // sources
  [
    'an operation in a number',
    'SPEC_INVALID',
    /orders\.operation\.column is "id"; it must name a str column, this one is i64/,
    (s) => (s.sources[0].operation.column = 'id'),
  ],
  [
    'a word for both',
    'SPEC_INVALID',
    /operation\.tombstone is "R"; a value cannot both retract and be a tombstone/,
    (s) => (s.sources[0].operation.tombstone = 'R'),
  ],
  [
    'an operation that does nothing',
    'SPEC_INVALID',
    /orders\.operation is .*; it must say which value retracts/,
    (s) => Object.assign(s.sources[0].operation, { retract: null, tombstone: null }),
  ],
  [
    'a retraction where rows have no versions',
    'SPEC_INVALID',
    /operation\.retract is "R"; .* needs revisions: 'versions'/,
    (s) => (s.sources[0].revisions = 'none'),
  ],
  // what is known when
  [
    'the latest value of what is known at once',
    'SPEC_INVALID',
    /totals@1\.boundary is missing; the source orders is declared available at its event time, at, .* say boundary: 'exclusive'/,
    (s) => (s.sources[0].availableAt = { op: 'column', name: 'at' }),
  ],
  [
    'the same, known a minute before',
    'SPEC_INVALID',
    /totals@1\.boundary is missing/,
    (s) =>
      (s.sources[0].availableAt = {
        op: 'plusMinutes',
        at: { op: 'column', name: 'at' },
        minutes: literal(-1, 'i64'),
      }),
  ],
  [
    'an event on both sides',
    'BOUNDARY_MISMATCH',
    /models\.repeat\.rule\.featureSet: view "totals@1" is exclusive and label "again" is inclusive over one source, "orders"/,
    (s) => (s.views[0].boundary = 'exclusive'),
  ],
  // names and keys
  [
    'two outputs of a view with one name',
    'NAME_CLASH',
    /views\.totals@1\.features: two outputs are named "n__7d"/,
    (s) => (feature(s, 'amount').name = 'n__7d'),
  ],
  [
    'a key where there is none',
    'SPEC_INVALID',
    /totals@1\.key is \["customer"\]; it must have one column for each key part of customer: it has none/,
    (s) => (s.entities[0].keys = []),
  ],
  [
    'a label joined to another type',
    'KEY_TYPE_MISMATCH',
    /labels\.again\.window\.on\[0\]: the key part "customer" is str and the field "amount" is f64/,
    (s) => (s.labels[0].window.on = ['amount']),
  ],
  [
    'a label joined to nothing',
    'REFERENCE_MISSING',
    /labels\.again\.window\.on\[0\] is "custmer", .* did you mean "customer"/,
    (s) => (s.labels[0].window.on = ['custmer']),
  ],
  [
    'half a join',
    'SPEC_INVALID',
    /labels\.again\.window\.on is \["customer","amount"\]; it must have one request field for each column of the key/,
    (s) => (s.labels[0].window.on = ['customer', 'amount']),
  ],
  [
    'a censor of a source that does not exist',
    'REFERENCE_MISSING',
    /labels\.again\.window\.censor\.source is "closures"/,
    (s) => (s.labels[0].window.censor.source = 'closures'),
  ],
  [
    'a value that a binary model cannot learn',
    'SPEC_INVALID',
    /models\.repeat\.label is "again"; a binary model needs a label that is true or false: fn any, not sum/,
    (s) =>
      Object.assign(s.labels[0], {
        of: { op: 'column', name: 'amount' },
        window: { ...s.labels[0].window, fn: 'sum' },
      }),
  ],
  [
    'an early value',
    'SPEC_INVALID',
    /window\.earlyPositive is true; only any has it/,
    (s) => Object.assign(s.labels[0].window, { fn: 'count', earlyPositive: true }),
  ],
  [
    'a group that the spine does not give',
    'REFERENCE_MISSING',
    /trainings\.t\.split\.group is "custmer", .* did you mean "customer"/,
    (s) => (s.models[0].trainings[0].split.group = 'custmer'),
  ],
  // rows by a query
  [
    'a query over a source that does not exist',
    'REFERENCE_MISSING',
    /spines\.asked\.sql\.sources\[1\] is "return"/,
    (s) => asQuery(s, { sources: ['orders', 'return'] }),
  ],
  [
    'a query and rows of events at once',
    'SPEC_INVALID',
    /spines\.asked\.request is .*; with sql the query gives the request fields/,
    (s) => Object.assign(s.spines[0], { sql: { text: 'select 1', sources: ['orders'] }, asOf: AS_OF }),
  ],
  [
    'the own event of a row that has none',
    'SPEC_INVALID',
    /models\.repeat\.label is "again"; rows of a query have no event of their own/,
    (s) => {
      asQuery(s, {});
      s.labels[0] = { ...s.labels[0], of: literal(true, 'bool') };
      delete s.labels[0].window;
    },
  ],
  // the input of a model
  [
    'a text in the input',
    'SPEC_INVALID',
    /features@1\.features\.me__tier is "tier of totals@1"; it is a text, .* such as latest\(row\.tier\.eq\('gold'\)\)/,
    (s) => pick(s, { name: 'me__tier', feature: 'tier' }),
  ],
  [
    'a list in the input',
    'SPEC_INVALID',
    /me__tiers__7d is "tiers of totals@1"; it is a list/,
    (s) => pick(s, { name: 'me__tiers__7d', feature: 'tiers', window: '7d' }),
  ],
  [
    'a window of a latest value in a set',
    'SPEC_INVALID',
    /me__amount__7d\.window is "7d"; amount is a latest value/,
    (s) => pick(s, { name: 'me__amount__7d', feature: 'amount', window: '7d' }),
  ],
  [
    'no window where there are some',
    'SPEC_INVALID',
    /me__n\.window is null; n has windows: 7d/,
    (s) => pick(s, { name: 'me__n', feature: 'n' }),
  ],
])('%s is refused', (_, code, message, breakIt) => {
  const spec = aProject();
  breakIt(spec);
  const refusal = refusalOf(spec);
  expect(refusal.message).toMatch(message);
  expect(refusal.code).toBe(code);
});

test('an exclusive view may read what is known at once: the event that is asked about is not in it', () => {
  const spec = aProject();
  spec.sources[0].availableAt = { op: 'column', name: 'at' };
  spec.views[0].boundary = 'exclusive';
  spec.labels[0].window.boundary = 'exclusive';
  expect(checkProjectSpec(spec).views[0]!.boundary).toBe('exclusive');
});

test('defaults beyond what a JSON number holds are text: large whole numbers, NaN and the infinities', () => {
  const spec = aProject();
  feature(spec, 'n').default = '9007199254740993';
  feature(spec, 'average').default = '-Infinity';
  expect(checkProjectSpec(spec)).toEqual(spec);
});

test('windows over what is known at once are left to the leakage gate, which looks at the rows', () => {
  const spec = aProject();
  spec.sources[0].availableAt = { op: 'column', name: 'at' };
  spec.views[0].features = spec.views[0].features.filter(({ fn }: Loose) => fn !== 'latest');
  spec.featureSets[0].features = spec.featureSets[0].features.filter(({ window: of }: Loose) => of !== null);
  spec.models[0].rule.expression = { op: 'column', name: 'me__n__7d' };
  expect(() => checkProjectSpec(spec)).not.toThrow();
});
