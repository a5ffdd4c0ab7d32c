import { messageOf } from '../../domain/errors.ts';
import { postProcess } from '../../domain/registry/post-processing.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Accounting, Answer, Instance, ShadowScore } from './answer.ts';
import type { FeatureGroup, FeatureMatrix } from './feature-batch.ts';
import { requestFor } from './request-for.ts';
import type { VersionScorer } from './score-version.ts';
import { TimeBudget, type TimeBudgetLimits, UsualLength } from './time-budget.ts';

export interface ShadowLimits extends TimeBudgetLimits {
  /** A batch is scored in as many rows at a time as take this long. */
  readonly aimedPieceMs: number;
  /** Rows waiting for an answer; with more of them shadow work is not even begun. */
  readonly maxQueuedRows: number;
  /** Rows that may wait for their shadow score; what comes beyond is dropped. */
  readonly maxWaitingRows: number;
  /** What has waited longer than this for a quiet moment is dropped. */
  readonly maxWaitMs: number;
}

/** The shadow's share of a process: a twentieth of the time in short pieces, a five-hundredth in long ones. */
export const SHADOW_LIMITS: ShadowLimits = {
  share: 0.05,
  pieceMs: 0.7,
  aimedPieceMs: 0.25,
  maxFactor: 25,
  burstMs: 50,
  maxQueuedRows: 32,
  maxWaitingRows: 512,
  maxWaitMs: 1_000,
};

export interface ShadowDeps {
  readonly accounting: Accounting;
  readonly scorer: VersionScorer;
  /** Rows waiting for an answer. */
  readonly queuedRows: () => number;
  readonly limits: ShadowLimits;
  readonly nowMs: () => number;
  /** CPU time of the process: what others on the machine do is not the shadow's to pay for. */
  readonly cpuMs: () => number;
}

interface Stamp {
  readonly nowMs: number;
  readonly cpuMs: number;
}

/** The instances of one batch that the shadow of one model is to score too. */
export interface ShadowJob {
  readonly entry: RouteEntry;
  readonly instances: readonly Instance[];
  /** Why the shadow cannot take an instance, by position; null: it can. */
  readonly refusals: readonly (string | null)[];
  /** The instances it can take: their states come with the batch's one read. */
  readonly group: FeatureGroup;
}

interface Waiting {
  readonly job: ShadowJob;
  readonly features: () => FeatureMatrix;
  readonly answers: readonly Answer[];
  readonly sinceMs: number;
}

/** Before a quiet moment is looked for again. */
const RETRY_MS = 2;
/** How much the last measurement counts. */
const SMOOTHING = 0.3;

/**
 * Scores the shadow version on what was just answered, after the answers have gone out, while nobody waits, in pieces, within
 * a share of the time. Nothing a shadow does reaches a client; under pressure it is the first to be dropped, and counted.
 */
export class ShadowRunner {
  readonly #deps: ShadowDeps;
  readonly #budget: TimeBudget;
  readonly #waiting: Waiting[] = [];
  readonly #rowMs = new WeakMap<ServedVersion, number>();
  readonly #usual = { features: new UsualLength(), accounting: new UsualLength() };
  readonly #usualPiece = new WeakMap<ServedVersion, UsualLength>();
  #waitingRows = 0;
  #running = false;

  constructor(deps: ShadowDeps) {
    this.#deps = deps;
    this.#budget = new TimeBudget(deps.limits, deps.nowMs());
  }

  /** Picks the shadow work of a batch, before its features are read. */
  choose(asked: readonly { readonly entry: RouteEntry; readonly instances: readonly Instance[] }[]): ShadowJob[] {
    const byEntry = new Map<RouteEntry, Instance[]>();
    for (const { entry, instances } of asked) {
      if (!entry.shadow) continue;
      const known = byEntry.get(entry);
      if (known) known.push(...instances);
      else byEntry.set(entry, [...instances]);
    }
    const jobs: ShadowJob[] = [];
    for (const [entry, instances] of byEntry) {
      if (this.#hasRoomFor(instances.length)) jobs.push(jobOf(entry, instances));
      else this.#drop(entry, instances.length);
    }
    return jobs;
  }

  /**
   * @param features null when the batch's read failed, and then there is no shadow
   * @param answers in the order of the job's instances
   */
  submit(job: ShadowJob, features: (() => FeatureMatrix) | null, answers: readonly Answer[]): void {
    if (features === null) {
      this.#drop(job.entry, job.instances.length);
      return;
    }
    this.#waiting.push({ job, features, answers, sinceMs: this.#deps.nowMs() });
    this.#waitingRows += job.instances.length;
    if (this.#running) return;
    this.#running = true;
    this.#afterTheAnswers();
  }

  #hasRoomFor(rows: number): boolean {
    const { queuedRows, limits, nowMs } = this.#deps;
    return (
      queuedRows() <= limits.maxQueuedRows &&
      this.#waitingRows + rows <= limits.maxWaitingRows &&
      this.#budget.hasSome(nowMs())
    );
  }

  #drop(entry: RouteEntry, rows: number): void {
    this.#deps.accounting.shadowDropped(entry, rows);
  }

  /** Two turns later the sockets of the answers have been written. */
  #afterTheAnswers(): void {
    setImmediate(() => setImmediate(() => void this.#run()));
  }

  async #run(): Promise<void> {
    const { limits, nowMs } = this.#deps;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const isLate = nowMs() - next.sinceMs > limits.maxWaitMs;
      if (!isLate && !this.#isQuiet()) {
        setTimeout(() => void this.#run(), RETRY_MS).unref();
        return;
      }
      this.#waiting.shift();
      this.#waitingRows -= next.job.instances.length;
      if (isLate) this.#drop(next.job.entry, next.job.instances.length);
      else await this.#score(next);
    }
    this.#running = false;
  }

