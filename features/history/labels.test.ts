import { describe, expect, test } from 'vitest';
import type { LabelSpec, LabelWindowSpec, SourceSpec } from '../../domain/project/spec.ts';
import type { FactKind } from './fact.ts';
import { addFact, createHistory, factOf, type KeyHistory } from './history.ts';
import type { Instant } from '../../domain/instant.ts';
import { compileLabel, knownEvents, type LabelPlan, readLabel } from './labels.ts';
import type { HistoryPlan } from './plan.ts';

const SOURCE: SourceSpec = {
  name: 'payments',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'user', type: 'str', nullable: false, pii: false, description: '' },
    { name: 'amount', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'op', type: 'str', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: { op: 'column', name: 'at' },
  eventId: ['user', 'at'],
  freshnessSlaSeconds: 60,
  revisions: 'versions',
  operation: { column: 'op', retract: 'retract', tombstone: 'tombstone' },
};
const SIDE = { source: SOURCE, keyParts: [{ name: 'user', type: 'str' as const }] };
const CENSOR = { source: 'payments', key: ['user'], on: ['user'], where: null };

function aLabel(window: Partial<LabelWindowSpec> = {}): LabelPlan {
  const spec: LabelSpec & { window: LabelWindowSpec } = {
    name: 'pays',
    source: 'payments',
    of: { op: 'column', name: 'amount' },
    description: '',
    window: {
      fn: 'any',
      where: null,
      key: ['user'],
      on: ['user'],
      boundary: 'inclusive',
      gapMicros: 0,
      horizonMicros: 10,
      delayMicros: 0,
      earlyPositive: false,
      censor: null,
      ...window,
    },
  };
  return compileLabel(spec, SIDE, spec.window.censor === null ? null : SIDE);
}

interface Event {
  readonly at: Instant;
  readonly knownAt?: Instant;
  readonly amount?: number | null;
  readonly kind?: FactKind;
}

function historyOf(plan: HistoryPlan, events: readonly Event[]): KeyHistory {
  const history = createHistory(plan);
  events.forEach(({ at, knownAt = at, amount = 1, kind = 'put' }, i) => {
    const row = { at, user: 'ann', amount, op: kind };
    addFact(plan, history, factOf(plan, row, { kind, eventAt: at, availableAt: knownAt, seq: i + 1, identity: null }));
  });
  return history;
}

/** Rows are asked about at 100. */
const T = 100;
function labelOf(
  plan: LabelPlan,
  events: readonly Event[],
  builtAt: Instant = 1000,
  censors: readonly Event[] = [],
): string {
  const known = knownEvents(plan.events, historyOf(plan.events, events), builtAt);
  const ending = plan.censors === null ? [] : knownEvents(plan.censors, historyOf(plan.censors, censors), builtAt);
  const { value, status } = readLabel(plan, known, ending, T, builtAt);
  return `${status} ${String(value)}`;
}

describe('the window', () => {
  const hits = (plan: LabelPlan): number[] =>
    [99, 100, 101, 105, 106, 110, 111, 115, 116].filter((at) => labelOf(plan, [{ at }]) === 'POSITIVE true');

  test('inclusive: after t, to the end', () => expect(hits(aLabel())).toEqual([101, 105, 106, 110]));
  test('exclusive: from t on, before the end', () =>
    expect(hits(aLabel({ boundary: 'exclusive' }))).toEqual([100, 101, 105, 106]));
  test('a gap moves both ends', () => expect(hits(aLabel({ gapMicros: 5 }))).toEqual([106, 110, 111, 115]));
  test('exclusive, with a gap', () =>
    expect(hits(aLabel({ gapMicros: 5, boundary: 'exclusive' }))).toEqual([105, 106, 110, 111]));
});

describe('maturity', () => {
  test('without an event a row is negative from the end of its window on, and never before', () => {
    expect([109, 110].map((builtAt) => labelOf(aLabel(), [], builtAt))).toEqual(['IMMATURE null', 'NEGATIVE false']);
    expect([112, 113].map((builtAt) => labelOf(aLabel({ delayMicros: 3 }), [], builtAt))).toEqual([
      'IMMATURE null',
      'NEGATIVE false',
    ]);
  });

  test('an event that is known counts before that only where it is declared', () => {
    expect(labelOf(aLabel(), [{ at: 105 }], 106)).toBe('IMMATURE null');
    expect(labelOf(aLabel({ earlyPositive: true }), [{ at: 105 }], 106)).toBe('POSITIVE true');
    expect(labelOf(aLabel({ earlyPositive: true }), [{ at: 105, knownAt: 107 }], 106)).toBe('IMMATURE null');
  });
});

