import { expect, test } from 'vitest';
import flights from '../../examples/flights/project.ts';
import {
  column,
  count,
  days,
  entity,
  featureSet,
  featureView,
  hours,
  latest,
  minutes,
  project,
  source,
  sum,
  topK,
  window,
} from './authoring.ts';
import { catalogueOf, type CatalogueFeature } from './catalogue.ts';
import type { RegisteredVersion } from './uses.ts';

const version2: RegisteredVersion = {
  model: 'flight-delay',
  version: 2,
  kind: 'onnx',
  stage: 'production',
  routed: true,
  featureSet: 'delay_features@1',
  spec: flights,
};

function entry(features: readonly CatalogueFeature[], definition: string, name: string): CatalogueFeature {
  const found = features.find((each) => each.definition === definition && each.name === name);
  expect(found).toBeDefined();
  return found!;
}

test('a feature says what it computes, from which columns, and who reads it', () => {
  const feature = entry(catalogueOf(flights, [version2]), 'origin_delays@1', 'delay_share');
  expect(feature).toEqual({
    project: 'flights',
    definition: 'origin_delays@1',
    version: 1,
    name: 'delay_share',
    kind: 'view',
    type: 'f64',
    computes: 'share of delay ≥ 15',
    outputs: ['delay_share__3h', 'delay_share__24h', 'delay_share__7d'],
    windows: ['3h: 3h, hop 15min', '24h: 1d, hop 1h', '7d: 7d, hop 1d'],
    owner: 'flight-operations',
    description: 'delays of the flights that left an airport',
    freshnessSlaSeconds: 3600,
    ttlSeconds: null,
    boundary: 'inclusive',
    default: null,
    lineage: [
      { source: 'flights', column: 'date', type: 'ts', pii: false, roles: ['time'] },
      { source: 'flights', column: 'delay', type: 'i64', pii: false, roles: ['value'] },
      { source: 'flights', column: 'origin', type: 'str', pii: false, roles: ['key'] },
    ],
    requestFields: [],
    pii: false,
    readBy: {
      featureSets: ['delay_features@1', 'leaky_features@1', 'delay_features@2'],
      models: [{ model: 'flight-delay', version: 2, stage: 'production' }],
    },
  });
});

test('a feature that no set picks is read by nobody', () => {
  const feature = entry(catalogueOf(flights, [version2]), 'route_delays@1', 'mean_delay');
  expect(feature.readBy).toEqual({ featureSets: [], models: [] });
});

test('a derived feature comes from the request and from the columns behind what it reads', () => {
  const orders = source('orders', {
    description: '',
    owner: 'shop',
    columns: {
      id: column.i64(),
      at: column.ts(),
      known: column.ts(),
      email: column.str({ pii: true }),
      amount: column.f64(),
      tier: column.str(),
    },
    eventAt: 'at',
    availableAt: (row) => row.known,
    eventId: ['id'],
    freshnessSla: hours(1),
  });
  const shopper = entity('shopper', { keys: { tier: 'str' }, description: '' });
  const spending = featureView('spending', {
    version: 3,
    entity: shopper,
    source: orders,
    key: { tier: 'tier' },
    description: 'what is spent',
    ttl: days(2),
    freshnessSla: minutes(1),
    features: (row) => ({
      spent: sum(row.amount, { windows: { '1h': window(hours(1)) }, where: row.email.ne('test'), default: 0 }),
      orders: count({ windows: { '1h': window(hours(1)) } }),
      last_amount: latest(row.amount),
      tiers: topK(row.tier, { windows: { '1h': window(hours(1)) }, k: 2 }),
    }),
  });
  const set = featureSet('shop', {
    version: 1,
    description: 'of a basket',
    request: { tier: column.str(), basket: column.f64() },
    views: { mine: spending.as({ tier: 'tier' }).pick({ spent: ['1h'] }) },
    derived: {
      ratio: (row) => row.request.basket.div(row.mine.spent['1h']),
      doubled: (row) => row.derived.ratio.times(2),
    },
  });
  const spec = project('shop', { description: '', models: [], featureSets: [set] });
  const features = catalogueOf(spec, []);
  expect(entry(features, 'shop@1', 'doubled')).toMatchObject({
    kind: 'derived',
    type: 'f64',
    computes: 'ratio × 2',
    requestFields: ['basket'],
    pii: true,
    lineage: [
      { column: 'at', roles: ['time'] },
      { column: 'email', roles: ['condition'], pii: true },
      { column: 'amount', roles: ['value'] },
      { column: 'tier', roles: ['key'] },
    ],
  });
  expect(entry(features, 'spending@3', 'orders').pii).toBe(false);
  expect(entry(features, 'spending@3', 'spent')).toMatchObject({
    computes: 'sum of amount where email ≠ "test"',
    default: 0,
    ttlSeconds: 172_800,
    freshnessSlaSeconds: 60,
    version: 3,
  });
  expect(entry(features, 'spending@3', 'tiers')).toMatchObject({
    type: 'list<str, i64>',
    computes: 'top_k of tier, the first 2',
  });
  expect(entry(features, 'spending@3', 'last_amount')).toMatchObject({ outputs: ['last_amount'], windows: [] });
});
