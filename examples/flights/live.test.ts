import { expect, expectTypeOf, test } from 'vitest';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { parseTime } from '../../domain/features/time-text.ts';
import { addFact, createHistory, factOf, readHistory } from '../../features/history/history.ts';
import type { Datum, FactKind } from '../../features/history/fact.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import live, { type LiveRow } from './live.ts';

const MINUTE = 60_000_000;
const T = parseTime('2026-06-01T12:00:00Z');

interface Report {
  readonly flight: string;
  readonly delay?: number | null;
  readonly boarding?: boolean | null;
  /** Minutes after T. */
  readonly departs: number;
  readonly known: number;
  readonly kind?: FactKind;
}

/** Values and statuses of a view for one airport, after these reports, at some minutes after T. */
function readAt(view: string, reports: readonly Report[], minutes: number): Record<string, [unknown, string]> {
  const compiled = compileViewOf(live as ProjectSpec, view);
  if (compiled.kind !== 'history') throw new Error('a view of corrected rows is kept as history');
  const { plan } = compiled;
  const history = createHistory(plan);
  for (const [seq, { kind = 'put', flight, departs, known, ...row }] of reports.entries()) {
    const values: Record<string, Datum> = {
      airport: 'SEA',
      carrier: flight.slice(0, 2),
      captain: null,
      departs_at: T + departs * MINUTE,
      delay: null,
      boarding: null,
      ...row,
    };
    const at = { eventAt: T + departs * MINUTE, availableAt: T + known * MINUTE, seq: seq + 1 };
    addFact(plan, history, factOf(plan, values, { kind, identity: flight, ...at }));
  }
  const read = readHistory(plan, history, T + minutes * MINUTE);
  return Object.fromEntries(plan.outputs.map(({ name }, i) => [name, [read.values[i], read.statuses[i]!]]));
}

test('the row of its feature set is a type', () => {
  expectTypeOf<LiveRow>().toEqualTypeOf<{
    readonly origin__delay: number | null;
    readonly origin__boarding: boolean;
    readonly origin__reported_at: number | bigint | null;
    readonly destination__delay: number | null;
    readonly history__flights__1h: number;
    readonly history__flights__ever: number;
    readonly history__mean_delay__1d: number | null;
    readonly history__mean_delay__yesterday: number | null;
    readonly history__last_delay__1d: number;
    readonly network__mean_delay__1h: number | null;
    readonly worse_than_yesterday: boolean | null;
    readonly silent: boolean | null;
    readonly load: number | null;
  }>();
  expect(live.featureSets[0]!.features).toHaveLength(13);
});

test('a correction replaces the report from the moment it is known', () => {
  const reports = [
    { flight: 'AA1', departs: 0, known: 0, delay: 10 },
    { flight: 'AA1', departs: 0, known: 30, delay: 45 },
  ];
  expect(readAt('airport_now@1', reports, 29)['delay']).toEqual([10, 'present']);
  expect(readAt('airport_now@1', reports, 30)['delay']).toEqual([45, 'present']);
  expect(readAt('airport_delays@1', reports, 30)['flights__1h']).toEqual([1, 'present']);
});

test('a report that is withdrawn was never there, from then on', () => {
  const reports: Report[] = [
    { flight: 'AA1', departs: 0, known: 0, delay: 10 },
    { flight: 'AA2', departs: 5, known: 5, delay: 90 },
    { flight: 'AA2', departs: 5, known: 20, kind: 'retract' },
  ];
  expect(readAt('airport_now@1', reports, 10)['delay']).toEqual([90, 'present']);
  expect(readAt('airport_now@1', reports, 20)['delay']).toEqual([10, 'present']);
});

test('a reset ends what is older, also what arrives later', () => {
  const reports: Report[] = [
    { flight: 'AA1', departs: 0, known: 0, delay: 10 },
    { flight: '', departs: 5, known: 5, kind: 'tombstone' },
    { flight: 'AA2', departs: 4, known: 30, delay: 90 },
  ];
  expect(readAt('airport_now@1', reports, 40)['delay']).toEqual([null, 'deleted']);
  expect(readAt('airport_delays@1', reports, 40)['flights__1h']![0]).toBe(0);
});

test('a latest value lives for its TTL to the microsecond, and a default takes its place', () => {
  const reports = [{ flight: 'AA1', departs: 0, known: 0, delay: 10, boarding: true }];
  expect(readAt('airport_now@1', reports, 360)).toMatchObject({ delay: [10, 'present'], boarding: [true, 'present'] });
  const later = readAt('airport_now@1', reports, 360 + 1 / 60e6);
  expect(later).toMatchObject({ delay: [null, 'expired'], boarding: [false, 'expired'] });
});

test('nulls are skipped where the view says so', () => {
  const reports = [
    { flight: 'AA1', departs: 0, known: 0, delay: 10 },
    { flight: 'AA2', departs: 5, known: 5, delay: null },
  ];
  expect(readAt('airport_now@1', reports, 6)['delay']).toEqual([10, 'present']);
  expect(readAt('airport_delays@1', reports, 6)).toMatchObject({
    flights__1h: [2, 'present'],
    mean_delay__1d: [10, 'present'],
  });
});

test('an airport that nobody reported on has no latest values, counts of 0 and empty lists', () => {
  expect(readAt('airport_now@1', [], 0)['delay']).toEqual([null, 'not_found']);
  const never = readAt('airport_delays@1', [], 0);
  expect([never['flights__ever']![0], never['per_hour__1d']![0], never['mean_delay__1d']![0]]).toEqual([0, 0, null]);
  expect([never['by_carrier__1d']![0], never['busiest__1d']![0]]).toEqual([[], []]);
});

test('groups are pairs in ascending order, the top the most frequent first', () => {
  const reports = [
    { flight: 'UA1', departs: 0, known: 0, delay: 5 },
    { flight: 'AA1', departs: 0, known: 0, delay: 7 },
    { flight: 'UA2', departs: 0, known: 0, delay: 1 },
  ];
  expect(readAt('airport_delays@1', reports, 1)).toMatchObject({
    by_carrier__1d: [
      [
        ['AA', 7],
        ['UA', 6],
      ],
      'present',
    ],
    busiest__1d: [
      [
        ['UA', 2],
        ['AA', 1],
      ],
      'present',
    ],
  });
});
