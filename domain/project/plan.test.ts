import { expect, test } from 'vitest';
import flights from '../../examples/flights/project.ts';
import { planProject, type PlannedChange } from './plan.ts';
import type { ProjectSpec } from './spec.ts';
import { usesOf, type RegisteredVersion, type StoredState } from './uses.ts';

// oxlint-disable-next-line typescript/no-explicit-any
type Loose = any;

const NOTHING: StoredState = { onlineViews: [], loggedSources: [] };

function version(overrides: Partial<RegisteredVersion> = {}): RegisteredVersion {
  return {
    model: 'flight-delay',
    version: 2,
    kind: 'onnx',
    stage: 'production',
    routed: true,
    featureSet: 'delay_features@1',
    spec: flights,
    ...overrides,
  };
}

function planOf(
  change: (spec: Loose) => void,
  { versions = [], state = NOTHING }: { versions?: RegisteredVersion[]; state?: StoredState } = {},
) {
  const next: Loose = structuredClone(flights);
  change(next);
  return planProject(flights, next as ProjectSpec, usesOf(versions, state, flights, next as ProjectSpec));
}

const view = (spec: Loose, name: string): Loose => spec.views.find((each: Loose) => each.name === name);
const sourceOf = (spec: Loose, name: string): Loose => spec.sources.find((each: Loose) => each.name === name);
const only = ({ changes }: { changes: readonly PlannedChange[] }): PlannedChange => {
  expect(changes).toHaveLength(1);
  return changes[0]!;
};
const widen = (spec: Loose): void => void (view(spec, 'route_delays').features[1].windows[0].lengthMicros *= 2);

test('the same project changes nothing', () => {
  expect(planOf(() => {}, { versions: [version()] })).toEqual({
    project: 'flights',
    isNew: false,
    changes: [],
    backfill: [],
    refused: false,
  });
});

test('a new project adds everything, and there is no past to fill in', () => {
  const plan = planProject(null, flights, []);
  expect(plan).toMatchObject({ isNew: true, backfill: [], refused: false });
  expect(plan.changes.every(({ effect }) => effect === 'added')).toBe(true);
  expect(plan.changes.filter(({ kind }) => kind === 'view').map(({ id }) => id)).toContain('route_delays@1');
});

test('a window that changes in a view which a version reads is refused, by name and with the next version', () => {
  const plan = planOf(widen, { versions: [version()] });
  expect(plan.refused).toBe(true);
  expect(only(plan)).toMatchObject({ kind: 'view', id: 'route_delays@1', effect: 'breaking' });
  expect(only(plan).sentence).toBe(
    'view route_delays@1: feature mean_delay: window 7d: length 7d → 14d — breaking: flight-delay v2 (production) uses it; ' +
      'leave it as it is and declare route_delays@2',
  );
});

test('an archived version still holds on to what it was trained on', () => {
  const plan = planOf(widen, { versions: [version({ stage: 'archived', routed: false })] });
  expect(only(plan)).toMatchObject({ effect: 'breaking', usedBy: ['flight-delay v2 (archived)'] });
});

test('a view that only the online store holds is refused all the same', () => {
  const plan = planOf(widen, { state: { ...NOTHING, onlineViews: ['route_delays@1'] } });
  expect(only(plan).usedBy).toEqual(['the online store']);
});

test('the same change without users is a backfill', () => {
  const plan = planOf(widen, { versions: [version({ kind: 'rule', version: 0 })] });
  expect(plan).toMatchObject({ refused: false, backfill: ['route_delays@1'] });
  expect(only(plan).sentence).toBe(
    'view route_delays@1: feature mean_delay: window 7d: length 7d → 14d — needs backfill: what is computed changes, materialise it',
  );
});

test('descriptions, owners and promises change under users', () => {
  const plan = planOf(
    (spec) => {
      view(spec, 'route_delays').owner = 'routes';
      view(spec, 'route_delays').features[0].description = 'better said';
      sourceOf(spec, 'flights').freshnessSlaSeconds = 60;
      sourceOf(spec, 'flights').columns[3].pii = true;
    },
    { versions: [version()], state: { onlineViews: ['route_delays@1'], loggedSources: ['flights'] } },
  );
  expect(plan.refused).toBe(false);
  expect(plan.changes.map(({ effect }) => effect)).toEqual(['metadata', 'metadata']);
  expect(plan.changes[0]!.details).toEqual(['column origin: pii false → true', 'freshness SLA 1h → 1min']);
});

test('a nullable column and a wider range may be added to a source in use', () => {
  const plan = planOf(
    (spec) => {
      sourceOf(spec, 'flights').columns.push({
        name: 'carrier',
        type: 'str',
        nullable: true,
        pii: false,
        description: '',
      });
      sourceOf(spec, 'flights').columns[1].max = 3000;
    },
    { versions: [version()], state: { ...NOTHING, loggedSources: ['flights'] } },
  );
  expect(plan.refused).toBe(false);
  expect(only(plan).effect).toBe('next-use');
  expect(only(plan).details).toEqual(['column delay: max 1500 → 3000', 'column carrier is new']);
});

