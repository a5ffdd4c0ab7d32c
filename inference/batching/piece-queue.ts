/** Slots of taken pieces in front are given back when there are this many, and no fewer than half of all. */
const COMPACT_FROM = 1_024;

/** Work of one class in the order it came: first in, first out; the last one may be taken back. Also when each came, and what it is thought to cost. */
export class PieceQueue<Piece extends { readonly rows: number }> {
  readonly #pieces: (Piece | undefined)[] = [];
  readonly #submittedMs: number[] = [];
  readonly #costsMs: number[] = [];
  #head = 0;
  #rows = 0;
  #costMs = 0;

  get rows(): number {
    return this.#rows;
  }

  /** Milliseconds that its rows are thought to take. */
  get costMs(): number {
    return this.#costMs;
  }

  get first(): Piece | undefined {
    return this.#pieces[this.#head];
  }

  get firstSubmittedMs(): number {
    return this.#submittedMs[this.#head] ?? Infinity;
  }

  get lastSubmittedMs(): number {
    return this.#submittedMs.at(-1) ?? -Infinity;
  }

  push(piece: Piece, submittedMs: number, costMs: number): void {
    this.#pieces.push(piece);
    this.#submittedMs.push(submittedMs);
    this.#costsMs.push(costMs);
    this.#rows += piece.rows;
    this.#costMs += costMs;
  }

  shift(): void {
    this.#rows -= this.#pieces[this.#head]!.rows;
    this.#costMs -= this.#costsMs[this.#head]!;
    this.#pieces[this.#head] = undefined;
    this.#head++;
    if (this.#head === this.#pieces.length) this.#giveBack(this.#head);
    else if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#pieces.length) this.#giveBack(this.#head);
  }

  /** Takes back the one that came last. */
  pop(): Piece {
    const piece = this.#pieces.pop()!;
    this.#submittedMs.pop();
    this.#rows -= piece.rows;
    this.#costMs -= this.#costsMs.pop()!;
    if (this.#head === this.#pieces.length) this.#giveBack(this.#head);
    return piece;
  }

  #giveBack(count: number): void {
    this.#pieces.splice(0, count);
    this.#submittedMs.splice(0, count);
    this.#costsMs.splice(0, count);
    this.#head = 0;
    // sums of what was added and taken away again drift by rounding
    if (this.#pieces.length === 0) this.#costMs = 0;
  }
}
