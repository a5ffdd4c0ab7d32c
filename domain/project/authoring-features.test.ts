import { expect, expectTypeOf, test } from 'vitest';
import {
  approxCountDistinct,
  column,
  count,
  countDistinct,
  days,
  entity,
  featureSet,
  featureView,
  first,
  hours,
  label,
  last,
  latest,
  lifetime,
  literal,
  max,
  mean,
  min,
  minutes,
  model,
  project,
  quantile,
  rate,
  share,
  source,
  spine,
  spineQuery,
  stddevPop,
  stddevSamp,
  sum,
  topK,
  training,
  variancePop,
  varianceSamp,
  window,
  type Condition,
  type FeatureRow,
  type Instant,
  type Numeric,
} from './authoring.ts';
import { checkProjectSpec } from './check.ts';

const orders = source('orders', {
  description: '',
  owner: 'shop',
  columns: {
    order_id: column.i64(),
    customer: column.str({ pii: true }),
    placed_at: column.ts(),
    known_at: column.ts(),
    amount: column.f64({ nullable: true }),
    items: column.i64(),
    country: column.str({ nullable: true }),
    express: column.bool(),
    what: column.str({ nullable: true }),
  },
  eventAt: 'placed_at',
  availableAt: (row) => row.known_at,
  eventId: ['order_id'],
  freshnessSla: minutes(5),
  revisions: 'versions',
  operation: { column: 'what', retract: 'cancelled', tombstone: 'erased' },
});

const returns = source('returns', {
  description: '',
  owner: 'shop',
  columns: { customer: column.str(), at: column.ts(), known_at: column.ts(), amount: column.f64(), id: column.i64() },
  eventAt: 'at',
  availableAt: (row) => row.known_at,
  eventId: ['id'],
  freshnessSla: hours(1),
});

const customer = entity('customer', { keys: { customer: 'str' }, description: '' });
const everything = entity('everything', { keys: {}, description: 'the whole shop' });

const week = { '7d': window(days(7)) } as const;

const customerOrders = featureView('customer_orders', {
  version: 1,
  entity: customer,
  source: orders,
  key: { customer: 'customer' },
  description: '',
  ttl: days(90),
  boundary: 'exclusive',
  freshnessSla: minutes(1),
  features: (row) => ({
    orders: count({ windows: { ...week, ever: lifetime(), before: window(days(7), { offset: days(7) }) } }),
    with_amount: count(row.amount, { windows: week }),
    per_hour: rate({ windows: week, per: hours(1) }),
    express: share(row.express, { windows: week, default: 0 }),
    items: sum(row.items, { windows: week }),
    spent: sum(row.amount, { windows: week, default: 0 }),
    mean_amount: mean(row.amount, { windows: week }),
    var_pop: variancePop(row.amount, { windows: week }),
    var_samp: varianceSamp(row.amount, { windows: week }),
    sd_pop: stddevPop(row.amount, { windows: week }),
    sd_samp: stddevSamp(row.amount, { windows: week }),
    p90: quantile(row.amount, { windows: week, q: 0.9 }),
    first_items: first(row.items, { windows: week }),
    last_country: last(row.country, { windows: week, nulls: 'skip', default: '' }),
    countries: countDistinct(row.country, { windows: week }),
    many_items: approxCountDistinct(row.items, { windows: week, exactUpTo: 100 }),
    favourites: topK(row.country, { windows: week, k: 3 }),
    by_country: sum(row.amount, { windows: week, by: row.country }),
    smallest: min(row.placed_at, { windows: week }),
    largest: max(row.country, { windows: week }),
    last_order: latest(row.placed_at),
    last_items: latest(row.items, { default: 0 }),
    is_express: latest(row.express),
    country: latest(row.country, { nulls: 'skip', where: row.items.gt(9_007_199_254_740_993n) }),
  }),
});

const shopOrders = featureView('shop_orders', {
  version: 1,
  entity: everything,
  source: orders,
  key: {},
  description: '',
  features: () => ({ orders: count({ windows: { '1h': window(hours(1)) } }) }),
});

