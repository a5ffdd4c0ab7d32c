import { beforeEach, describe, expect, test } from 'vitest';
import type { Expression } from '../../domain/project/expression.ts';
import { type AggregateSpec, PROJECT_FORMAT, type ProjectSpec } from '../../domain/project/spec.ts';
import { MICROS_PER_HOUR } from '../../domain/time.ts';
import { MemoryStore } from '../../test/setup/memory-store.ts';
import { FEATURE_STATUSES } from '../kernel/view-state.ts';
import { applyEvents, type PushedEvent } from '../online/apply-events.ts';
import { compileFeatureReader } from './feature-reader.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const latest = (name: string, overrides: Partial<AggregateSpec> = {}): AggregateSpec => ({
  name,
  fn: 'latest',
  of: column(name),
  where: null,
  windows: [],
  default: null,
  description: '',
  ...overrides,
});
const LIFETIME = { name: 'ever', lengthMicros: null, hopMicros: null };
const HOUR = { name: '1h', lengthMicros: MICROS_PER_HOUR, hopMicros: 60_000_000 };

const PROJECT: ProjectSpec = {
  format: PROJECT_FORMAT,
  name: 'tests',
  description: '',
  sources: [
    {
      name: 'accounts',
      description: '',
      owner: 'tests',
      columns: [
        { name: 'row', type: 'i64', nullable: false, pii: false, description: '' },
        { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'known', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'account', type: 'str', nullable: true, pii: false, description: '' },
        { name: 'plan', type: 'str', nullable: true, pii: false, description: '' },
        { name: 'active', type: 'bool', nullable: true, pii: false, description: '' },
        { name: 'cents', type: 'i64', nullable: true, pii: false, description: '' },
        { name: 'op', type: 'str', nullable: true, pii: false, description: '' },
      ],
      eventAt: 'at',
      zone: null,
      availableAt: column('known'),
      eventId: ['row'],
      freshnessSlaSeconds: 60,
      revisions: 'versions',
      operation: { column: 'op', retract: 'gone', tombstone: 'closed' },
    },
    {
      name: 'visits',
      description: '',
      owner: 'tests',
      columns: [
        { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
        { name: 'account', type: 'str', nullable: true, pii: false, description: '' },
      ],
      eventAt: 'at',
      zone: null,
      availableAt: column('at'),
      eventId: ['at'],
      freshnessSlaSeconds: 60,
    },
  ],
  entities: [{ name: 'account', keys: [{ name: 'account', type: 'str' }], description: '' }],
  views: [
    {
      name: 'profile',
      version: 1,
      entity: 'account',
      source: 'accounts',
      key: ['account'],
      features: [
        latest('plan', { default: 'free' }),
        latest('active'),
        latest('cents'),
        latest('total', { fn: 'sum', of: column('cents'), windows: [LIFETIME] }),
        latest('by_plan', { fn: 'count', of: null, by: column('plan'), windows: [LIFETIME] }),
      ],
      owner: 'tests',
      description: '',
      ttlMicros: 24 * MICROS_PER_HOUR,
    },
    {
      name: 'visits',
      version: 1,
      entity: 'account',
      source: 'visits',
      key: ['account'],
      features: [latest('visits', { fn: 'count', of: null, windows: [HOUR] })],
      owner: 'tests',
      description: '',
    },
  ],
  featureSets: [
    {
      name: 'account',
      version: 1,
      description: '',
      request: [
        { name: 'account', type: 'str', description: '' },
        { name: 'amount', type: 'f64', description: '' },
      ],
      views: [
        { alias: 'profile', view: 'profile@1', key: ['account'] },
        { alias: 'visits', view: 'visits@1', key: ['account'] },
      ],
      features: [
        ...['plan', 'active', 'cents'].map((feature) => ({
          kind: 'view' as const,
          name: feature,
          alias: 'profile',
          feature,
          window: null,
        })),
        ...['total', 'by_plan'].map((feature) => ({
          kind: 'view' as const,
          name: feature,
          alias: 'profile',
          feature,
          window: 'ever',
        })),
        { kind: 'view', name: 'visits', alias: 'visits', feature: 'visits', window: '1h' },
        {
          kind: 'derived',
          name: 'idle',
          expression: { op: 'not', of: column('active') },
          description: '',
        },
        {
          kind: 'derived',
          name: 'double',
          expression: { op: 'mul', left: column('amount'), right: { op: 'literal', value: 2, type: 'f64' } },
          description: '',
        },
      ],
    },
  ],
  spines: [],
  labels: [],
  models: [],
};

const T0 = 1_000_000 * MICROS_PER_HOUR;
const reader = compileFeatureReader(PROJECT, 'account@1');
const [profile, visits] = reader.views;
let store: MemoryStore;
let seq: number;
beforeEach(() => {
  store = new MemoryStore();
  seq = 0;
});

async function push(
  row: Partial<Record<string, string | number | bigint | boolean | null>>,
  kind: PushedEvent['kind'] = 'put',
) {
  seq++;
  const whole = { row: seq, at: T0, known: T0, account: 'a', plan: null, active: null, cents: null, op: null, ...row };
  const eventAt = whole.at as number;
  const event: PushedEvent = {
    seq,
    eventAt,
    availableAt: whole.known as number,
    clockAt: null,
    row: whole,
    kind: kind!,
    eventId: String(whole.row),
  };
  await applyEvents({ views: [profile!], events: [event], fromSeqExclusive: seq - 1, toSeq: seq, store });
}

async function visit(at: number): Promise<void> {
  const event: PushedEvent = {
    seq: at - T0 + 1,
    eventAt: at,
    availableAt: at,
    clockAt: null,
    row: { at, account: 'a' },
  };
  const { appliedSeq = 0 } = (await store.cursors(['visits@1'])).get('visits@1') ?? {};
  await applyEvents({ views: [visits!], events: [event], fromSeqExclusive: appliedSeq, toSeq: event.seq, store });
}

const readRow = async (asOf: number, account: string | null = 'a') => {
  const { rows } = await reader.readRows(store, [{ request: { account, amount: 4 }, asOf }]);
  return rows[0]!;
};

describe('a typed row', () => {
  test('has every value as it is, with its status and its age, in one round trip for all views', async () => {
    await push({ plan: 'pro', active: true, cents: 9_007_199_254_740_991 });
    await push({ plan: 'pro', cents: 9_007_199_254_740_991, at: T0 + 10, known: T0 + 10 });
    await visit(T0 + 5);
    store.reads = 0;
    const { values, statuses, ages, readAt } = await readRow(T0 + 30);
    expect(store.reads).toBe(1);
    expect(values).toEqual({
      plan: 'pro',
      active: null,
      cents: 9_007_199_254_740_991,
      total: 18_014_398_509_481_982n,
      by_plan: [['pro', 2]],
      visits: 1,
      idle: null,
      double: 8,
    });
    expect(statuses).toEqual({
      plan: 'present',
      active: 'null',
      cents: 'present',
      total: 'present',
      by_plan: 'present',
      visits: 'present',
      idle: 'null',
      double: 'present',
    });
    expect(ages).toMatchObject({ plan: 20, active: 20, total: 20, double: null });
    expect(readAt).toBe(T0 + 30);
  });

  test('lets a value expire by event time when it is read: at its age it is alive, a microsecond later not', async () => {
    await push({ plan: 'pro', active: true });
    const end = T0 + 24 * MICROS_PER_HOUR;
    expect(await readRow(end)).toMatchObject({ values: { plan: 'pro', active: true, idle: false } });
    expect(await readRow(end + 1)).toMatchObject({
      values: { plan: 'free', active: null, idle: null },
      statuses: { plan: 'expired', active: 'expired', idle: 'null' },
      ages: { plan: 24 * MICROS_PER_HOUR + 1 },
    });
  });

  test('tells what was never there from what was deleted, and what moved away from both', async () => {
    expect((await readRow(T0)).statuses).toMatchObject({ plan: 'not_found', total: 'not_found' });
    await push({ row: 7, plan: 'pro', account: 'a' });
    await push({ row: 7, plan: 'team', account: 'b', known: T0 + 5 });
    expect([(await readRow(T0 + 4)).values['plan'], (await readRow(T0 + 5)).statuses['plan']]).toEqual([
      'pro',
      'not_found',
    ]);
    expect((await readRow(T0 + 5, 'b')).values['plan']).toBe('team');
    await push({ account: 'b', at: T0 + 6, known: T0 + 6 }, 'tombstone');
    expect(await readRow(T0 + 6, 'b')).toMatchObject({ values: { plan: 'free' }, statuses: { plan: 'deleted' } });
    expect((await readRow(T0 + 6, null)).statuses['plan']).toBe('not_found');
  });

  test('has the numbers that the vector has', async () => {
    await push({ active: true, cents: 250 });
    const { values, statuses } = await reader.read(store, [{ request: { account: 'a', amount: null }, asOf: T0 }]);
    const at = (name: string): [number, string] => {
      const i = reader.columns.indexOf(name);
      return [values[i]!, FEATURE_STATUSES[statuses[i]!]!];
    };
    expect(at('active')).toEqual([1, 'present']);
    expect(at('idle')).toEqual([0, 'present']);
    expect(at('cents')).toEqual([250, 'present']);
    // text and lists are in no vector
    expect(at('by_plan')[0]).toBeNaN();
    expect(at('double')).toEqual([NaN, 'null']);
  });
});
