/**
 * A key's history as bytes: equal sets of facts with equal fold points have equal bytes.
 *
 *   format (1 byte), layout of the plan (4), then
 *   fold point and newest instant in tiles        0, or 1 and the instant
 *   for `row_id`, whether each row has one fact     1 or 0
 *   facts, then tombstones                        their number; per fact the kind (2 bits) and whether its identity is a
 *                                                 UUID (4), eventAt from the fact before, availableAt from eventAt, seq from
 *                                                 the fact before, the identity (`row_id`), for a row a bit per null, values
 *   tiles of each set                             their number; per tile its start from the one before, its accumulators
 */
import { ByteReader, ByteWriter } from './byte-stream.ts';
import type { Datum, Fact, FactKind } from './fact.ts';
import { createHistory, type KeyHistory, settle } from './history.ts';
import { type Instant, minus, plus } from '../../domain/instant.ts';
import type { HistoryPlan } from './plan.ts';
import { cutOf } from './selection.ts';

export const HISTORY_FORMAT = 1;
const HEADER_BYTES = 5;
const KINDS: readonly FactKind[] = ['put', 'retract', 'tombstone'];
const UUID_FLAG = 4;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function encodeHistory(plan: HistoryPlan, history: KeyHistory): Uint8Array {
  settle(plan, history);
  const out = new ByteWriter();
  out.byte(HISTORY_FORMAT);
  for (let shift = 0; shift < 32; shift += 8) out.byte((plan.layout >>> shift) & 0xff);
  writeInstant(out, history.foldedAt);
  writeInstant(out, history.newestTiled);
  if (plan.identity === 'row_id') out.byte(haveOneVersionEach(history.facts) ? 1 : 0);
  writeFacts(out, plan, history.facts);
  writeFacts(out, plan, history.tombstones);
  for (const { starts, accumulators } of history.tiles) {
    out.unsigned(starts.length);
    let before: Instant = 0;
    for (let i = 0; i < starts.length; i++) {
      out.whole(minus(starts[i]!, before));
      before = starts[i]!;
      for (const accumulator of accumulators[i]!) accumulator.write(out);
    }
  }
  return out.finish();
}

/** @throws RangeError when the bytes are of another format or of another view's layout */
export function decodeHistory(plan: HistoryPlan, bytes: Uint8Array): KeyHistory {
  // identities are read from the bytes later, and those are the caller's
  const from = new ByteReader(plan.identity === 'row_id' ? new Uint8Array(bytes) : bytes);
  if (bytes.length < HEADER_BYTES || from.byte() !== HISTORY_FORMAT || layoutIn(from) !== plan.layout) {
    throw new RangeError(
      `${plan.id}: these ${bytes.length} bytes are not the history of a key of this view (format ${HISTORY_FORMAT})`,
    );
  }
  const history = createHistory(plan);
  history.foldedAt = readInstant(from);
  history.settledTo = history.foldedAt === null ? null : cutOf(plan, history.foldedAt);
  history.newestTiled = readInstant(from);
  const single = plan.identity !== 'row_id' || from.byte() === 1;
  history.replaceFacts(readFacts(from, plan), single);
  history.tombstones = readFacts(from, plan);
  for (let s = 0; s < plan.tileSets.length; s++) {
    const { starts, accumulators } = history.tiles[s]!;
    const { fields } = plan.tileSets[s]!;
    let before: Instant = 0;
    for (let left = from.unsigned(); left > 0; left--) {
      before = plus(before, from.whole());
      starts.push(before);
      accumulators.push(fields.map((output) => plan.aggregates[output]!.read(from)));
    }
  }
  if (!from.done) throw new RangeError(`${plan.id}: the history has bytes after its end`);
  return history;
}

/** Then a reader need not look for the one that stands. */
function haveOneVersionEach(facts: readonly Fact[]): boolean {
  return new Set(facts.map(({ identity }) => identity)).size === facts.length;
}

function layoutIn(from: ByteReader): number {
  return (from.byte() | (from.byte() << 8) | (from.byte() << 16) | (from.byte() << 24)) >>> 0;
}

