/** Dense random worlds, answered in SQL and by the brute-force oracle of the conformance suite. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ColumnType } from '../../../domain/project/expression.ts';
import type { AggregateSpec, FeatureViewSpec, KeyPart, SourceSpec } from '../../../domain/project/spec.ts';
import { aggregate, latest, live } from '../../../test/conformance/pit/oracle.ts';
import { compare, type OracleAggregate, type OracleRow } from '../../../test/conformance/pit/oracle-terms.ts';
import { compileHistoryView } from '../../history/compile.ts';
import type { Datum, FactKind } from '../../history/fact.ts';
import { addFact, createHistory, factOf, type KeyHistory, readHistory } from '../../history/history.ts';
import { toInstant } from '../../../domain/instant.ts';
import type { HistoryPlan, OutputValue } from '../../history/plan.ts';
import { DuckDb } from '../duckdb.ts';
import { answerLatest, answerSpine, type SpineRelation, type ViewQuestion } from './answer-spine.ts';
import { createTypedTable } from './typed-table.ts';

let folder: string;
let duckdb: DuckDb;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-worlds-'));
  duckdb = await DuckDb.open({ memory: '512MB', threads: 2, tempDir: folder });
});
afterAll(async () => {
  duckdb.close();
  await rm(folder, { recursive: true });
});

const WORLDS = 12;

describe('every answer is the one of the oracle', () => {
  test.each(Array.from({ length: WORLDS }, (_, seed) => [seed]))('world %i, all functions', async (seed) => {
    const world = makeWorld(seed, 'all');
    const { question, spine } = await load(world);
    const [answer] = await answerSpine(duckdb, spine, [question]);
    expectAnswers(world, question.plan, answer!, null);
  });

  test.each(Array.from({ length: WORLDS }, (_, seed) => [seed]))(
    'world %i, with a known sequence per row',
    async (seed) => {
      const world = makeWorld(seed, 'all');
      const { question, spine } = await load(world);
      const [answer] = await answerSpine(duckdb, { ...spine, knownSeq: 'known' }, [question]);
      expectAnswers(world, question.plan, answer!, 'known');
    },
  );

  test.each(Array.from({ length: WORLDS }, (_, seed) => [seed]))(
    'world %i, latest values in one pass',
    async (seed) => {
      const world = makeWorld(seed, 'latest');
      const { question, spine } = await load(world);
      expectAnswers(world, question.plan, await answerLatest(duckdb, spine, question, 'sql'), null);
      expectAnswers(world, question.plan, await answerLatest(duckdb, spine, question, 'merge'), null);
    },
  );
});

describe('values, statuses and ages are those of the kernel', () => {
  test.each(Array.from({ length: WORLDS }, (_, seed) => [seed]))('world %i', async (seed) => {
    const world = makeWorld(seed, 'kernel');
    const { question, spine } = await load(world);
    const { plan } = question;
    const [answer] = await answerSpine(duckdb, { ...spine, knownSeq: 'known' }, [question]);
    const histories = new Map<string, KeyHistory>();
    for (const { kind, eventAt, availableAt, seq, id, v, key } of world.rows) {
      if (key.includes(null)) continue;
      const name = JSON.stringify(key.map(String));
      if (!histories.has(name)) histories.set(name, createHistory(plan));
      addFact(plan, histories.get(name)!, factOf(plan, v, { kind, eventAt, availableAt, seq, identity: id }));
    }
    world.questions.forEach(({ key, asOf, known }, q) => {
      const history = histories.get(JSON.stringify(key.map(String))) ?? null;
      const read = readHistory(plan, key.includes(null) ? null : history, toInstant(asOf), known);
      plan.outputs.forEach(({ name, fn }, i) => {
        const where = `question ${q}, ${name} (${fn})`;
        const own = [answer!.values[i]![q], answer!.statuses[i]![q], answer!.ages[i]![q]];
        expect([where, ...own]).toEqual([where, read.values[i], read.statuses[i], read.ages[i]]);
      });
    });
  });
});

interface World {
  readonly source: SourceSpec;
  readonly view: FeatureViewSpec;
  readonly keys: readonly KeyPart[];
  readonly rows: readonly OracleRow[];
  readonly outputs: readonly OracleAggregate[];
  readonly questions: readonly { readonly key: readonly Datum[]; readonly asOf: bigint; readonly known: number }[];
}

const COLUMNS = { whole: 'i64', real: 'f64', text: 'str', flag: 'bool', at: 'ts' } as const;
type Column = keyof typeof COLUMNS;
/** The Unix epoch, the first and the last microseconds there are, and times whose microseconds a double cannot hold. */
const EPOCHS = [0n, -62_135_596_800_000_000n, 253_402_300_799_999_940n, 1_700_000_000_000_000n, 9_300_000_000_000_000n];
const VALUES: Record<Column, readonly Datum[]> = {
  whole: [null, 0, 1, -7, 9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 63n - 1n],
  real: [null, 0, -0, 0.1, 0.2, 1e308, 1e308, -1e308, 5e-324, 1e16, NaN, Infinity, -Infinity],
  text: [null, '', 'a', 'A', 'a\u0301', '\u00e1', '\uffee', '\u{10000}', ' a', "o'clock", '1'],
  flag: [null, true, false],
  at: [null, 0, 1, -1, -62_135_596_800_000_000n, 253_402_300_799_999_999n],
};
const KEYS: readonly (readonly KeyPart['type'][])[] = [['str'], ['str', 'str'], ['i64'], ['ts', 'bool'], []];
const KEY_VALUES: Record<KeyPart['type'], readonly Datum[]> = {
  str: ['a', 'ab', 'b', '', null],
  i64: [1, 9_007_199_254_740_993n, 9_007_199_254_740_992n],
  ts: [0, 1],
  bool: [true, false, null],
};