const orderFeatures = featureSet('order_features', {
  version: 1,
  description: '',
  request: { customer: column.str(), basket: column.f64() },
  views: {
    me: customerOrders.as({ customer: 'customer' }).pick({
      orders: ['7d', 'ever'],
      items: ['7d'],
      mean_amount: ['7d'],
      spent: ['7d'],
      last_order: true,
      last_items: true,
      is_express: true,
    }),
    shop: shopOrders.as({}).pick({ orders: ['1h'] }),
  },
  derived: {
    relative: (row) => row.request.basket.div(row.me.mean_amount['7d']),
    is_new: (row) => row.me.orders.ever.eq(0),
    seen_today: (row) => row.me.last_order.plusMinutes(1_440).ge(row.asOf),
    express_often: (row) => row.me.is_express.and(row.me.orders['7d'].gt(3)),
  },
});

const questions = spine('questions', {
  source: orders,
  asOf: (row) => row.placed_at,
  request: (row) => ({ customer: row.customer, basket: row.amount.coalesce(0) }),
});

const returned = label('returned', {
  source: returns,
  on: { customer: 'customer' },
  description: '',
  window: { horizon: days(30), gap: hours(1), delay: days(2), where: (row) => row.amount.gt(0), earlyPositive: true },
});

const gate = { kind: 'schema' } as const;
const rollout = {
  stages: [{ weightPercent: 5, minDurationMs: 1, maxDurationMs: 2, minCanaryRequests: 1 }],
  guardrails: [{ metric: 'errors', margin: 0.01, direction: 'increase', required: true }],
} as const;
const promises = {
  description: '',
  owner: 'shop',
  riskTier: 'low',
  threshold: 0.5,
  latencyBudgetMsP99: 50,
  gates: [gate],
  rollout,
  monitors: [],
  logSampleRate: 0.1,
} as const;

const split = { trainFrom: '2001-01-01', testFrom: '2001-03-01', testTo: '2001-04-01' } as const;

const returnModel = model('returns', {
  ...promises,
  spine: questions,
  label: returned,
  rule: { featureSet: orderFeatures, score: (row) => row.me.spent['7d'].ln1p() },
  trainings: [
    training('trees', {
      featureSet: orderFeatures,
      trainer: { kind: 'gbt' },
      split: { ...split, embargo: days(1), group: 'customer' },
      seed: 1,
      description: '',
    }),
  ],
});

