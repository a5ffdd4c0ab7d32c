import type { CostModel } from '../admission/cost-model.ts';
import { BACKGROUND, PRIORITIES, type Priority } from '../admission/priority.ts';
import { errorOfRefusal, type Refusal } from '../admission/refusal.ts';
import { PieceQueue } from './piece-queue.ts';

export interface BatcherLimits {
  /** A batch takes queued work until it holds this many rows (a single larger piece goes alone). */
  readonly maxBatchRows: number;
  /** Work beyond this many queued rows is refused. */
  readonly maxQueueRows: number;
}

/** A piece of work that waits for its batch. */
export interface QueuedWork {
  readonly rows: number;
  readonly priority: Priority;
  /** By `performance.now()`; Infinity: none. */
  readonly deadlineMs: number;
  /** What batches of its model have cost. */
  readonly cost: CostModel;
  /** Told instead of an answer. @param error SerinError OVERLOADED when it is refused after it was taken */
  reject(error: unknown): void;
}

export interface BatcherOptions<Work> {
  /** Answers every piece of its batch, failed ones included; it does not throw. */
  readonly run: (batch: readonly Work[]) => Promise<void>;
  readonly limits: BatcherLimits;
  /** Told of each piece that was submitted and refused. @param waitedMs in the queue; 0: it never came in */
  readonly onRefused?: (work: Work, refusal: Refusal, waitedMs: number) => void;
  readonly nowMs?: () => number;
}

/** The share of the queue beyond which background work is not taken: it is the first to be shed. */
const BACKGROUND_SHARE = 0.25;
/** A batch is cut to this much time of its rows, since arrivals are read, and refused, between batches only … */
const SLICE_MS = 2;
/** … or to this many times its fixed cost, so that cutting costs no more than a fifth of what the model can do. */
const SLICE_PER_FIXED = 4;
/** For the sake of a deadline a batch is cut to this share, not further: small batches would make the next ones late. */
const SHRINK = 0.5;
/**
 * Waits are taken to be longer than estimated by a factor: what is taken at the last moment and late after all has waited in
 * vain. Each piece that is late adds to the factor, and time takes it back.
 */
const MARGIN = { least: 1.25, most: 3, late: 0.05, fadesInMs: 2_000 } as const;
const READING_WEIGHT = 0.1;
/** Between two batches requests are read for this long, and not as long as there are some: see `MicroBatcher.read`. */
const READING_SLICE_MS = 2;
/** Work without a deadline does not wait longer than clients do. */
const PATIENCE_MS = 30_000;
const EMPTY: readonly never[] = [];

/**
 * Batch while busy: work that arrives while a batch runs waits and becomes the next batch. There is no timer, so an idle
 * server adds one turn of the event loop (in which the other readable sockets are parsed) and a busy one batches by itself.
 *
 * More urgent classes go first, in the order of their arrival within a class. Work that would not be answered by its
 * deadline is refused when it is submitted, or when its turn comes too late; batches are cut so that the tightest deadline
 * in them is kept. Nothing waits for ever.
 */
export class MicroBatcher<Work extends QueuedWork> {
  readonly #options: BatcherOptions<Work>;
  readonly #nowMs: () => number;
  readonly #queues = PRIORITIES.map(() => new PieceQueue<Work>());
  #queuedRows = 0;
  #running = false;
  #batchEndsMs = 0;
  #busyMs = 0;
  /** Mean time from one batch to the next while work is queued: requests are read, answered and refused in it. */
  #readingMs = 0;
  #margin: number = MARGIN.least;
  #idle: (() => void)[] = [];
  /** Begins the next batch; null: none is due. */
  #begin: (() => void) | null = null;
  #dueSinceMs = 0;
  #passed: { readonly submittedMs: number; readonly resolve: () => void }[] = [];

  constructor(options: BatcherOptions<Work>) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  get queuedRows(): number {
    return this.#queuedRows;
  }