function makeWorld(seed: number, functions: 'all' | 'latest' | 'kernel'): World {
  const random = randomOf(seed * 3 + ['all', 'latest', 'kernel'].indexOf(functions));
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  const chance = (share: number): boolean => random() < share;
  const epoch = pick(EPOCHS);
  const instant = (): bigint => epoch + BigInt(Math.floor(random() * 30));
  const types = pick(KEYS);
  const keys = types.map((type, i) => ({ name: `k${i}`, type }));
  const key = (): Datum[] => types.map((type) => pick(KEY_VALUES[type]));
  const identity = pick(['append', 'key_event', ...(functions === 'kernel' ? [] : (['row_id'] as const))] as const);
  const kinds: FactKind[] = chance(0.5) ? ['put'] : ['put', 'put', 'put', 'put', 'put', 'retract', 'tombstone'];

  const rows = Array.from({ length: 60 }, (_, i): OracleRow => {
    const eventAt = toInstant(instant());
    const own = key();
    const seq = ((i * 37) % 60) + 1;
    const kind = pick(kinds);
    const id =
      identity === 'append'
        ? `${seq}`
        : identity === 'row_id'
          ? `row ${Math.floor(random() * 12)}`
          : JSON.stringify([own.map(String), String(eventAt)]);
    const v = Object.fromEntries(
      Object.entries(VALUES).map(([name, values]) => [name, kind === 'put' ? pick(values) : null]),
    );
    const availableAt = chance(0.7)
      ? toInstant(BigInt(eventAt) + BigInt(Math.floor(random() * 4)))
      : toInstant(instant());
    return { kind, key: own, eventAt, availableAt, seq, id, v };
  });

  const specs: AggregateSpec[] = [];
  const outputs: OracleAggregate[] = [];
  for (let f = 0; f < 6; f++) {
    const fn =
      functions === 'latest' || f === 0
        ? 'latest'
        : pick(functions === 'kernel' ? [...FUNCTIONS, ...KERNEL_FUNCTIONS] : FUNCTIONS);
    const column = fn === 'rate' || (fn === 'count' && chance(0.5)) ? null : pick(columnsFor(fn));
    const filter = chance(0.3) ? pick(ALL_COLUMNS) : null;
    const least = filter === null ? null : pick(VALUES[filter].filter((value) => value !== null));
    const bucket = fn !== 'latest' && fn !== 'top_k' && chance(0.25) ? pick(ALL_COLUMNS) : null;
    const nulls = chance(0.3) ? 'skip' : 'keep';
    const windows =
      fn === 'latest'
        ? []
        : [1, 2].map((w) => {
            const lengthMicros = chance(0.25) && fn !== 'rate' ? null : 1 + Math.floor(random() * 12);
            const hopMicros =
              functions === 'kernel' && lengthMicros !== null && chance(0.3) ? 1 + Math.floor(random() * 4) : null;
            const offsetMicros = hopMicros === null && chance(0.4) ? Math.floor(random() * 5) : 0;
            return { name: `w${w}`, lengthMicros, hopMicros, offsetMicros };
          });
    specs.push({
      name: `f${f}`,
      fn,
      of: column === null ? null : { op: 'column', name: column },
      where:
        least === null
          ? null
          : {
              op: 'ge',
              left: { op: 'column', name: filter! },
              right: { op: 'literal', type: COLUMNS[filter!], value: literal(least) },
            },
      windows,
      default: null,
      description: '',
      ...(bucket === null ? {} : { by: { op: 'column', name: bucket } as const }),
      ...(nulls === 'skip' ? { nulls } : {}),
      ...(fn === 'rate' ? { unitMicros: 7 } : {}),
      ...(fn === 'top_k' ? { k: 2 } : {}),
      ...(fn === 'quantile' ? { q: 0.5 } : {}),
      ...(fn === 'approx_count_distinct' ? { exactUpTo: 3 } : {}),
    });
    const output: OracleAggregate = {
      fn,
      column,
      whole: column !== null && column !== 'real',
      holds: (v) => least === null || (v[filter!] !== null && compare(v[filter!]!, least) >= 0),
      bucket,
      nulls,
      unit: 7n,
    };
    outputs.push(...(windows.length === 0 ? [output] : windows.map(() => output)));
  }
  const columns = (
    Object.entries({ ...COLUMNS, ...Object.fromEntries(keys.map(({ name, type }) => [name, type])) }) as [
      string,
      ColumnType,
    ][]
  ).map(([name, type]) => ({ name, type, nullable: true, pii: false, description: '' }));
  const source: SourceSpec = {
    name: 's',
    description: '',
    owner: 'test',
    columns: [...columns, { name: 'happened', type: 'ts', nullable: false, pii: false, description: '' }],
    eventAt: 'happened',
    zone: null,
    availableAt: { op: 'column', name: 'happened' },
    eventId: identity === 'key_event' ? [...keys.map(({ name }) => name), 'happened'] : ['row'],
    freshnessSlaSeconds: 60,
    ...(identity === 'append' ? {} : { revisions: 'versions' as const }),
    ...(kinds.length > 1 ? { operation: { column: 'text', retract: 'retract', tombstone: 'tombstone' } } : {}),
  };
  const view: FeatureViewSpec = {
    name: 'v',
    version: 1,
    entity: 'e',
    source: 's',
    key: keys.map(({ name }) => name),
    features: specs,
    owner: 'test',
    description: '',
    ...(chance(0.4) ? { boundary: 'exclusive' as const } : {}),
    ...(chance(0.6) ? { ttlMicros: Math.floor(random() * 10) } : {}),
  };
  const questions = Array.from({ length: 80 }, () => ({
    key: key(),
    asOf: instant() + BigInt(Math.floor(random() * 6)),
    known: Math.floor(random() * 62),
  }));
  return { source, view, keys, rows, outputs, questions };
}

