/**
 * A shop whose past keeps changing: orders that are corrected, move to other customers and stores, are cancelled and
 * forgotten; quotes that are revised and expire; visits to predict. Small numbers, so that rows tie and replace one another.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobRef, BlobStore } from '../../../domain/blob.ts';
import type { LogFile } from '../../../domain/features/log-file.ts';
import type { Expression } from '../../../domain/project/expression.ts';
import {
  type AggregateSpec,
  type FeatureSpec,
  type FeatureViewSpec,
  type LabelSpec,
  type ModelSpec,
  PROJECT_FORMAT,
  type ProjectSpec,
  type SourceSpec,
  type SpineSpec,
  type ViewUse,
  type WindowSpec,
} from '../../../domain/project/spec.ts';
import { SQL_TYPES } from '../ingest-sql.ts';
import { type DuckDb, textSql } from '../duckdb.ts';

export const column = (name: string): Expression => ({ op: 'column', name });

const columnOf = (name: string, type: 'str' | 'i64' | 'f64' | 'bool' | 'ts', nullable = true) => ({
  name,
  type,
  nullable,
  pii: false,
  description: '',
  ...(type === 'i64' && { min: -1e6, max: 1e6 }),
});

const source = (name: string, columns: SourceSpec['columns'], rest: Partial<SourceSpec>): SourceSpec => ({
  name,
  description: '',
  owner: 'tests',
  columns: [columnOf('at', 'ts', false), columnOf('known', 'ts', false), ...columns],
  eventAt: 'at',
  zone: null,
  availableAt: column('known'),
  eventId: ['id'],
  freshnessSlaSeconds: 60,
  ...rest,
});

export const ORDERS = source(
  'orders',
  [
    columnOf('id', 'str', false),
    columnOf('customer', 'str'),
    columnOf('store', 'str'),
    columnOf('amount', 'i64'),
    columnOf('price', 'f64'),
    columnOf('vip', 'bool'),
    columnOf('what', 'str'),
  ],
  { revisions: 'versions', operation: { column: 'what', retract: 'cancel', tombstone: 'forget' } },
);
export const QUOTES = source('quotes', [columnOf('store', 'str'), columnOf('quote', 'f64')], {
  eventId: ['store', 'at'],
  revisions: 'versions',
});
export const VISITS = source(
  'visits',
  [
    columnOf('id', 'str', false),
    columnOf('customer', 'str'),
    columnOf('home', 'str'),
    columnOf('away', 'str'),
    columnOf('minutes', 'i64'),
    columnOf('bought', 'bool', false),
  ],
  {},
);

const window = (name: string, lengthMicros: number | null, rest: Partial<WindowSpec> = {}): WindowSpec => ({
  name,
  lengthMicros,
  hopMicros: null,
  ...rest,
});

const feature = (
  name: string,
  fn: AggregateSpec['fn'],
  of: string | null,
  rest: Partial<AggregateSpec> = {},
): AggregateSpec => ({
  name,
  fn,
  of: of === null ? null : column(of),
  where: null,
  windows: fn === 'latest' ? [] : [window('w', 10)],
  default: null,
  description: '',
  ...rest,
});

const view = (
  name: string,
  of: SourceSpec,
  key: readonly string[],
  rest: Partial<FeatureViewSpec>,
): FeatureViewSpec => ({
  name,
  version: 1,
  entity: key.length === 0 ? 'everything' : 'one',
  source: of.name,
  key,
  features: [],
  owner: '',
  description: '',
  ...rest,
});

export const VIEWS: readonly FeatureViewSpec[] = [
  view('customer_orders', ORDERS, ['customer'], {
    ttlMicros: 12,
    features: [
      feature('orders', 'count', null, { windows: [window('w', 10), window('back', 6, { offsetMicros: 4 })] }),
      feature('spent', 'sum', 'amount', { windows: [window('ever', null)], default: -1 }),
      feature('price', 'mean', 'price', { where: column('vip') }),
      feature('dearest', 'max', 'price'),
      feature('last', 'last', 'amount', { nulls: 'skip' }),
      feature('amount', 'latest', 'amount'),
      feature('vip', 'latest', 'vip', { nulls: 'skip', default: false }),
    ],
  }),
  view('store_quotes', QUOTES, ['store'], { ttlMicros: 9, features: [feature('quote', 'latest', 'quote')] }),
  view('store_orders', ORDERS, ['store'], {
    boundary: 'exclusive',
    features: [feature('amount', 'latest', 'amount', { where: column('vip') }), feature('seen', 'latest', 'at')],
  }),
  view('customer_visits', VISITS, ['customer'], {
    features: [
      feature('visits', 'count', null, { windows: [window('w', 7), window('hop', 12, { hopMicros: 4 })] }),
      feature('minutes', 'mean', 'minutes'),
    ],
  }),
  view('all_orders', ORDERS, [], {
    features: [feature('orders', 'count', null), feature('kinds', 'count_distinct', 'amount')],
  }),
];

const USES: readonly ViewUse[] = [
  { alias: 'customer', view: 'customer_orders@1', key: ['customer'] },
  { alias: 'home', view: 'store_quotes@1', key: ['home'] },
  { alias: 'away', view: 'store_quotes@1', key: ['away'] },
  { alias: 'store', view: 'store_orders@1', key: ['home'] },
  { alias: 'visits', view: 'customer_visits@1', key: ['customer'] },
  { alias: 'all', view: 'all_orders@1', key: [] },
];

export const FEATURES: readonly FeatureSpec[] = [
  ...USES.flatMap(({ alias, view: id }) =>
    VIEWS.find(({ name }) => `${name}@1` === id)!.features.flatMap(({ name, windows }) =>
      (windows.length === 0 ? [null] : windows.map((each) => each.name)).map((of): FeatureSpec => ({
        kind: 'view',
        name: `${alias}__${name}${of === null ? '' : `__${of}`}`,
        alias,
        feature: name,
        window: of,
      })),
    ),
  ),
  {
    kind: 'derived',
    name: 'quote_gap',
    expression: { op: 'sub', left: column('home__quote'), right: column('away__quote') },
    description: '',
  },
];

export const BOUGHT: LabelSpec = { name: 'bought', source: 'visits', of: column('bought'), description: '' };
export const SPINE: SpineSpec = {
  name: 'asked',
  source: 'visits',
  asOf: column('at'),
  where: null,
  request: ['customer', 'home', 'away'].map((name) => ({ name, value: column(name) })),
};

/** A label of whether a customer orders again, unless the store ends it. */
export const AGAIN: LabelSpec = {
  name: 'again',
  source: 'orders',
  of: column('amount'),
  description: '',
  window: {
    fn: 'any',
    where: null,
    key: ['customer'],
    on: ['customer'],
    boundary: 'inclusive',
    gapMicros: 1,
    horizonMicros: 6,
    delayMicros: 2,
    earlyPositive: false,
    censor: { source: 'quotes', key: ['store'], on: ['home'], where: null },
  },
};

