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

/** Rows by the number of their key: those of key k lie in `[starts[k], starts[k + 1])` of each column, in the order they came. */
export interface KeyedColumns {
  readonly keys: number;
  readonly starts: Uint32Array;
  readonly columns: readonly Float64Array[];
}

/** A counting sort by the first column, whole numbers from 0 on, which is left out. */
export function byKey({ columns: [keys, ...columns], count }: GrowingColumns): KeyedColumns {
  let most = -1;
  for (let i = 0; i < count; i++) if (keys![i]! > most) most = keys![i]!;
  const starts = new Uint32Array(most + 2);
  for (let i = 0; i < count; i++) starts[keys![i]! + 1]!++;
  for (let k = 0; k <= most; k++) starts[k + 1]! += starts[k]!;
  const next = starts.slice();
  const places = new Uint32Array(count);
  for (let i = 0; i < count; i++) places[i] = next[keys![i]!]!++;
  const placed = columns.map((column) => {
    const into = new Float64Array(count);
    for (let i = 0; i < count; i++) into[places[i]!] = column[i]!;
    return into;
  });
  return { keys: most + 1, starts, columns: placed };
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

interface Span {
  readonly from: number;
  readonly to: number;
}

export class Picker {
  readonly #rows: PickedRows;
  readonly #visibleAt: Float64Array;
  readonly #order = new RunSorter();
  readonly #askedOrder = new RunSorter();

  constructor(rows: PickedRows) {
    this.#rows = rows;
    this.#visibleAt = rows.availableAt.map((at, i) => Math.max(at, rows.eventAt[i]!));
  }

  /**
   * Sets `seqs` of a key's questions to the `ingest_seq` of the newest row at their cut: −Infinity for a tombstone, and left
   * as it is where there is none.
   */
  answer(rows: Span, questions: Span, cuts: Float64Array, seqs: Float64Array): void {
    const { eventAt, availableAt, seq, tombstone, knownTo } = this.#rows;
    const visibleAt = this.#visibleAt;
    const order = this.#order.sort(rows, visibleAt, eventAt, availableAt, seq);
    const asked = this.#askedOrder.sort(questions, cuts, cuts, cuts, cuts);
    const ending = new NewestFirst(this.#rows);
    const [rowCount, questionCount] = [rows.to - rows.from, questions.to - questions.from];
    let lasting = -1;
    let next = 0;
    for (let q = 0; q < questionCount; q++) {
      const question = asked[q]!;
      const cut = cuts[question]!;
      for (; next < rowCount && visibleAt[order[next]!]! <= cut; next++) {
        const row = order[next]!;
        if (knownTo !== null && knownTo[row] !== Infinity) ending.push(row);
        else if (lasting < 0 || eventAt[row]! >= eventAt[lasting]!) lasting = row;
      }
      let newest = lasting;
      if (knownTo !== null) {
        while (ending.top >= 0 && knownTo[ending.top]! <= cut) ending.pop();
        if (ending.top >= 0 && (lasting < 0 || comparePositions(this.#rows, ending.top, lasting) > 0))
          newest = ending.top;
      }
      if (newest >= 0) seqs[question] = tombstone !== null && tombstone[newest] === 1 ? -Infinity : seq[newest]!;
    }
  }
}

function comparePositions({ eventAt, availableAt, seq }: PickedRows, a: number, b: number): number {
  return eventAt[a]! - eventAt[b]! || availableAt[a]! - availableAt[b]! || seq[a]! - seq[b]!;
}

/** A heap of rows, the greatest position on top. */
class NewestFirst {
  readonly #rows: PickedRows;
  readonly #heap: number[] = [];

  constructor(rows: PickedRows) {
    this.#rows = rows;
  }

  /** −1: empty. */
  get top(): number {
    return this.#heap.length === 0 ? -1 : this.#heap[0]!;
  }

  push(row: number): void {
    const heap = this.#heap;
    let at = heap.push(row) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (comparePositions(this.#rows, heap[parent]!, row) >= 0) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = row;
  }

  pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && comparePositions(this.#rows, heap[child + 1]!, heap[child]!) > 0) child++;
      if (comparePositions(this.#rows, heap[child]!, last) <= 0) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/**
 * Sorts positions of rows by four columns, by merging the runs that are there: logs are sorted by availability and spines by
 * time, and DuckDB hands them over in pieces, so that a key has few runs, most of them one after the other in time.
 */
class RunSorter {
  #order = new Uint32Array(64);
  #merged = new Uint32Array(64);

  /** @returns the sorted positions, `to − from` of them, until the next call */
  sort({ from, to }: Span, a: Float64Array, b: Float64Array, c: Float64Array, d: Float64Array): Uint32Array {
    const count = to - from;
    if (count > this.#order.length) {
      this.#order = new Uint32Array(2 * count);
      this.#merged = new Uint32Array(2 * count);
    }
    const runs: Span[] = [];
    let start = from;
    for (let i = from + 1; i <= to; i++) {
      if (i < to && !isAfter(i - 1, i, a, b, c, d)) continue;
      runs.push({ from: start, to: i });
      start = i;
    }
    if (runs.length > 1) runs.sort((left, right) => (isAfter(left.from, right.from, a, b, c, d) ? 1 : -1));
    let starts: number[] = [];
    let at = 0;
    for (const run of runs) {
      // what begins where the one before has ended continues it
      const last = at - 1;
      if (last < 0 || isAfter(this.#order[last]!, run.from, a, b, c, d)) starts.push(at);
      for (let i = run.from; i < run.to; i++) this.#order[at++] = i;
    }
    while (starts.length > 1) {
      const left: number[] = [];
      for (let r = 0; r < starts.length; r += 2) {
        const [first, middle, end] = [starts[r]!, starts[r + 1] ?? count, starts[r + 2] ?? count];
        this.#merge(first, middle, end, a, b, c, d);
        left.push(first);
      }
      [this.#order, this.#merged] = [this.#merged, this.#order];
      starts = left;
    }
    return this.#order;
  }

  #merge(
    start: number,
    middle: number,
    end: number,
    a: Float64Array,
    b: Float64Array,
    c: Float64Array,
    d: Float64Array,
  ): void {
    const [order, merged] = [this.#order, this.#merged];
    let [left, right] = [start, middle];
    for (let into = start; into < end; into++) {
      const takesRight = left >= middle || (right < end && isAfter(order[left]!, order[right]!, a, b, c, d));
      merged[into] = takesRight ? order[right++]! : order[left++]!;
    }
  }
}

function isAfter(i: number, j: number, a: Float64Array, b: Float64Array, c: Float64Array, d: Float64Array): boolean {
  if (a[i] !== a[j]) return a[i]! > a[j]!;
  if (b[i] !== b[j]) return b[i]! > b[j]!;
  if (c[i] !== c[j]) return c[i]! > c[j]!;
  return d[i]! > d[j]!;
}
