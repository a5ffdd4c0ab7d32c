import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Expression } from '../../domain/project/expression.ts';
import type { AggregateSpec, FeatureViewSpec, SourceSpec, WindowSpec } from '../../domain/project/spec.ts';
import { compileView } from './view-plan.ts';
import { createState, foldTo, insert, read, resetState, runWindows } from './view-state.ts';

const column = (name: string): Expression => ({ op: 'column', name });
const SOURCE: SourceSpec = {
  name: 'rides',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'whole', type: 'i64', nullable: true, pii: false, description: '' },
    { name: 'real', type: 'f64', nullable: true, pii: false, description: '' },
    { name: 'flag', type: 'bool', nullable: true, pii: false, description: '' },
    { name: 'place', type: 'str', nullable: false, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('at'),
  eventId: ['at'],
  freshnessSlaSeconds: 60,
};
const exact = (length: number): WindowSpec => ({ name: `w${length}`, lengthMicros: length, hopMicros: null });
const feature = (name: string, fn: AggregateSpec['fn'], of: Expression | null): AggregateSpec => ({
  name,
  fn,
  of,
  where: null,
  windows: [exact(5), exact(12)],
  default: null,
  description: '',
});
const VIEW: FeatureViewSpec = {
  name: 'place_rides',
  version: 1,
  entity: 'place',
  source: 'rides',
  key: ['place'],
  features: [
    feature('rides', 'count', null),
    feature('whole', 'sum', column('whole')),
    feature('real', 'mean', column('real')),
    feature('flagged', 'share', column('flag')),
  ],
  owner: 'tests',
  description: '',
};
const plan = compileView(VIEW, SOURCE, { name: 'place', keys: [{ name: 'place', type: 'str' }], description: '' });

const aRide = fc.record({
  kind: fc.constant('ride' as const),
  /** Before the moment at which it becomes visible: late events come into the middle of the windows. */
  before: fc.integer({ min: 0, max: 14 }),
  whole: fc.oneof(fc.constant(null), fc.integer(), fc.constantFrom(2 ** 53 - 1, -(2 ** 53) + 1)),
  real: fc.oneof(fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true })),
  flag: fc.option(fc.boolean()),
});
const aRead = fc.record({ kind: fc.constant('read' as const), ahead: fc.integer({ min: 0, max: 3 }) });
const aReset = fc.constant({ kind: 'reset' as const });
const steps = fc.array(
  fc.tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.oneof({ weight: 10, arbitrary: aRide }, { weight: 10, arbitrary: aRead }, { weight: 1, arbitrary: aReset }),
  ),
  { minLength: 1, maxLength: 60 },
);

type Step =
  | { kind: 'ride'; before: number; whole: number | null; real: number | null; flag: boolean | null }
  | { kind: 'read'; ahead: number }
  | { kind: 'reset' };

/** Windows that run along beside windows that are added up: each read gives the same bits. */
function expectSameReads(given: readonly (readonly [passed: number, Step])[]): void {
  const [plain, running] = [createState(plan), createState(plan)];
  runWindows(plan, running);
  const measures = new Float64Array(plan.measureCount);
  let now = 0;
  for (const [passed, step] of given) {
    now += passed;
    if (step.kind === 'reset') {
      resetState(plain);
      resetState(running);
    } else if (step.kind === 'ride') {
      plan.measureRow({ whole: step.whole, real: step.real, flag: step.flag, place: 'a' }, measures, 0);
      for (const state of [plain, running]) {
        foldTo(plan, state, now);
        insert(plan, state, now - step.before, now, measures, 0);
      }
    } else {
      // a look ahead makes the next read one that moves back
      const answers = [plain, running].map((state) => {
        const values = new Float64Array(plan.outputs.length);
        read(plan, state, now + step.ahead, values, 0);
        return [...values];
      });
      expect(answers[1]).toEqual(answers[0]);
    }
  }
}

test('windows that run along give the bits of windows that are added up, late events and large sums included', () => {
  fc.assert(fc.property(steps, expectSameReads), { numRuns: 2000 });
});

test('a sum that is small may have been large on the way, in the order in which events are added up', () => {
  const ride = (before: number, whole: number) => ({ kind: 'ride', before, whole, real: null, flag: null }) as const;
  expectSameReads([
    [0, ride(1, 2 ** 53 - 1)],
    [2, ride(0, -861_210_264)],
    [0, { kind: 'read', ahead: 3 }],
    [0, ride(2, -(2 ** 53) + 1)],
    [2, { kind: 'read', ahead: 1 }],
  ]);
});
