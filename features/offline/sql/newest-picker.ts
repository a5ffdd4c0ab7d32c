/** Plain arrays of numbers around `latest-merge.ts`: rows by key, and the walk through one key's. */

/** Columns that grow; 8 bytes a value. */
export class GrowingColumns {
  columns: Float64Array[];
  count = 0;

  constructor(columns: number) {
    this.columns = Array.from({ length: columns }, () => new Float64Array(4096));
  }

  add(columns: readonly Float64Array[], rows: number): void {
    const room = this.columns[0]!.length;
    if (this.count + rows > room) {
      this.columns = this.columns.map((column) => {
        const larger = new Float64Array(Math.max(this.count + rows, room + (room >> 1)));
        larger.set(column.subarray(0, this.count));
        return larger;
      });
    }
    for (const [c, column] of columns.entries()) this.columns[c]!.set(column.subarray(0, rows), this.count);
    this.count += rows;
  }
}

/** Rows of each key, by its number: `order[starts[k]] … order[starts[k + 1] − 1]`. */
export interface KeyGroups {
  readonly starts: Uint32Array;
  members(key: number): Uint32Array;
}

const NO_ROWS = new Uint32Array(0);

/** A counting sort, which keeps the order within a key. @param keys whole numbers from 0 on */
export function groupByKey(keys: Float64Array | undefined, count: number): KeyGroups {
  let most = -1;
  for (let i = 0; i < count; i++) most = Math.max(most, keys![i]!);
  const starts = new Uint32Array(most + 2);
  for (let i = 0; i < count; i++) starts[keys![i]! + 1]!++;
  for (let k = 0; k <= most; k++) starts[k + 1]! += starts[k]!;
  const next = starts.slice();
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[next[keys![i]!]!++] = i;
  return { starts, members: (key) => (key > most ? NO_ROWS : order.subarray(starts[key], starts[key + 1])) };
}

/** What decides among the rows of a view, column by column. */
export interface PickedRows {
  readonly eventAt: Float64Array;
  readonly availableAt: Float64Array;
  readonly seq: Float64Array;
  /** 1: a tombstone. Null: there are none. */
  readonly tombstone: Float64Array | null;
  /** When the next version is known; Infinity: never. Null: of no row. */
  readonly knownTo: Float64Array | null;
}

export class Picker {
  readonly #rows: PickedRows;
  /** Rows with an end, the greatest position on top. */
  readonly #ending: number[] = [];

  constructor(rows: PickedRows) {
    this.#rows = rows;
  }

  /**
   * Sets `seqs` of a key's questions to the `ingest_seq` of the newest row at their cut: −Infinity for a tombstone, and left
   * as it is where there is none.
   */
  answer(rows: Uint32Array, questions: Uint32Array, cuts: Float64Array, seqs: Float64Array): void {
    const { eventAt, seq, tombstone, knownTo } = this.#rows;
    const inOrder = sorted(rows, (a, b) => this.#visibleAt(a) - this.#visibleAt(b) || this.#compare(a, b));
    const asked = sorted(questions, (a, b) => cuts[a]! - cuts[b]!);
    this.#ending.length = 0;
    let lasting = -1;
    let next = 0;
    for (let q = 0; q < asked.length; q++) {
      const cut = cuts[asked[q]!]!;
      for (; next < inOrder.length && this.#visibleAt(inOrder[next]!) <= cut; next++) {
        const row = inOrder[next]!;
        if (knownTo !== null && knownTo[row] !== Infinity) this.#push(row);
        else if (lasting < 0 || eventAt[row]! >= eventAt[lasting]!) lasting = row;
      }
      while (this.#ending.length > 0 && knownTo![this.#ending[0]!]! <= cut) this.#pop();
      const ending = this.#ending[0] ?? -1;
      const newest = lasting < 0 || (ending >= 0 && this.#compare(ending, lasting) > 0) ? ending : lasting;
      if (newest >= 0) seqs[asked[q]!] = tombstone !== null && tombstone[newest] === 1 ? -Infinity : seq[newest]!;
    }
  }

  #visibleAt(row: number): number {
    const { eventAt, availableAt } = this.#rows;
    return Math.max(eventAt[row]!, availableAt[row]!);
  }

  /** By position. */
  #compare(a: number, b: number): number {
    const { eventAt, availableAt, seq } = this.#rows;
    return eventAt[a]! - eventAt[b]! || availableAt[a]! - availableAt[b]! || seq[a]! - seq[b]!;
  }

  #push(row: number): void {
    const heap = this.#ending;
    let at = heap.push(row) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#compare(heap[parent]!, row) >= 0) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = row;
  }

  #pop(): void {
    const heap = this.#ending;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#compare(heap[child + 1]!, heap[child]!) > 0) child++;
      if (this.#compare(heap[child]!, last) <= 0) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/** Rows mostly are in order already: logs are sorted by availability, spines by time. */
function sorted(rows: Uint32Array, compare: (a: number, b: number) => number): ArrayLike<number> {
  for (let i = 1; i < rows.length; i++) {
    if (compare(rows[i - 1]!, rows[i]!) > 0) return Array.from(rows).sort(compare);
  }
  return rows;
}
