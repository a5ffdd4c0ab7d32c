/**
 * Random worlds as cases of the schema `serin.pit/1`: few keys and few instants, so that rows tie, replace and end one
 * another all the time. Drafts hold small numbers (the nth instant, key, value); they shrink well, and `caseOf` writes them
 * out as a case.
 */
import fc from 'fast-check';
import { formatTime } from '../../../domain/features/time-text.ts';
import { type CaseType, PIT_SCHEMA } from './case-types.ts';
import {
  aDuration,
  aFeature,
  aFilter,
  aWindowFunction,
  COLUMNS,
  type Duration,
  type FeatureDraft,
  featureOf,
  filterOf,
  type FilterDraft,
  inTen,
  NTH,
  PALETTES,
  valuesOf,
} from './world-features.ts';

/** Instants of a world are this many microseconds from its first. */
export const TICKS = 14;

/** Where doubles, zero and the calendar have their edges; and an ordinary day, mostly. */
const FIRST_INSTANTS: readonly bigint[] = [
  1_704_067_200_000_000n,
  -6n,
  2n ** 53n - 7n,
  -(2n ** 53n) - 6n,
  -62_135_596_800_000_000n + 20n,
  253_402_300_799_999_999n - 60n,
];

const KEYS: readonly { readonly types: readonly CaseType[]; readonly values: readonly (readonly unknown[])[] }[] = [
  { types: ['str'], values: [['a'], ['ab'], [''], [null]] },
  {
    types: ['str', 'str'],
    values: [
      ['a', 'b'],
      ['ab', ''],
      ['', 'ab'],
      ['a', null],
    ],
  },
  {
    types: ['i64', 'str'],
    values: [
      ['1', '1'],
      ['-1', '1'],
      ['9007199254740993', ''],
      [null, '1'],
    ],
  },
  { types: ['bool'], values: [[true], [false], [true], [null]] },
  { types: ['ts'], values: [[0], [1], [2], [null]] },
  { types: [], values: [[], [], [], []] },
];

interface RowDraft {
  readonly key: number;
  readonly event: number;
  /** Null: never, or after the source's delay. */
  readonly known: number | null;
  readonly op: 'put' | 'retract' | 'tombstone';
  readonly id: number;
  readonly values: readonly number[];
}

interface SourceDraft {
  readonly identity: 'key_event' | 'row_id' | 'append';
  readonly delay: number | null;
  /** Whether rows are retracted and ended. */
  readonly operations: boolean;
  readonly rows: readonly RowDraft[];
}

interface ViewDraft {
  readonly exclusive: boolean;
  readonly ttl: Duration | null;
  readonly features: readonly FeatureDraft[];
}

interface LabelDraft {
  readonly fn: string;
  readonly column: number;
  readonly gap: Duration;
  readonly horizon: Duration;
  readonly delay: Duration;
  readonly early: boolean;
  readonly filter: readonly FilterDraft[];
  readonly censor: readonly FilterDraft[] | null;
  readonly ofCensors: boolean;
}

export interface WorldDraft {
  readonly first: number;
  readonly keyKind: number;
  readonly palette: number;
  readonly events: SourceDraft;
  readonly censors: SourceDraft;
  readonly spine: readonly { readonly key: number; readonly at: number; readonly extra: readonly number[] }[];
  readonly renamed: boolean;
  readonly views: readonly ViewDraft[];
  readonly labels: readonly LabelDraft[];
  readonly labelsExclusive: boolean;
  readonly builtAt: number;
  readonly split: {
    readonly start: number;
    readonly length: number;
    readonly lengths: readonly number[];
    readonly group: boolean;
  } | null;
}

const tick = fc.nat(TICKS);
const aKey = fc.oneof({ weight: 12, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.constant(3) });
const someValues = fc.tuple(...COLUMNS.map(() => fc.nat(NTH)));

const aSource: fc.Arbitrary<SourceDraft> = fc.record({
  identity: fc.constantFrom('key_event', 'row_id', 'append'),
  delay: inTen(5, fc.nat(3)),
  operations: fc.boolean(),
  rows: fc.array(
    fc.record({
      key: aKey,
      event: tick,
      known: inTen(9, tick),
      op: fc.oneof(
        { weight: 8, arbitrary: fc.constant('put' as const) },
        { weight: 1, arbitrary: fc.constantFrom('retract' as const, 'tombstone' as const) },
      ),
      id: fc.nat(4),
      values: someValues,
    }),
    { maxLength: 14 },
  ),
});

export const aWorld: fc.Arbitrary<WorldDraft> = fc.record({
  first: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.nat(FIRST_INSTANTS.length - 1) },
  ),
  keyKind: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(KEYS.length - 1) }),
  palette: fc.nat(PALETTES - 1),
  events: aSource,
  censors: aSource,
  spine: fc.array(fc.record({ key: aKey, at: tick, extra: someValues }), { maxLength: 5 }),
  renamed: fc.boolean(),
  views: fc.array(
    fc.record({
      exclusive: fc.boolean(),
      ttl: inTen(5, aDuration(0, 6)),
      features: fc.array(aFeature, { minLength: 1, maxLength: 4 }),
    }),
    { maxLength: 2 },
  ),
  labels: fc.array(
    fc.record({
      fn: fc.oneof(fc.constant('any'), aWindowFunction),
      column: fc.nat(COLUMNS.length - 1),
      gap: aDuration(0, 3),
      horizon: aDuration(1, 9),
      delay: aDuration(0, 2),
      early: fc.boolean(),
      filter: fc.array(aFilter, { maxLength: 1 }),
      censor: inTen(6, fc.array(aFilter, { maxLength: 1 })),
      ofCensors: fc.boolean(),
    }),
    { maxLength: 2 },
  ),
  labelsExclusive: fc.boolean(),
  builtAt: fc.nat(TICKS + 10),
  split: inTen(
    3,
    fc.record({
      start: tick,
      length: fc.nat(5),
      lengths: fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 4 }), fc.nat(2), fc.nat(3)),
      group: fc.boolean(),
    }),
  ),
});