export function shopProject({
  label = BOUGHT,
  spine = SPINE,
  views = VIEWS,
}: { label?: LabelSpec; spine?: SpineSpec; views?: readonly FeatureViewSpec[] } = {}): ProjectSpec {
  return {
    format: PROJECT_FORMAT,
    name: 'shop',
    description: '',
    sources: [ORDERS, QUOTES, VISITS],
    entities: [
      { name: 'one', keys: [{ name: 'one', type: 'str' }], description: '' },
      { name: 'everything', keys: [], description: '' },
    ],
    views,
    featureSets: [
      {
        name: 'inputs',
        version: 1,
        request: ['customer', 'home', 'away'].map((name) => ({ name, type: 'str' as const, description: '' })),
        views: USES,
        features: FEATURES,
        description: '',
      },
    ],
    spines: [spine],
    labels: [label],
    models: [{ name: 'shop', spine: spine.name, label: label.name } as ModelSpec],
  };
}

/** A row of a source by its columns; null where absent. */
export type WorldRow = Readonly<Record<string, string | number | boolean | null>>;

export interface World {
  readonly orders: readonly WorldRow[];
  readonly quotes: readonly WorldRow[];
  readonly visits: readonly WorldRow[];
}

/** Numbers that look random and are the same at every call (mulberry32). */
export function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let h = Math.imul(state ^ (state >>> 15), 1 | state);
    h = (h + Math.imul(h ^ (h >>> 7), 61 | h)) ^ h;
    return ((h ^ (h >>> 14)) >>> 0) % below;
  };
}

/** @param ticks instants of the world: `[0, ticks)`, in microseconds */
export function randomWorld(seed: number, { rows = 80, ticks = 60 } = {}): World {
  const roll = dice(seed);
  const pick = <T>(...of: readonly T[]): T => of[roll(of.length)]!;
  const customer = (): string | null => pick('a', 'b', 'ab', '', 'c', null);
  const store = (): string | null => pick('s', 't', "o'b", null);
  const times = (): { at: number; known: number } => {
    const at = roll(ticks);
    // often at once, sometimes late, sometimes known before it happens
    return { at, known: at + pick(0, 0, 0, 1, 2, roll(30), -roll(5)) };
  };
  return {
    orders: Array.from({ length: rows }, () => ({
      ...times(),
      id: `o${roll(rows / 2)}`,
      customer: customer(),
      store: store(),
      amount: pick(roll(9), roll(9), null),
      price: pick(roll(40) / 8, 0.1, null),
      vip: pick(true, false, null),
      what: pick(null, null, null, 'put', 'put', 'put', 'cancel', roll(4) === 0 ? 'forget' : 'put'),
    })),
    quotes: Array.from({ length: rows }, () => ({ ...times(), store: store(), quote: pick(roll(9) / 4, null) })),
    visits: Array.from({ length: rows }, (_, i) => ({
      ...times(),
      id: `v${i}`,
      customer: customer(),
      home: store(),
      away: store(),
      minutes: pick(roll(50), null),
      bought: roll(2) === 0,
    })),
  };
}

