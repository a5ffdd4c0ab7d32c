/**
 * Which hazards the reads have met. A proof over reads that met none of them proves nothing, so a run fails when a class has
 * too few.
 */
import { type Aim, AIMS, reachOf } from './aim.ts';
import { SOURCE_NAMES, type SourceName } from './definitions.ts';
import type { ReadRecord } from './read-log.ts';
import { keyOf, isHostile, Tag, type World, type WorldRow } from './world.ts';

/** What an answer rests on: a row of the key, known to the read and in reach of it, with this tag. */
const ROW_CLASSES = {
  'late row': Tag.Late,
  'corrected row': Tag.Correction,
  'row that moved to another key': Tag.KeyMove,
  'row that moved in time': Tag.TimeMove,
  'retracted row': Tag.Retract,
  'key with a tombstone': Tag.Tombstone,
  'row after a tombstone': Tag.AfterTombstone,
  'row pushed twice': Tag.Retry,
  'rows at one instant': Tag.Tie,
  'null value': Tag.Null,
  'NaN or infinity': Tag.NotFinite,
  'row of a backfill': Tag.Backfill,
} as const;

/** What the answer says, or the read is. */
const ANSWER_CLASSES = [
  'expired',
  'deleted',
  'empty window',
  'unknown key',
  'key with a null part',
  'hostile key',
  'row that is stored but not known yet',
  'edge −1 µs',
  'edge',
  'edge +1 µs',
] as const;

/** What went on around the read; the share of these depends on how fast the machine is, so less of them is asked for. */
export const MOMENTS = ['applier killed', 'clients reconnected', 'view being rebuilt', 'batch under way'] as const;
export type Moment = (typeof MOMENTS)[number];

type RowClass = keyof typeof ROW_CLASSES;
type CoverageClass = RowClass | (typeof ANSWER_CLASSES)[number] | Moment | `batch of ${number}` | `aim: ${Aim}`;

/** Reads of each class per read in all that a run must reach: ten thousand in a million. */
const WANTED_SHARE = 0.01;
/** For moments: a thousand in a million. */
const WANTED_MOMENT_SHARE = 0.001;

export class Coverage {
  readonly #counts = new Map<CoverageClass, number>();
  #reads = 0;

  get reads(): number {
    return this.#reads;
  }

  /** Takes in the reads of a world. */
  add(world: World, records: readonly ReadRecord[]): void {
    const special = indexOf(world);
    for (const record of records) {
      this.#reads++;
      for (const name of classesOf(record, special)) this.#count(name);
    }
  }

  /** @returns classes with their reads, and those of which there are too few */
  report(): { readonly counts: ReadonlyMap<string, number>; readonly missing: readonly string[] } {
    const missing: string[] = [];
    const require = (name: CoverageClass, share: number): void => {
      const wanted = Math.floor(this.#reads * share);
      const count = this.#counts.get(name) ?? 0;
      if (count < wanted) missing.push(`${name}: ${count} reads, ${wanted} are wanted`);
    };
    for (const name of [...(Object.keys(ROW_CLASSES) as RowClass[]), ...ANSWER_CLASSES]) require(name, WANTED_SHARE);
    for (const name of MOMENTS) require(name, WANTED_MOMENT_SHARE);
    const counts = new Map([...this.#counts].toSorted(([a], [b]) => (ORDER.get(a) ?? 99) - (ORDER.get(b) ?? 99)));
    return { counts, missing };
  }

  merge(other: Iterable<readonly [string, number]>, reads: number): void {
    for (const [name, count] of other) this.#count(name as CoverageClass, count);
    this.#reads += reads;
  }

  #count(name: CoverageClass, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }
}

const ORDER = new Map<string, number>(
  [
    ...Object.keys(ROW_CLASSES),
    ...ANSWER_CLASSES,
    ...MOMENTS,
    'batch of 1',
    'batch of 50',
    'batch of 100',
    ...AIMS.map((aim) => `aim: ${aim}`),
  ].map((name, i) => [name, i]),
);

const PRIMARY: Readonly<Record<SourceName, 'rider' | 'sku' | 'device'>> = {
  trips: 'rider',
  prices: 'sku',
  pings: 'device',
};

/** A view of each source, by its place in the project. */
const VIEW_OF: Readonly<Record<SourceName, number>> = { prices: 0, trips: 1, pings: 4 };

type Special = Readonly<Record<SourceName, ReadonlyMap<unknown, readonly WorldRow[]>>>;

/** Rows with a tag, by the key they have or had. */
function indexOf(world: World): Special {
  const special = { trips: new Map(), prices: new Map(), pings: new Map() } as Record<
    SourceName,
    Map<unknown, WorldRow[]>
  >;
  for (const row of world.rows) {
    if (row.tags === 0) continue;
    const keys = new Set(
      [row, ...(row.replaces === null ? [] : [row.replaces])].map((each) => keyOf(each)[PRIMARY[row.source]]),
    );
    for (const key of keys) {
      const rows = special[row.source].get(key);
      if (rows === undefined) special[row.source].set(key, [row]);
      else rows.push(row);
    }
  }
  return special;
}

function* classesOf(record: ReadRecord, special: Special): Generator<CoverageClass> {
  const { read } = record;
  yield `aim: ${read.aim}`;
  yield `batch of ${record.batch}`;
  for (const moment of record.moments) yield moment;
  let met = 0;
  let stored = false;
  for (const source of SOURCE_NAMES) {
    const knownSeq = record.knownSeq[VIEW_OF[source]]!;
    const reach = reachOf(source);
    for (const row of special[source].get(read[PRIMARY[source]]) ?? []) {
      if (row.seq > knownSeq) break;
      if (row.availableAt > read.asOf || row.eventAt > read.asOf) stored = true;
      else if (row.eventAt > read.asOf - reach) met |= row.tags;
    }
  }
  for (const [name, tag] of Object.entries(ROW_CLASSES)) if ((met & tag) !== 0) yield name as RowClass;
  if (stored) yield 'row that is stored but not known yet';
  if (read.aim === 'edge') yield read.off < 0 ? 'edge −1 µs' : read.off > 0 ? 'edge +1 µs' : 'edge';
  if (read.rider === null || read.city === null || read.sku === null || read.device === null)
    yield 'key with a null part';
  if (isHostile(read.rider) || isHostile(read.sku) || isHostile(read.device)) yield 'hostile key';
  if (read.aim === 'unknown') yield 'unknown key';
  const statuses = new Set(record.answers.flatMap((answer) => answer.statuses));
  if (statuses.has('expired')) yield 'expired';
  if (statuses.has('deleted')) yield 'deleted';
  // no row in the shortest window of a rider that has rows
  const { values, statuses: known } = record.answers[VIEW_OF.trips]!;
  if (values[0] === 0 && known[0] !== 'not_found') yield 'empty window';
}