  queuedRowsOf(priority: Priority): number {
    return this.#queues[priority]!.rows;
  }

  /** Time spent in batches since the start, milliseconds. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** How long work that came now would wait for its batch: what runs, and what is queued before it. @param cost of its model */
  estimatedWaitMs(priority: Priority, cost: CostModel | undefined, nowMs: number): number {
    if (!this.#running) return 0;
    let waitMs = Math.max(0, this.#batchEndsMs - nowMs) + this.#readingMs;
    let rows = 0;
    for (let each = 0; each <= priority; each++) {
      waitMs += this.#queues[each]!.costMs;
      rows += this.#queues[each]!.rows;
    }
    // what does not fill a batch before it is in its own
    if (cost !== undefined) waitMs += Math.floor(rows / this.#rowsPerBatch(cost)) * (cost.fixedMs + this.#readingMs);
    return waitMs;
  }

  /**
   * Why work of this kind would be refused now; null: it would be taken. Cheap enough to ask before a body is read.
   * @param cost undefined: nothing is known of the model yet
   */
  refusalOf(
    rows: number,
    priority: Priority,
    deadlineMs: number,
    cost: CostModel | undefined,
    nowMs: number,
  ): Refusal | null {
    const noRoom = this.#roomRefusal(rows, priority, cost, nowMs);
    if (noRoom !== null) return noRoom;
    if (deadlineMs === Infinity) return null;
    const known = cost !== undefined && cost.isTrusted(nowMs);
    if (!known && nowMs < deadlineMs) return null;
    const waitMs = this.estimatedWaitMs(priority, cost, nowMs);
    // who has nothing else to do tries whatever may succeed: else an estimate from a bad moment would never be corrected
    const ownMs = known ? (this.#running ? cost.estimateMs(rows) : cost.leastMs) : 0;
    const answeredMs = nowMs + waitMs * this.#margin + ownMs;
    if (answeredMs <= deadlineMs) return null;
    return {
      reason: 'deadline',
      detail:
        deadlineMs <= nowMs
          ? 'its deadline has passed'
          : `it would be answered in about ${shown(answeredMs - nowMs)} ms, its deadline is in ${shown(deadlineMs - nowMs)} ms`,
      retryAfterMs: waitMs,
    };
  }

  /** @throws SerinError OVERLOADED when there is no room for it, or its deadline cannot be met */
  submit(work: Work): void {
    const nowMs = this.#nowMs();
    const { rows, priority, cost } = work;
    const refusal = this.refusalOf(rows, priority, work.deadlineMs, cost, nowMs);
    if (refusal !== null) {
      this.#options.onRefused?.(work, refusal, 0);
      throw errorOfRefusal(refusal);
    }
    if (this.#queuedRows + rows > this.#options.limits.maxQueueRows) this.#makeRoom(rows, priority, nowMs);
    this.#queues[priority]!.push(work, nowMs, rows * cost.perRowMs);
    this.#queuedRows += rows;
    if (!this.#running) {
      this.#running = true;
      void this.#turn().then(() => this.#drain());
    }
  }

  /**
   * Told of each request that is read. The next batch begins with the next turn of the event loop, in which the other readable
   * sockets are parsed; but with more than 1,024 of them libuv polls up to 48 times before it ends a turn, and then seconds
   * would be spent on reading and refusing what batches in between could have answered.
   */
  read(nowMs: number): void {
    if (this.#begin !== null && nowMs - this.#dueSinceMs > READING_SLICE_MS) this.#begin();
  }

  /** Settles when all that has been submitted by now is answered. */
  whenPassed(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#passed.push({ submittedMs: this.#nowMs(), resolve }));
  }

  /** Settles when nothing is queued or running. */
  whenIdle(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #drain(): Promise<void> {
    while (this.#queuedRows > 0) {
      const startedMs = this.#nowMs();
      const batch = this.#take(startedMs);
      if (batch.length > 0) {
        await this.#options.run(batch);
        const endedMs = this.#nowMs();
        observe(batch, startedMs, endedMs);
        this.#busyMs += endedMs - startedMs;
        this.#batchEndsMs = 0;
        this.#margin -= (this.#margin - MARGIN.least) * Math.min(1, (endedMs - startedMs) / MARGIN.fadesInMs);
        // what came meanwhile is read now, and refused now if need be
        if (this.#queuedRows > 0) await this.#turn();
        this.#readingMs += READING_WEIGHT * (this.#nowMs() - endedMs - this.#readingMs);
      }
      if (this.#passed.length > 0) this.#letPass();
    }
    this.#running = false;
    if (this.#passed.length > 0) this.#letPass();
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#dueSinceMs = this.#nowMs();
      this.#begin = () => {
        this.#begin = null;
        resolve();
      };
      const begin = this.#begin;
      setImmediate(() => {
        if (this.#begin === begin) begin();
      });
    });
  }

  #letPass(): void {
    const oldestMs = Math.min(...this.#queues.map((queue) => queue.firstSubmittedMs));
    const waiting = this.#passed;
    this.#passed = waiting.filter(({ submittedMs }) => submittedMs >= oldestMs);
    for (const { submittedMs, resolve } of waiting) if (submittedMs < oldestMs) resolve();
  }

  #take(nowMs: number): readonly Work[] {
    let batch: Work[] | null = null;
    let rows = 0;
    let slicedRows = Infinity;
    let endsMs = nowMs;
    let tightestMs = Infinity;
    const costs: CostModel[] = [];
    let full = false;
    for (const queue of this.#queues) {
      for (let work = queue.first; work !== undefined; work = queue.first) {
        if (this.#isLate(work, queue, nowMs)) continue;
        if (full) break;
        const known = costs.includes(work.cost);
        const endsWithItMs = endsMs + work.rows * work.cost.perRowMs + (known ? 0 : work.cost.fixedMs);
        const tooLate = rows >= slicedRows * SHRINK && endsWithItMs > Math.min(tightestMs, work.deadlineMs);
        if (batch !== null && (tooLate || rows + work.rows > slicedRows)) {
          full = true;
          break;
        }
        if (batch === null) {
          batch = [];
          slicedRows = this.#rowsPerBatch(work.cost);
        }
        batch.push(work);
        rows += work.rows;
        endsMs = endsWithItMs;
        tightestMs = Math.min(tightestMs, work.deadlineMs);
        if (!known) costs.push(work.cost);
        queue.shift();
        this.#queuedRows -= work.rows;
      }
    }
    this.#batchEndsMs = endsMs;
    return batch ?? EMPTY;
  }

  /** Whether the first of a queue has waited too long or would be answered too late; then it is refused, and gone. */
  #isLate(work: Work, queue: PieceQueue<Work>, nowMs: number): boolean {
    const waitedMs = nowMs - queue.firstSubmittedMs;
    const { deadlineMs, cost } = work;
    const neededMs = cost.isTrusted(nowMs) ? cost.leastMs : 0;
    if (nowMs + neededMs <= deadlineMs && waitedMs <= PATIENCE_MS) return false;
    queue.shift();
    this.#queuedRows -= work.rows;
    this.#margin = Math.min(MARGIN.most, this.#margin + MARGIN.late);
    this.#refuse(
      work,
      {
        reason: 'late',
        detail: `it waited ${shown(waitedMs)} ms for its turn, longer than ${deadlineMs === Infinity ? 'anybody is kept' : 'its deadline allows'}`,
        retryAfterMs: waitedMs,
      },
      waitedMs,
    );
    return true;
  }

  #roomRefusal(rows: number, priority: Priority, cost: CostModel | undefined, nowMs: number): Refusal | null {
    const { maxQueueRows } = this.#options.limits;
    const wanted = this.#queuedRows + rows;
    if (this.#queuedRows === 0 || (wanted <= maxQueueRows && priority !== BACKGROUND)) return null;
    if (priority === BACKGROUND) {
      if (wanted <= maxQueueRows * BACKGROUND_SHARE) return null;
      return {
        reason: 'priority',
        detail: `${this.#queuedRows} rows are waiting, background work is taken up to ${maxQueueRows * BACKGROUND_SHARE}`,
        retryAfterMs: this.estimatedWaitMs(priority, cost, nowMs),
      };
    }
    let lessUrgent = 0;
    for (let each = priority + 1; each < this.#queues.length; each++) lessUrgent += this.#queues[each]!.rows;
    if (wanted - lessUrgent <= maxQueueRows) return null;
    return {
      reason: 'queue',
      detail: `${this.#queuedRows} rows are waiting and ${rows} more do not fit into ${maxQueueRows}`,
      retryAfterMs: this.estimatedWaitMs(priority, cost, nowMs),
    };
  }

  /** Gives the room of the least urgent work that came last to more urgent work. */
  #makeRoom(rows: number, priority: Priority, nowMs: number): void {
    for (let each = this.#queues.length - 1; each > priority; each--) {
      const queue = this.#queues[each]!;
      while (queue.rows > 0 && this.#queuedRows + rows > this.#options.limits.maxQueueRows) {
        const waitedMs = nowMs - queue.lastSubmittedMs;
        const work = queue.pop();
        this.#queuedRows -= work.rows;
        const detail = 'the queue is full, and its place went to more urgent work';
        this.#refuse(work, { reason: 'priority', detail, retryAfterMs: 1_000 }, waitedMs);
      }
    }
  }

  #refuse(work: Work, refusal: Refusal, waitedMs: number): void {
    this.#options.onRefused?.(work, refusal, waitedMs);
    work.reject(errorOfRefusal(refusal));
  }

  #rowsPerBatch(cost: CostModel): number {
    const { maxBatchRows } = this.#options.limits;
    const { meanRows } = cost;
    // batches of one size say nothing of larger ones: one twice as large is tried, or what is short however rows count
    const rows = cost.isBlind
      ? meanRows * Math.max(2, SLICE_MS / cost.estimateMs(meanRows))
      : Math.max(SLICE_MS, SLICE_PER_FIXED * cost.fixedMs) / cost.perRowMs;
    return Number.isNaN(rows) ? maxBatchRows : Math.max(1, Math.min(maxBatchRows, Math.floor(rows)));
  }
}

function observe(batch: readonly QueuedWork[], startedMs: number, endedMs: number): void {
  const { cost } = batch[0]!;
  let rows = 0;
  for (const work of batch) {
    if (work.cost !== cost) {
      observeMixed(batch, startedMs, endedMs);
      return;
    }
    rows += work.rows;
  }
  cost.observe(rows, endedMs - startedMs, endedMs);
}

/** The time of a batch of several models is shared out by what each was expected to take; by rows where nothing is known. */
function observeMixed(batch: readonly QueuedWork[], startedMs: number, endedMs: number): void {
  const rowsOf = new Map<CostModel, number>();
  for (const { cost, rows } of batch) rowsOf.set(cost, (rowsOf.get(cost) ?? 0) + rows);
  const unknown = [...rowsOf.keys()].some((cost) => cost.meanRows === 0);
  const shareOf = (cost: CostModel, rows: number): number => (unknown ? rows : cost.estimateMs(rows));
  let total = 0;
  for (const [cost, rows] of rowsOf) total += shareOf(cost, rows);
  for (const [cost, rows] of rowsOf) {
    const share = total === 0 ? 1 / rowsOf.size : shareOf(cost, rows) / total;
    cost.observe(rows, (endedMs - startedMs) * share, endedMs);
  }
}

function shown(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}