export const SOURCES: readonly SourceSpec[] = [ORDERS, QUOTES, VISITS];

const valueSql = (value: string | number | boolean | null | undefined): string =>
  value === null || value === undefined ? 'NULL' : typeof value === 'string' ? textSql(value) : String(value);

/** What a stored row does, as the log has it. */
export function operationOf({ operation }: SourceSpec, row: WorldRow): 0 | 1 | 2 {
  if (operation === undefined) return 0;
  const value = row[operation.column] ?? null;
  return value === null ? 0 : value === operation.retract ? 1 : value === operation.tombstone ? 2 : 0;
}

export function identityOf({ eventId }: SourceSpec, row: WorldRow): string {
  return createHash('md5')
    .update(JSON.stringify(eventId.map((name) => row[name] ?? null)))
    .digest('hex');
}

/** Writes rows as one file of a source's log, numbered from `firstSeq`. */
export async function writeLog(
  duckdb: DuckDb,
  blobs: BlobStore,
  of: SourceSpec,
  rows: readonly WorldRow[],
  firstSeq: number,
): Promise<LogFile> {
  const values = rows.map(
    (row, i) =>
      `(${row['at']}, ${row['known']}, ${firstSeq + i}, '${identityOf(of, row)}', ${operationOf(of, row)}, ${of.columns
        .map(({ name }) => valueSql(row[name]))
        .join(', ')})`,
  );
  const types = of.columns.map(({ name, type }, i) => `CAST(c${i} AS ${SQL_TYPES[type]}) AS "${name}"`);
  const path = join(await mkdtemp(join(tmpdir(), 'serin-shop-')), 'log.parquet');
  await duckdb.run(`
    COPY (SELECT CAST(e AS BIGINT) AS event_at, CAST(a AS BIGINT) AS available_at, CAST(n AS BIGINT) AS ingest_seq,
      CAST(u AS UUID) AS event_id, CAST(o AS UTINYINT) AS op, ${types.join(', ')}
      FROM (VALUES ${values.join(', ')}) v(e, a, n, u, o, ${of.columns.map((_, i) => `c${i}`).join(', ')})
      ORDER BY available_at, ingest_seq) TO ${textSql(path)} (FORMAT parquet)`);
  const times = (name: string): number[] => rows.map((row) => row[name] as number);
  return {
    blob: await blobs.putFile(path),
    rows: rows.length,
    firstSeq,
    lastSeq: firstSeq + rows.length - 1,
    minEventAt: Math.min(...times('at')),
    maxEventAt: Math.max(...times('at')),
    minAvailableAt: Math.min(...times('known')),
    maxAvailableAt: Math.max(...times('known')),
  };
}

/** The logs of a world in two files a source, which arrived one after the other. */
export async function writeWorld(
  duckdb: DuckDb,
  blobs: BlobStore,
  world: World,
): Promise<Record<string, readonly LogFile[]>> {
  const files: Record<string, LogFile[]> = {};
  for (const of of SOURCES) {
    const rows = world[of.name as keyof World];
    const half = Math.ceil(rows.length / 2);
    files[of.name] = [await writeLog(duckdb, blobs, of, rows.slice(0, half), 1)];
    if (rows.length > half) files[of.name]!.push(await writeLog(duckdb, blobs, of, rows.slice(half), half + 1));
  }
  return files;
}

/** Blobs that stay in a folder of their own. */
export class FolderOfBlobs implements BlobStore {
  readonly #folder = mkdtemp(join(tmpdir(), 'serin-blobs-'));
  readonly #paths = new Map<string, string>();
  readonly #bytes = new Map<string, Uint8Array>();

  put(bytes: Uint8Array): Promise<BlobRef> {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.#bytes.set(sha256, bytes);
    return Promise.resolve({ uri: `sha256:${sha256}`, sha256, bytes: bytes.length });
  }
  async putFile(path: string): Promise<BlobRef> {
    const bytes = await readFile(path);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const copy = join(await this.#folder, sha256);
    await copyFile(path, copy);
    this.#paths.set(sha256, copy);
    return { uri: `sha256:${sha256}`, sha256, bytes: bytes.length };
  }
  get({ sha256 }: { sha256: string }): Promise<Uint8Array> {
    return Promise.resolve(this.#bytes.get(sha256)!);
  }
  localPath({ sha256 }: { sha256: string }): Promise<string> {
    const path = this.#paths.get(sha256);
    return path === undefined ? Promise.reject(new Error(`there is no blob ${sha256}`)) : Promise.resolve(path);
  }
  has({ sha256 }: { sha256: string }): Promise<boolean> {
    return Promise.resolve(this.#bytes.has(sha256) || this.#paths.has(sha256));
  }
  remove({ sha256 }: { sha256: string }): Promise<void> {
    this.#bytes.delete(sha256);
    this.#paths.delete(sha256);
    return Promise.resolve();
  }
  /** How many there are. */
  get size(): number {
    return this.#bytes.size + this.#paths.size;
  }
}