test('a column that rows in the log cannot have is refused', () => {
  const plan = planOf(
    (spec) =>
      void sourceOf(spec, 'flights').columns.push({
        name: 'carrier',
        type: 'str',
        nullable: false,
        pii: false,
        description: '',
      }),
    { state: { ...NOTHING, loggedSources: ['flights'] } },
  );
  expect(only(plan).sentence).toBe(
    'source flights: column carrier is new — breaking: its log of events uses it; leave it as it is and declare another source, such as flights_2',
  );
});

test('another availability changes every view of the source', () => {
  const plan = planOf((spec) => (sourceOf(spec, 'airport_status').availableAt = { op: 'column', name: 'at' }));
  expect(plan.changes.map(({ kind, id, effect }) => [kind, id, effect])).toEqual([
    ['source', 'airport_status', 'backfill'],
    ['view', 'airport_status_now@1', 'backfill'],
  ]);
  expect(plan.changes[0]!.details).toEqual(['availability at + 5 min → at']);
  expect(plan.changes[1]!.details).toEqual([
    'it reads the times and events of the source airport_status, which changed',
  ]);
});

test('a column that widens changes the views that read it, and those alone', () => {
  const plan = planOf((spec) => (sourceOf(spec, 'flights').columns[1].type = 'f64'), {
    state: { onlineViews: ['origin_delays@1'], loggedSources: [] },
  });
  const effects = Object.fromEntries(plan.changes.map(({ id, effect }) => [id, effect]));
  expect(effects).toEqual({
    flights: 'next-use',
    'origin_delays@1': 'breaking',
    'destination_delays@1': 'backfill',
    'route_delays@1': 'backfill',
  });
});

test('a range so wide that sums of it are no whole doubles moves a view to the other kernel', () => {
  const plan = planOf((spec) => (sourceOf(spec, 'flights').columns[1].max = 2 ** 40), {
    state: { onlineViews: ['origin_delays@1'], loggedSources: ['flights'] },
  });
  expect(plan.changes.find(({ id }) => id === 'flights')!.effect).toBe('next-use');
  expect(plan.changes.find(({ id }) => id === 'origin_delays@1')).toMatchObject({
    effect: 'breaking',
    details: ['it is kept as history instead of tiles'],
  });
});

const drop = (spec: Loose): void => {
  spec.models[0].trainings = spec.models[0].trainings.filter(({ name }: Loose) => name !== 'with-airport-status');
  spec.featureSets = spec.featureSets.filter(({ version: of }: Loose) => of !== 2);
  spec.views = spec.views.filter(({ name }: Loose) => name !== 'airport_status_now');
};

test('a feature is not retired while a live version reads it', () => {
  const plan = planOf(drop, {
    versions: [version({ version: 4, stage: 'candidate', featureSet: 'delay_features@2' })],
  });
  const refused = plan.changes.filter(({ effect }) => effect === 'breaking').map(({ sentence }) => sentence);
  expect(refused).toEqual([
    'view airport_status_now@1 — breaking: flight-delay v4 (candidate) uses it; keep it until no live version reads it',
    'feature set delay_features@2 — breaking: flight-delay v4 (candidate) uses it; keep it until no live version reads it',
  ]);
});

test('it is retired when only archived versions read it', () => {
  const archived = version({ version: 4, stage: 'archived', routed: false, featureSet: 'delay_features@2' });
  const plan = planOf(drop, { versions: [archived] });
  expect(plan.refused).toBe(false);
  expect(plan.changes.filter(({ effect }) => effect === 'removed').map(({ id }) => id)).toEqual([
    'airport_status_now@1',
    'delay_features@2',
  ]);
});

test('a version that a route still names is live, whatever its stage', () => {
  const routed = version({ version: 4, stage: 'archived', routed: true, featureSet: 'delay_features@2' });
  expect(planOf(drop, { versions: [routed] }).refused).toBe(true);
});

test('a model that is taken out keeps what its rule reads', () => {
  const plan = planOf((spec) => (spec.views = spec.views.filter(({ name }: Loose) => name !== 'route_delays')), {
    versions: [version({ model: 'old-model', version: 0, kind: 'rule' })],
  });
  expect(plan.changes[0]).toMatchObject({ effect: 'breaking', usedBy: ['old-model v0 (production)'] });
});

test('features in another order are another set', () => {
  const plan = planOf((spec) => void spec.featureSets[0].features.reverse(), { versions: [version()] });
  expect(only(plan)).toMatchObject({ effect: 'breaking', details: ['the order of features changed'] });
});

test('a new version of a view beside the old one is added, and has a past to fill in', () => {
  const plan = planOf((spec) => void spec.views.push({ ...structuredClone(view(spec, 'route_delays')), version: 2 }), {
    versions: [version()],
  });
  expect(plan.backfill).toEqual(['route_delays@2']);
  expect(only(plan).sentence).toBe('view route_delays@2 — added');
});

test('what a model promises and how it is trained holds for the next one', () => {
  const plan = planOf((spec) => (spec.models[0].threshold = 0.4), { versions: [version()] });
  expect(only(plan).sentence).toBe('model flight-delay: threshold 0.3 → 0.4 — holds for the next training and rollout');
});