function writeFacts(out: ByteWriter, plan: HistoryPlan, facts: readonly Fact[]): void {
  out.unsigned(facts.length);
  const { slots } = plan;
  let time: Instant = 0;
  let sequence = 0;
  for (const { kind, eventAt, availableAt, seq, identity, values } of facts) {
    const isUuid = identity !== null && UUID.test(identity);
    out.byte(KINDS.indexOf(kind) | (isUuid ? UUID_FLAG : 0));
    out.whole(minus(eventAt, time));
    out.whole(minus(availableAt, eventAt));
    out.whole(seq - sequence);
    time = eventAt;
    sequence = seq;
    if (plan.identity === 'row_id' && kind !== 'tombstone') {
      if (isUuid) writeUuid(out, identity);
      else out.text(identity!);
    }
    if (kind !== 'put') continue;
    for (let first = 0; first === 0 || first < slots.length; first += 8) {
      let nulls = 0;
      for (let i = first; i < Math.min(first + 8, slots.length); i++) if (values[i] === null) nulls |= 1 << (i - first);
      out.byte(nulls);
    }
    for (let i = 0; i < slots.length; i++) if (values[i] !== null) out.datum(slots[i]!.type, values[i]!);
  }
}

function readFacts(from: ByteReader, plan: HistoryPlan): Fact[] {
  const { slots } = plan;
  const hasIdentity = plan.identity === 'row_id';
  const facts: Fact[] = [];
  let eventAt: Instant = 0;
  let seq = 0;
  for (let left = from.unsigned(); left > 0; left--) {
    const head = from.byte();
    const kind = KINDS[head & 3]!;
    eventAt = plus(eventAt, from.whole());
    const availableAt = plus(eventAt, from.whole());
    seq += Number(from.whole());
    const isNamed = hasIdentity && kind !== 'tombstone';
    const uuid = isNamed && (head & UUID_FLAG) !== 0 ? from.raw(16) : null;
    const identity = isNamed && uuid === null ? from.text() : null;
    let values = NO_VALUES;
    if (kind === 'put') {
      const read = new Array<Datum>(slots.length);
      // the bits come before all values
      const nulls = slots.length <= 8 ? from.byte() : 0;
      const more = slots.length > 8 ? from.raw((slots.length + 7) >> 3) : NO_BITS;
      for (let i = 0; i < slots.length; i++) {
        const bits = slots.length <= 8 ? nulls : more[i >> 3]!;
        read[i] = (bits & (1 << (i & 7))) !== 0 ? null : from.datum(slots[i]!.type);
      }
      values = read;
    }
    facts.push(
      uuid === null
        ? { kind, eventAt, availableAt, seq, identity, values }
        : new FactByUuid(kind, eventAt, availableAt, seq, uuid, values),
    );
  }
  return facts;
}

const NO_VALUES: readonly Datum[] = [];
const NO_BITS = new Uint8Array(0);

function writeInstant(out: ByteWriter, at: Instant | null): void {
  out.byte(at === null ? 0 : 1);
  if (at !== null) out.whole(at);
}

function readInstant(from: ByteReader): Instant | null {
  return from.byte() === 0 ? null : from.whole();
}

function writeUuid(out: ByteWriter, uuid: string): void {
  out.raw(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
}

/** Reads of rows that have one version each never ask for the identity, so its text is made when somebody does. */
class FactByUuid implements Fact {
  readonly kind: FactKind;
  readonly eventAt: Instant;
  readonly availableAt: Instant;
  readonly seq: number;
  readonly values: readonly Datum[];
  readonly #uuid: Uint8Array;
  #identity: string | null = null;

  constructor(
    kind: FactKind,
    eventAt: Instant,
    availableAt: Instant,
    seq: number,
    uuid: Uint8Array,
    values: readonly Datum[],
  ) {
    this.kind = kind;
    this.eventAt = eventAt;
    this.availableAt = availableAt;
    this.seq = seq;
    this.values = values;
    this.#uuid = uuid;
  }

  get identity(): string {
    return (this.#identity ??= textOfUuid(this.#uuid));
  }
}

function textOfUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