const ALL_COLUMNS = Object.keys(COLUMNS) as Column[];
const FUNCTIONS = [
  'count',
  'sum',
  'mean',
  'min',
  'max',
  'rate',
  'stddev_pop',
  'stddev_samp',
  'first',
  'last',
  'count_distinct',
  'latest',
] as const;
const KERNEL_FUNCTIONS = [
  'variance_pop',
  'variance_samp',
  'approx_count_distinct',
  'top_k',
  'quantile',
  'share',
] as const;
const NUMERIC = new Set<string>(['sum', 'mean', 'stddev_pop', 'stddev_samp', 'variance_pop', 'variance_samp']);

function columnsFor(fn: AggregateSpec['fn']): readonly Column[] {
  if (fn === 'share') return ['flag'];
  if (fn === 'quantile') return ['whole', 'real'];
  return NUMERIC.has(fn) ? ['whole', 'real', 'flag'] : ALL_COLUMNS;
}

function literal(value: NonNullable<Datum>): number | string | boolean {
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value)) ? String(value) : value;
}

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function load({
  source,
  view,
  keys,
  rows,
  questions,
}: World): Promise<{ question: ViewQuestion; spine: SpineRelation }> {
  const whole = (name: string) => ({ name, type: 'i64' as const });
  await createTypedTable(
    duckdb,
    'world_rows',
    [...['event_at', 'available_at', 'ingest_seq', 'op'].map(whole), { name: 'id', type: 'str' }, ...source.columns],
    rows.map(({ eventAt, availableAt, seq, kind, id, v, key }) => [
      eventAt,
      availableAt,
      seq,
      ['put', 'retract', 'tombstone'].indexOf(kind),
      id,
      ...ALL_COLUMNS.map((name) => v[name]!),
      ...key,
      eventAt,
    ]),
  );
  await createTypedTable(
    duckdb,
    'world_questions',
    [...['number', 'asked_at', 'known'].map(whole), ...keys],
    questions.map(({ key, asOf, known }, i) => [i, asOf, known, ...key]),
  );
  return {
    question: {
      plan: compileHistoryView(view, source, { name: 'e', keys, description: '' }),
      log: {
        sql: 'world_rows',
        identity: source.revisions === 'versions' ? 'id' : null,
        op: source.operation === undefined ? null : 'op',
      },
      key: keys.map(({ name }) => name),
    },
    spine: { sql: 'world_questions', rows: questions.length, row: 'number', asOf: 'asked_at', knownSeq: null },
  };
}