  #isQuiet(): boolean {
    return this.#deps.queuedRows() === 0 && this.#budget.hasSome(this.#deps.nowMs());
  }

  async #score({ job, features, answers }: Waiting): Promise<void> {
    const { entry, group, refusals } = job;
    const shadow = entry.shadow!;
    const rows = group.rows.length;
    const start = this.#stamp();
    const matrix = features();
    const scores: ShadowScore[] = [];
    const scoreOf = (position: number, row: number, score: number, message: string | undefined): ShadowScore =>
      shadowScore(answers[position]!, shadow, rowOf(matrix, shadow, row), score, message);
    this.#spend(start, this.#usual.features);

    // positions of the instances that the shadow takes, row by row
    const taken = refusals.flatMap((refusal, position) => (refusal === null ? [position] : []));
    let done = 0;
    while (done < rows) {
      if (done > 0) {
        await new Promise((resolve) => setImmediate(resolve));
        if (!this.#isQuiet()) break;
      }
      const piece = this.#stamp();
      const count = Math.min(rows - done, this.#rowsPerPiece(shadow));
      const { scores: given, failures } = await this.#deps.scorer.score(
        shadow,
        sliceOf(matrix, shadow, done, count),
        count,
      );
      this.#learn(shadow, this.#tookMs(piece), count);
      for (let i = 0; i < count; i++)
        scores.push(scoreOf(taken[done + i]!, done + i, given[i]!, failures.get(i)?.message));
      done += count;
      this.#spend(piece, this.#usualPieceOf(shadow));
    }
    if (done < rows) this.#drop(entry, rows - done);
    refusals.forEach((refusal, position) => {
      if (refusal !== null) scores.push(shadowScore(answers[position]!, shadow, NOT_READ, NaN, refusal));
    });
    const accounting = this.#stamp();
    this.#deps.accounting.shadowScored(entry, scores);
    this.#spend(accounting, this.#usual.accounting);
  }

  #stamp(): Stamp {
    const { nowMs, cpuMs } = this.#deps;
    return { nowMs: nowMs(), cpuMs: cpuMs() };
  }

  #tookMs(since: Stamp): number {
    const { nowMs, cpuMs } = this.#deps;
    return Math.min(nowMs() - since.nowMs, cpuMs() - since.cpuMs);
  }

  #spend(since: Stamp, usual: UsualLength): void {
    const tookMs = this.#tookMs(since);
    this.#budget.spend(this.#deps.nowMs(), tookMs, usual.learn(tookMs));
  }

  #usualPieceOf(shadow: ServedVersion): UsualLength {
    const known = this.#usualPiece.get(shadow) ?? new UsualLength();
    this.#usualPiece.set(shadow, known);
    return known;
  }

  #rowsPerPiece(shadow: ServedVersion): number {
    const rowMs = this.#rowMs.get(shadow);
    return rowMs === undefined ? 1 : Math.max(1, Math.floor(this.#deps.limits.aimedPieceMs / rowMs));
  }

  #learn(shadow: ServedVersion, ms: number, rows: number): void {
    const known = this.#rowMs.get(shadow);
    const rowMs = Math.max(ms / rows, 1e-6);
    this.#rowMs.set(shadow, known === undefined ? rowMs : known + SMOOTHING * (rowMs - known));
  }
}

function jobOf(entry: RouteEntry, instances: readonly Instance[]): ShadowJob {
  const shadow = entry.shadow!;
  const group: FeatureGroup = { input: shadow.input, rows: [] };
  const refusals = instances.map((instance) => {
    try {
      group.rows.push({ request: requestFor(shadow, entry.champion, instance), asOf: instance.asOf });
      return null;
    } catch (error) {
      return messageOf(error);
    }
  });
  return { entry, instances, refusals, group };
}

function shadowScore(
  answer: Answer,
  shadow: ServedVersion,
  row: FeaturesOfRow,
  rawScore: number,
  message: string | undefined,
): ShadowScore {
  const { version } = shadow;
  if (message !== undefined) return { answer, version, score: NaN, label: 0, ...row, error: message };
  const { score, label } = postProcess(shadow, rawScore, answer.instance.request);
  return { answer, version, score, label, ...row, error: null };
}

type FeaturesOfRow = Pick<ShadowScore, 'features' | 'statuses'>;
const NOT_READ: FeaturesOfRow = { features: new Float64Array(0), statuses: new Uint8Array(0) };

function rowOf(
  { values, statuses }: FeatureMatrix,
  { scorer: { featureCount } }: ServedVersion,
  row: number,
): FeaturesOfRow {
  const [from, to] = [row * featureCount, (row + 1) * featureCount];
  return { features: values.subarray(from, to), statuses: statuses.subarray(from, to) };
}

/** Some rows of a matrix. */
function sliceOf(
  matrix: FeatureMatrix,
  { scorer: { featureCount } }: ServedVersion,
  from: number,
  count: number,
): FeatureMatrix {
  const { values, statuses, readAt, knownSeq, failures } = matrix;
  if (from === 0 && count === readAt.length) return matrix;
  const own = [...failures].flatMap(([row, message]): [number, string][] =>
    row >= from && row < from + count ? [[row - from, message]] : [],
  );
  return {
    values: values.subarray(from * featureCount, (from + count) * featureCount),
    statuses: statuses.subarray(from * featureCount, (from + count) * featureCount),
    readAt: readAt.subarray(from, from + count),
    knownSeq,
    failures: new Map(own),
  };
}