describe('what is known at the cut', () => {
  test('an event that became known later does not count', () => {
    expect(labelOf(aLabel(), [{ at: 105, knownAt: 300 }], 299)).toBe('NEGATIVE false');
    expect(labelOf(aLabel(), [{ at: 105, knownAt: 300 }], 300)).toBe('POSITIVE true');
  });

  test('a correction, a retract and a tombstone change the past from when they are known', () => {
    const corrected: Event[] = [
      { at: 105, amount: 5 },
      { at: 105, knownAt: 200, amount: 7 },
    ];
    const sum = aLabel({ fn: 'sum' });
    expect([199, 200].map((builtAt) => labelOf(sum, corrected, builtAt))).toEqual(['VALUE 5', 'VALUE 7']);
    const retracted: Event[] = [{ at: 105 }, { at: 105, knownAt: 200, kind: 'retract' }];
    expect([199, 200].map((builtAt) => labelOf(aLabel(), retracted, builtAt))).toEqual([
      'POSITIVE true',
      'NEGATIVE false',
    ]);
    const forgotten: Event[] = [{ at: 105 }, { at: 150, knownAt: 200, kind: 'tombstone' }];
    expect([199, 200].map((builtAt) => labelOf(aLabel(), forgotten, builtAt))).toEqual([
      'POSITIVE true',
      'NEGATIVE false',
    ]);
  });
});

describe('a censoring event', () => {
  const censored = aLabel({ censor: CENSOR });
  const withCensorAt = (at: number, events: Event[] = [], builtAt = 1000): string =>
    labelOf(censored, events, builtAt, [{ at }]);

  test('counts after t and before the end of the window', () => {
    expect([100, 101, 109, 110].map((at) => withCensorAt(at))).toEqual([
      'NEGATIVE false',
      'CENSORED null',
      'CENSORED null',
      'NEGATIVE false',
    ]);
  });

  test('is itself the last instant that is observed', () => {
    expect(withCensorAt(105, [{ at: 105 }])).toBe('POSITIVE true');
    expect(withCensorAt(105, [{ at: 106 }])).toBe('CENSORED null');
  });

  test('makes the row ripe earlier', () => {
    expect([104, 105].map((builtAt) => withCensorAt(105, [], builtAt))).toEqual(['IMMATURE null', 'CENSORED null']);
  });

  test('the first one decides', () => {
    expect(labelOf(censored, [{ at: 107 }], 1000, [{ at: 108 }, { at: 106 }])).toBe('CENSORED null');
  });

  test('takes the value of other functions away', () => {
    const sum = aLabel({ fn: 'sum', censor: CENSOR });
    expect(labelOf(sum, [{ at: 102 }], 1000, [{ at: 105 }])).toBe('CENSORED null');
    expect(labelOf(sum, [{ at: 102 }], 1000, [])).toBe('VALUE 1');
  });
});

describe('functions over the window', () => {
  const events: Event[] = [
    { at: 100, amount: 50 },
    { at: 101, amount: 2 },
    { at: 104, amount: null },
    { at: 110, amount: 5 },
  ];
  test.each([
    ['count', 'VALUE 2'],
    ['sum', 'VALUE 7'],
    ['mean', 'VALUE 3.5'],
    ['min', 'VALUE 2'],
    ['last', 'VALUE 5'],
    ['rate', 'VALUE 300000'],
  ] as const)('%s is %s', (fn, right) => expect(labelOf(aLabel({ fn }), events)).toBe(right));

  test('of no events are 0 for counts, null for the others', () => {
    expect(labelOf(aLabel({ fn: 'count' }), [])).toBe('VALUE 0');
    expect(labelOf(aLabel({ fn: 'sum' }), [])).toBe('VALUE null');
  });

  test('a condition is asked of each event', () => {
    const where = {
      op: 'gt',
      left: { op: 'column', name: 'amount' },
      right: { op: 'literal', value: 3, type: 'i64' },
    } as const;
    expect(labelOf(aLabel({ fn: 'count', where }), events)).toBe('VALUE 1');
  });
});

test('instants beyond 2^53 are exact', () => {
  const last = 253_402_300_799_999_999n;
  const plan = aLabel({ horizonMicros: 1 });
  const known = knownEvents(plan.events, historyOf(plan.events, [{ at: last }]), last);
  expect(readLabel(plan, known, [], last - 1n, last).status).toBe('POSITIVE');
  expect(readLabel(plan, known, [], last - 2n, last).status).toBe('NEGATIVE');
});

test('a key without a history has no events', () => {
  const plan = aLabel();
  expect(readLabel(plan, knownEvents(plan.events, null, 1000), [], T, 1000).status).toBe('NEGATIVE');
});