function expectAnswers(
  { rows, view, questions, outputs }: World,
  plan: HistoryPlan,
  { values, statuses }: { values: readonly OutputValue[][]; statuses: readonly string[][] },
  knowledge: 'known' | null,
): void {
  const ttl = plan.ttl === null ? null : BigInt(plan.ttl);
  questions.forEach(({ key, asOf, known }, q) => {
    const cut = view.boundary === 'exclusive' ? asOf - 1n : asOf;
    const alive = live(knowledge === null ? rows : rows.filter(({ seq }) => seq <= known), key, cut);
    outputs.forEach((output, i) => {
      const over = plan.outputs[i]!.over;
      const where = `question ${q}, ${plan.outputs[i]!.name} (${output.fn} of ${output.column})`;
      if (over === null) {
        const [value, status] = latest(alive, output, asOf, ttl);
        expect([where, values[i]![q], statuses[i]![q]]).toEqual([where, positive(value), status.toLowerCase()]);
      } else {
        const to = cut - BigInt(over.offset);
        const value = aggregate(alive.rows, output, {
          from: over.length === null ? null : to - BigInt(over.length),
          to,
        });
        expect([where, values[i]![q]].map(nearly(output))).toEqual([where, positive(value)].map(nearly(output)));
      }
    });
  });
}

/** The oracle rounds the variance before its root, the plan does not. */
function nearly({ fn }: OracleAggregate): (value: unknown) => unknown {
  if (!fn.startsWith('stddev')) return (value) => value;
  const near = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(near) : typeof value === 'number' ? Number(value.toPrecision(14)) : value;
  return near;
}

/** −0 is written 0. */
function positive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(positive);
  return value === 0 ? 0 : value;
}