test('a project with everything that views, labels and splits can say passes its own check unchanged', () => {
  const spec = project('shop', { description: '', models: [returnModel] });
  expect(checkProjectSpec(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
  expect(spec.entities.find(({ name }) => name === 'everything')!.keys).toEqual([]);
  expect(spec.sources.map(({ name }) => name)).toEqual(['orders', 'returns']);
});

test('what is not said is not in the spec, so that the digest of an older project stays', () => {
  expect(Object.keys(shopOrders.spec)).not.toContain('boundary');
  expect(Object.keys(shopOrders.spec.features[0]!)).toEqual([
    'name',
    'fn',
    'of',
    'where',
    'windows',
    'default',
    'description',
  ]);
  expect(shopOrders.spec.features[0]!.windows[0]).toEqual({
    name: '1h',
    lengthMicros: 3_600_000_000,
    hopMicros: null,
  });
});

test('a view says its boundary, its TTL and its own freshness', () => {
  expect(customerOrders.spec).toMatchObject({
    boundary: 'exclusive',
    ttlMicros: 90 * 86_400_000_000,
    freshnessSlaSeconds: 60,
  });
  expect(orders.spec).toMatchObject({
    revisions: 'versions',
    operation: { column: 'what', retract: 'cancelled', tombstone: 'erased' },
  });
});

test('windows over all of the past, and windows moved back', () => {
  expect(customerOrders.spec.features[0]!.windows).toEqual([
    { name: '7d', lengthMicros: 7 * 86_400_000_000, hopMicros: null },
    { name: 'ever', lengthMicros: null, hopMicros: null },
    { name: 'before', lengthMicros: 7 * 86_400_000_000, hopMicros: null, offsetMicros: 7 * 86_400_000_000 },
  ]);
});

test('a latest value is a feature without a window, named by alias and feature', () => {
  expect(orderFeatures.spec.features.find(({ name }) => name === 'me__last_items')).toEqual({
    kind: 'view',
    name: 'me__last_items',
    alias: 'me',
    feature: 'last_items',
    window: null,
  });
});

test('a whole number beyond 2^53 is written as its digits', () => {
  expect(literal(9_007_199_254_740_993n).expression).toEqual({
    op: 'literal',
    value: '9007199254740993',
    type: 'i64',
  });
  expect(literal(7n).expression).toEqual(literal(7).expression);
  expect(latest(orders.row.items, { default: 9_007_199_254_740_993n }).spec.default).toBe('9007199254740993');
});

test('a label of later events finds them by the fields of the request', () => {
  expect(returned.spec.window).toEqual({
    fn: 'any',
    where: expect.objectContaining({ op: 'gt' }),
    key: ['customer'],
    on: ['customer'],
    boundary: 'inclusive',
    gapMicros: 3_600_000_000,
    horizonMicros: 30 * 86_400_000_000,
    delayMicros: 2 * 86_400_000_000,
    earlyPositive: true,
    censor: null,
  });
});

const mondays = spineQuery('mondays', {
  sources: [orders, returns],
  request: { customer: column.str(), basket: column.f64() },
  query: `select 0 as as_of, customer, 1.0 as basket from orders`,
});

test('rows may be asked for by a query, whose fields and sources are declared', () => {
  const spec = project('shop', {
    description: '',
    models: [
      model('weekly', {
        ...promises,
        spine: mondays,
        label: returned,
        rule: { featureSet: orderFeatures, score: (row) => row.me.spent['7d'].ln1p() },
        trainings: [
          training('trees', { featureSet: orderFeatures, trainer: { kind: 'gbt' }, split, seed: 1, description: '' }),
        ],
      }),
    ],
  });
  expect(spec.spines[0]).toMatchObject({
    source: 'orders',
    request: [],
    sql: { text: expect.stringContaining('from orders'), sources: ['orders', 'returns'] },
  });
  expect(spec.sources.map(({ name }) => name)).toEqual(['orders', 'returns']);
});

test('a split says its embargo and its group', () => {
  expect(returnModel.spec.trainings[0]!.split).toMatchObject({ embargoMicros: 86_400_000_000, group: 'customer' });
});

test('the row of a feature set is a type: its names, its values, and where they can be null', () => {
  type Row = FeatureRow<typeof orderFeatures>;
  expectTypeOf<Row>().toEqualTypeOf<{
    readonly me__orders__7d: number;
    readonly me__orders__ever: number;
    readonly me__items__7d: number | bigint | null;
    readonly me__mean_amount__7d: number | null;
    readonly me__spent__7d: number;
    readonly me__last_order: number | bigint | null;
    readonly me__last_items: number | bigint;
    readonly me__is_express: boolean | null;
    readonly shop__orders__1h: number;
    readonly relative: number | null;
    readonly is_new: boolean | null;
    readonly seen_today: boolean | null;
    readonly express_often: boolean | null;
  }>();
  const names: (keyof Row)[] = ['me__orders__7d', 'is_new'];
  const inSpec = orderFeatures.spec.features.map(({ name }) => name);
  expect(names.every((name) => inSpec.includes(name))).toBe(true);
  expect(inSpec).toHaveLength(13);
});

test('a set without derived features has the features of its views, one without views its derived ones', () => {
  const plain = featureSet('plain', {
    version: 1,
    description: '',
    request: {},
    views: { shop: shopOrders.as({}).pick({ orders: ['1h'] }) },
  });
  expectTypeOf<FeatureRow<typeof plain>>().toEqualTypeOf<{ readonly shop__orders__1h: number }>();
  const asked = featureSet('asked', {
    version: 1,
    description: '',
    request: { basket: column.f64() },
    views: {},
    derived: { log_basket: (row) => row.request.basket.ln1p() },
  });
  expectTypeOf<FeatureRow<typeof asked>>().toEqualTypeOf<{ readonly log_basket: number | null }>();
  expect([...plain.spec.features, ...asked.spec.features].map(({ name }) => name)).toEqual([
    'shop__orders__1h',
    'log_basket',
  ]);
});

test('a derived feature may say what it is; its row and its value are typed as of any other', () => {
  const set = featureSet('described', {
    version: 1,
    description: '',
    request: { basket: column.f64() },
    views: { shop: shopOrders.as({}).pick({ orders: ['1h'] }) },
    derived: {
      busy: { of: (row) => row.shop.orders['1h'].gt(100), description: 'more orders than the warehouse packs' },
      log_basket: (row) => row.request.basket.ln1p(),
    },
  });
  expectTypeOf<FeatureRow<typeof set>>().toEqualTypeOf<{
    readonly shop__orders__1h: number;
    readonly busy: boolean | null;
    readonly log_basket: number | null;
  }>();
  expect(set.spec.features.slice(1)).toEqual([
    {
      kind: 'derived',
      name: 'busy',
      expression: expect.objectContaining({ op: 'gt' }),
      description: 'more orders than the warehouse packs',
    },
    expect.objectContaining({ name: 'log_basket', description: '' }),
  ]);
});

test('a feature in an expression is a term of its own type', () => {
  const { row } = orderFeatures;
  expectTypeOf(row.me.is_express).toEqualTypeOf<Condition>();
  expectTypeOf(row.me.last_order).toEqualTypeOf<Instant>();
  expectTypeOf(row.me.orders.ever).toEqualTypeOf<Numeric<'i64'>>();
  expectTypeOf(row.me.mean_amount['7d']).toEqualTypeOf<Numeric<'f64'>>();
  expect(row.me.is_express.type).toBe('bool');
  expect(row.me.last_order.type).toBe('ts');
  expect(row.me.orders.ever.type).toBe('i64');
});

/** Never run: each line below an `@ts-expect-error` must be refused by the compiler. */
export function mistakesThatDoNotCompile(): unknown[] {
  const { row } = orders;
  const noCustomer = spine('s', { source: orders, asOf: (r) => r.placed_at, request: () => ({ basket: literal(1) }) });
  return [
    // @ts-expect-error: a text has no mean
    mean(row.country, { windows: week }),
    // @ts-expect-error: a text has no quantile
    quantile(row.country, { windows: week, q: 0.5 }),
    // @ts-expect-error: a quantile says which
    quantile(row.amount, { windows: week }),
    // @ts-expect-error: the default of a number is a number
    latest(row.items, { default: 'none' }),
    // @ts-expect-error: a latest value has no windows
    latest(row.items, { windows: week }),
    source('x', {
      description: '',
      owner: '',
      columns: { at: column.ts() },
      eventAt: 'at',
      availableAt: (r) => r.at,
      eventId: ['at'],
      freshnessSla: hours(1),
      // @ts-expect-error: the operation is in a text column
      operation: { column: 'at' },
    }),
    featureView('v', {
      version: 1,
      entity: everything,
      source: orders,
      // @ts-expect-error: an entity without keys has no key
      key: { customer: 'customer' },
      description: '',
      features: () => ({ n: count({ windows: week }) }),
    }),
    // @ts-expect-error: a model's input holds no text
    customerOrders.as({ customer: 'customer' }).pick({ country: true }),
    // @ts-expect-error: nor lists
    customerOrders.as({ customer: 'customer' }).pick({ favourites: ['7d'] }),
    // @ts-expect-error: nor lists by group
    customerOrders.as({ customer: 'customer' }).pick({ by_country: ['7d'] }),
    // @ts-expect-error: a latest value has no windows to pick
    customerOrders.as({ customer: 'customer' }).pick({ last_items: ['7d'] }),
    // @ts-expect-error: a windowed feature is picked by its windows
    customerOrders.as({ customer: 'customer' }).pick({ orders: true }),
    // @ts-expect-error: a view by customer needs the field of its key
    customerOrders.as({}).pick({ orders: ['7d'] }),
    featureSet('s', {
      version: 1,
      description: '',
      request: { customer: column.str() },
      views: { me: customerOrders.as({ customer: 'customer' }).pick({ is_express: true, last_order: true }) },
      derived: {
        // @ts-expect-error: a truth value is not added to
        wrong: (r) => r.me.is_express.plus(1),
        // @ts-expect-error: the set does not pick the country
        missing: (r) => r.me.country.eq('DE'),
      },
    }),
    // @ts-expect-error: a misspelt column
    label('l', { source: returns, on: { custmer: 'customer' }, description: '', window: { horizon: days(1) } }),
    model('m', {
      ...promises,
      spine: noCustomer,
      // @ts-expect-error: the label finds its events by a field that the spine does not give
      label: returned,
      // @ts-expect-error: nor does it give the key of the view
      rule: { featureSet: orderFeatures, score: () => literal(1) },
      trainings: [],
    }),
    training('t', {
      featureSet: orderFeatures,
      trainer: { kind: 'logistic' },
      // @ts-expect-error: the group is no request field
      split: { ...split, group: 'custmer' },
      seed: 1,
      description: '',
    }),
    featureSet('s', {
      version: 1,
      description: '',
      request: { customer: column.str() },
      views: {},
      // @ts-expect-error: a misspelt request field, beside a description as well
      derived: { wrong: { of: (r) => r.request.custmer.eq('x'), description: '' } },
    }),
    // @ts-expect-error: a row has no feature of that name
    (r: FeatureRow<typeof orderFeatures>) => r.me__orders__8d,
  ];
}
