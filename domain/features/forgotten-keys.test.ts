import { describe, expect, test } from 'vitest';
import type { EntitySpec, ProjectSpec } from '../project/spec.ts';
import { keyHoldersOf, mayMove, readEntityKey } from './forgotten-keys.ts';

const column = (name: string) => ({ op: 'column', name }) as const;
const entity = (name: string, parts: readonly string[]): EntitySpec => ({
  name,
  keys: parts.map((part) => ({ name: part, type: 'str' })),
  description: '',
});

/** Flights between airports, and a label on the next flight from the same one. */
function aProject(overrides: object = {}): ProjectSpec {
  const view = (name: string, of: string, source: string, key: readonly string[]) => ({
    name,
    version: 1,
    entity: of,
    source,
    key,
  });
  return {
    name: 'flights',
    sources: [{ name: 'flights' }, { name: 'weather' }, { name: 'closures' }, { name: 'queue' }],
    entities: [entity('airport', ['airport']), entity('route', ['origin', 'destination'])],
    views: [
      view('origin_delays', 'airport', 'flights', ['origin']),
      view('destination_delays', 'airport', 'flights', ['destination']),
      view('weather', 'airport', 'weather', ['station']),
      view('routes', 'route', 'flights', ['origin', 'destination']),
    ],
    featureSets: [
      {
        name: 'inputs',
        version: 2,
        views: [
          { alias: 'from', view: 'origin_delays@1', key: ['from'] },
          { alias: 'to', view: 'destination_delays@1', key: ['to'] },
          { alias: 'route', view: 'routes@1', key: ['from', 'to'] },
        ],
      },
    ],
    labels: [
      {
        name: 'closed',
        source: 'closures',
        window: {
          key: ['closed_airport'],
          on: ['from'],
          censor: { source: 'weather', key: ['station', 'runway'], on: ['from', 'to'] },
        },
      },
    ],
    spines: [
      {
        name: 'asked',
        source: 'queue',
        request: [
          { name: 'from', value: column('here') },
          { name: 'to', value: { op: 'literal', value: 'SFO' } },
        ],
      },
    ],
    models: [{ name: 'late', spine: 'asked', label: 'closed', rule: { featureSet: 'inputs@2' }, trainings: [] }],
    ...overrides,
  } as unknown as ProjectSpec;
}

describe('the holders of an entity', () => {
  const found = keyHoldersOf([aProject()], 'airport')!;
  const bySource = Object.fromEntries(found.sources.map(({ source, keys }) => [source.name, keys]));

  test('are the columns of its views in every role, of label windows on its fields, and of the spine that asks for it', () => {
    expect(bySource).toEqual({
      flights: [['origin'], ['destination']],
      weather: [['station']],
      closures: [['closed_airport']],
      queue: [['here']],
    });
  });

  test('are the request fields by feature set, label and model', () => {
    expect(found.featureSets).toEqual(new Map([['inputs@2', [['from'], ['to']]]]));
    expect(found.labels).toEqual(new Map([['closed', [['from']]]]));
    expect(found.models).toEqual(new Map([['late', [['from'], ['to']]]]));
    expect(found.views.map(({ viewId }) => viewId)).toEqual(['origin_delays@1', 'destination_delays@1', 'weather@1']);
  });

  test('of another entity with the same columns are its own: a censor on both fields is of the route', () => {
    const route = keyHoldersOf([aProject()], 'route')!;
    expect(Object.fromEntries(route.sources.map(({ source, keys }) => [source.name, keys]))).toEqual({
      flights: [['origin', 'destination']],
      weather: [['station', 'runway']],
    });
  });

  test('count what an earlier version declared, which may lie in the log still', () => {
    const now = aProject({ views: [], featureSets: [], labels: [], spines: [], models: [] });
    expect(keyHoldersOf([now], 'airport')!.sources).toEqual([]);
    expect(keyHoldersOf([now, aProject()], 'airport')!.sources).toHaveLength(4);
  });

  test('are of no entity that was never declared', () => {
    expect(keyHoldersOf([aProject()], 'plane')).toBeUndefined();
  });
});

test('rows may move where corrections can change a column of the key', () => {
  const source = { eventId: ['order'], revisions: 'versions' } as never;
  expect(mayMove(source, [['customer']])).toBe(true);
  expect(mayMove(source, [['order']])).toBe(false);
  expect(mayMove({ eventId: ['order'] } as never, [['customer']])).toBe(false);
});

describe('a key as a person names it', () => {
  const seat: EntitySpec = {
    name: 'seat',
    keys: [
      { name: 'flight', type: 'str' },
      { name: 'row', type: 'i64' },
      { name: 'window', type: 'bool' },
      { name: 'day', type: 'ts' },
    ],
    description: '',
  };
  const given = { flight: '007', row: '12', window: 'true', day: '1970-01-01T00:00:01Z' };

  test('has every part in its type; texts stay texts', () => {
    expect(readEntityKey(seat, given)).toEqual({ flight: '007', row: 12, window: true, day: 1_000_000 });
  });

  test.each([
    ['a part is missing', { flight: '007' }, 'needs the key part "row"'],
    ['a part is unknown', { ...given, seat: 'A' }, 'no key part "seat"; its key is flight, row, window, day'],
    ['a number is none', { ...given, row: '12a' }, '"row" of type i64, which "12a" is not'],
    ['a number is not exact', { ...given, row: '9007199254740993' }, '"row" of type i64'],
    ['a text is a number', { ...given, flight: 7 }, '"flight" of type str, which 7 is not'],
  ])('is refused when %s', (_, key, detail) => {
    expect(() => readEntityKey(seat, key as Record<string, string>)).toThrow(detail);
  });

  test('is refused when an instant has no zone, or the entity no key', () => {
    expect(() => readEntityKey(seat, { ...given, day: '1970-01-01T00:00:01' })).toThrow(
      expect.objectContaining({ code: 'TIME_NO_ZONE' }),
    );
    expect(() => readEntityKey(entity('network', []), {})).toThrow('has no key');
  });
});