/** A case without `expected`. */
export function caseOf(draft: WorldDraft, id: string): Record<string, unknown> {
  const first = FIRST_INSTANTS[draft.first]!;
  const at = (ticks: number): string => formatTime(first + BigInt(ticks));
  const valueOf = valuesOf(at, draft.palette);
  const { types, values: keys } = KEYS[draft.keyKind]!;
  const parts = types.map((type, i) => ({ name: `k${i}`, type }));
  const spineName = (part: string): string => (draft.renamed ? `of_${part}` : part);
  const on = draft.renamed ? { on: Object.fromEntries(parts.map(({ name }) => [name, spineName(name)])) } : {};
  const keyOf = (key: number): unknown[] =>
    keys[key]!.map((part, i) => (types[i] === 'ts' && part !== null ? at(part as number) : part));
  const rowOf = (row: RowDraft, i: number, { identity, operations }: SourceDraft): unknown => {
    const op = operations ? row.op : 'put';
    return {
      key: keyOf(row.key),
      event_at: at(row.event),
      available_at: row.known === null ? null : at(row.known),
      seq: i + 1,
      ...(op === 'put' ? {} : { op }),
      ...(identity === 'row_id' && op !== 'tombstone' ? { row_id: `r${row.id}` } : {}),
      ...(op === 'put'
        ? { v: Object.fromEntries(COLUMNS.map(({ name, type }, c) => [name, valueOf(type, row.values[c]!)])) }
        : {}),
    };
  };
  const sourceOf = (source: SourceDraft): unknown => ({
    key: parts,
    columns: COLUMNS,
    identity: source.identity,
    ...(source.delay === null ? {} : { assume_delay_us: source.delay }),
    rows: source.rows.map((row, i) => rowOf(row, i, source)),
  });
  const labelled = draft.labels.length > 0;
  const boundary = (exclusive: boolean): object => (exclusive ? { boundary: 'exclusive' } : {});
  return {
    id,
    topic: 'worlds',
    level: 'core',
    name: `random world ${id}`,
    why: 'dense random world',
    sources: { s: sourceOf(draft.events), m: sourceOf(draft.censors) },
    spine: {
      columns: [
        ...parts.map(({ name, type }) => ({ name: spineName(name), type })),
        { name: 'as_of', type: 'ts' },
        ...COLUMNS.map(({ name, type }) => ({ name: `extra_${name}`, type })),
      ],
      as_of: 'as_of',
      rows: draft.spine.map(({ key, at: asOf, extra }) => [
        ...keyOf(key),
        at(asOf),
        ...COLUMNS.map(({ type }, c) => valueOf(type, extra[c]!)),
      ]),
    },
    views: draft.views.map(({ exclusive, ttl, features }, v) => ({
      name: `v${v}`,
      source: 's',
      ...on,
      // a label of the same source demands its boundary
      ...boundary(labelled ? draft.labelsExclusive : exclusive),
      ...(ttl === null ? {} : { ttl_us: ttl }),
      features: features.map((feature, f) => featureOf(feature, `f${f}`, valueOf)),
    })),
    ...(labelled
      ? {
          labels: draft.labels.map(({ fn, column, gap, horizon, delay, early, filter, censor, ofCensors }, l) => {
            const feature = featureOf(
              { fn, column, windows: [], filter, bucket: null, skip: false, fallback: null, unit: 1_000_000 },
              `y${l}`,
              valueOf,
            );
            return {
              name: `y${l}`,
              source: ofCensors ? 'm' : 's',
              ...on,
              fn,
              ...(fn === 'any' || feature['column'] === undefined ? {} : { column: feature['column'] }),
              ...(gap === 0 ? {} : { gap_us: gap }),
              horizon_us: horizon,
              ...(delay === 0 ? {} : { delay_us: delay }),
              ...boundary(draft.labelsExclusive),
              ...(filter.length === 0 ? {} : { filter: filter.map((condition) => filterOf(condition, valueOf)) }),
              ...(early ? { early_positive: true } : {}),
              ...(censor === null
                ? {}
                : { censor: { source: 'm', ...on, filter: censor.map((condition) => filterOf(condition, valueOf)) } }),
            };
          }),
          built_at: at(draft.builtAt),
        }
      : {}),
    ...(draft.split === null
      ? {}
      : {
          split: {
            test_start: at(draft.split.start),
            test_end: at(draft.split.start + draft.split.length),
            gap_us: draft.split.lengths[0],
            horizon_us: draft.split.lengths[1],
            delay_us: draft.split.lengths[2],
            embargo_us: draft.split.lengths[3],
            ...(draft.split.group ? { group: 'extra_c' } : {}),
          },
        }),
  };
}

/** @returns a file of worlds, each with what the oracle says is right */
export function worldsFile(cases: readonly unknown[]): { schema: string; cases: readonly unknown[] } {
  return { schema: PIT_SCHEMA, cases };
}

export function sampleWorlds(count: number, seed: number): WorldDraft[] {
  return fc.sample(aWorld, { numRuns: count, seed });
}
